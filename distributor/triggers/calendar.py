"""When an environment may not change over: windows and freezes, as intervals in UTC. Pure.

The intervals reach from the day before to a horizon of some weeks. With windows, what lies beyond the horizon is closed
too: a ledger that nobody has told of the weeks after never opens by accident.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim

from distributor.ledger.freezes import Freeze
from distributor.rollout.state import Closure
from distributor.settings.desk import Window

LOOKBACK = timedelta(days=1)
HORIZON = timedelta(weeks=5)
"""Longer than the longest month: a window that opens monthly is always in sight."""
FOR_EVER = datetime(9999, 12, 31, tzinfo=UTC)

_Interval = tuple[datetime, datetime]


def closures(windows: Sequence[Window], freezes: Iterable[Freeze], at: datetime) -> tuple[Closure, ...]:
    """What is closed around `at`, by beginning. All day long it is the same, so that it is told once a day."""
    today = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since, horizon = today - LOOKBACK, today + HORIZON
    closed = [Closure(*interval, outside(windows)) for interval in _between(tuple(windows), since, horizon)]
    closed += [Closure(f.since, f.until, frozen(f)) for f in freezes if f.ended_at is None and f.until > since]
    return tuple(sorted(closed, key=lambda closure: (closure.since, closure.until, closure.why)))


def opens_at(closed: Iterable[Closure], at: datetime) -> datetime | None:
    """The first time from `at` on at which nothing is closed; None when none is in sight."""
    for closure in sorted(closed, key=lambda closure: closure.since):
        if closure.since <= at < closure.until:
            at = closure.until
    return at if at < FOR_EVER else None


def openings(window: Window, at: datetime) -> Iterator[_Interval]:
    """When a window is open, from `at` on: also the one that is open then. Without end, unless its cron has one.

    It lasts as long by the clock on the wall of no time zone: an hour is an hour in the night in which clocks change.
    """
    zone = ZoneInfo(window.timezone)
    # What opens exactly then counts, and cron's steps begin after the time that is given.
    first = at - window.lasts - timedelta(seconds=1)
    for opens in CronSim(window.cron, first.astimezone(zone)):
        since = opens.astimezone(UTC)
        if since + window.lasts > at:
            yield since, since + window.lasts


def outside(windows: Sequence[Window]) -> str:
    """Why it is closed between windows."""
    return f"outside of its windows: {'; '.join(map(in_words, windows))}"


def in_words(window: Window) -> str:
    """`0 22 * * mon-fri for 4 h (Europe/Vienna)`."""
    minutes = int(window.lasts.total_seconds()) // 60
    days, rest = divmod(minutes, 24 * 60)
    parts = ((days, "d"), (rest // 60, "h"), (rest % 60, "min"))
    return f"{window.cron} for {' '.join(f'{n} {unit}' for n, unit in parts if n)} ({window.timezone})"


def frozen(freeze: Freeze) -> str:
    """Why it is closed in a freeze."""
    return f"frozen by {freeze.by}: {freeze.reason}"


@lru_cache(maxsize=256)
def _between(windows: tuple[Window, ...], since: datetime, horizon: datetime) -> tuple[_Interval, ...]:
    """The time from `since` on in which no window is open; none when there are no windows at all."""
    if not windows:
        return ()
    closed, at = [], since
    for opens, closes in sorted(_until(windows, since, horizon)):
        if opens > at:
            closed.append((at, opens))
        at = max(at, closes)
    return (*closed, (max(at, since), FOR_EVER))


def _until(windows: Iterable[Window], since: datetime, horizon: datetime) -> Iterator[_Interval]:
    for window in windows:
        for opens, closes in openings(window, since):
            if opens >= horizon:
                break
            yield opens, closes
