"""When a schedule comes: cron in a time zone, across the days on which clocks are put forward or back. Pure.

As Debian's cron has it: a time that is skipped in spring comes at the end of the gap; one that a clock shows twice in
autumn comes once, the first time. Minutes or hours that begin with `*` go by the clock instead: what the clock does
not show does not come, and what it shows twice comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

MOST_COUNTED = 1000
"""So many missed times are counted; of more, only the last one is looked for."""


@dataclass(frozen=True, slots=True)
class Came:
    """Times of a schedule that have come: the last of them in UTC, and how many; `more`: there were more than that."""

    last: datetime
    times: int = 1
    more: bool = False


def came(cron: str, timezone: str, after: datetime, until: datetime) -> Came | None:
    """What came after one time and not after the other; None when nothing did. Both are aware."""
    found: Came | None = None
    for time in _times(cron, timezone, after):
        if time > until:
            return found
        if found and found.times == MOST_COUNTED:
            return Came(_last(cron, timezone, until), MOST_COUNTED, more=True)
        found = Came(time, found.times + 1 if found else 1)
    return found


def next_time(cron: str, timezone: str, after: datetime) -> datetime | None:
    """The next time in UTC; None when it never comes again."""
    return next(_times(cron, timezone, after), None)


def local(at: datetime, timezone: str) -> datetime:
    """A time as the clocks of a time zone show it."""
    return at.astimezone(ZoneInfo(timezone))


def _times(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    for time in CronSim(cron, local(after, timezone)):
        at = time.astimezone(UTC)
        # In an hour that comes twice, the library begins with what the clock shows, which may be the first of both.
        if at > after:
            yield at


def _last(cron: str, timezone: str, until: datetime) -> datetime:
    # Backwards, the library begins a second before where it is told to.
    begin = local(until.replace(microsecond=0) + timedelta(seconds=1), timezone)
    return next(at for time in CronSim(cron, begin, reverse=True) if (at := time.astimezone(UTC)) <= until)
