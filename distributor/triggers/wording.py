"""How triggers and their decisions are said. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from distributor.settings.desk import Trigger
from distributor.triggers.cron import Came, local

_LATE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_TIMES = {1: "once", 2: "twice"}


def span(length: timedelta) -> str:
    """A length of time: `850 ms`, `4 s`, `4.2 s`, `3 m 5 s`, `2 h 10 m`, `3 d`."""
    seconds = max(0.0, length.total_seconds())
    if seconds < 0.95:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for name, size, small, small_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // small_size
            return f"{whole // size} {name} {rest} {small}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def times(count: int) -> str:
    """`once`, `twice`, `3 times`."""
    return _TIMES.get(count, f"{count:,} times")


def clock(at: datetime, now: datetime) -> str:
    """A time in UTC; the day only when it is not near."""
    return f"{at:%H:%M:%S} UTC" if abs(at - now) < _DAY else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def schedule(rule: Trigger) -> str:
    """A schedule as the config has it."""
    return f"schedule `{rule.cron}` ({rule.timezone})"


def arrived(rule: Trigger, what: Came, now: datetime) -> str:
    """How a schedule came: in time, late, or several times before anybody looked."""
    at = local(what.last, rule.timezone)
    if what.times > 1:
        count = f"more than {what.times:,} times" if what.more else times(what.times)
        return f"{schedule(rule)} came {count} while no coordinator looked, last at {at:%Y-%m-%d %H:%M}: once for all"
    if now - what.last > _LATE:
        late = span(now - what.last)
        return f"{schedule(rule)} came at {at:%Y-%m-%d %H:%M}, and no coordinator looked until {late} later"
    return f"{schedule(rule)} came at {at:%H:%M}"


def in_words(rule: Trigger) -> str:
    """What a rule says."""
    if rule.on == "schedule":
        return schedule(rule)
    if rule.on == "message":
        return "when it is called, by a message or by the API"
    conditions = []
    if rule.quiet_period is not None:
        conditions.append(f"when no release was made for {span(rule.quiet_period)}")
    if rule.max_delay is not None:
        conditions.append(f"{span(rule.max_delay)} after the first release that is not shown")
    if rule.max_rows is not None:
        conditions.append(f"when {rule.max_rows:,} rows have changed")
    return ", or ".join(conditions) or "at once, whenever there is a new release"
