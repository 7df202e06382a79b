"""When to publish on its own: changes are gathered until it is quiet, but not for ever."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import psycopg

from distributor.capture.fixed import clear_errors
from distributor.capture.journal import Pending, pending

SHORTEST_POLL = 0.01
LONGEST_POLL = 0.1
_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Gathering:
    """What the watcher remembers, times in seconds of any steady clock.

    `seen` is what the journal looked like last, `first_at` when changes began to gather, `last_at` when one was last
    added, `idle_since` the first look that found nothing.
    """

    seen: tuple[int, int] | None = None
    first_at: float = 0.0
    last_at: float = 0.0
    idle_since: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Publish:
    """The time has come."""


def judge(
    gathering: Gathering, waiting: Pending | None, now: float, quiet_period: float, max_delay: float
) -> tuple[Gathering, Wait | Publish]:
    """The decision after one look at the journal. Durations in seconds.

    While nothing happens, the next look comes after a hundredth of the time that this has lasted, at least
    SHORTEST_POLL and at most LONGEST_POLL: a master at work is answered at once, an idle one is asked ten cheap
    questions per second.
    """
    if waiting is None:
        since = now if gathering.idle_since is None else gathering.idle_since
        return Gathering(idle_since=since), Wait(min(LONGEST_POLL, max(SHORTEST_POLL, (now - since) * _SHARE)))
    seen = (waiting.entries, waiting.newest)
    if gathering.seen is None:
        gathering = Gathering(seen, now - waiting.oldest_age, now)
    elif gathering.seen != seen:
        gathering = replace(gathering, seen=seen, last_at=now)
    due = min(gathering.last_at + quiet_period, gathering.first_at + max_delay)
    if now >= due:
        return Gathering(), Publish()
    return gathering, Wait(min(SHORTEST_POLL, due - now))


def watch(
    conn: psycopg.Connection,
    datasets: Collection[str],
    *,
    quiet_period: float,
    max_delay: float,
    clock: Callable[[], float],
    pause: Callable[[float], bool],
) -> bool:
    """Returns True when it is time to publish, False when `pause(seconds)` says that the process stops.

    `conn` must be in autocommit: an open transaction would hold the master's vacuum back. Raises UnreachableError.
    """
    gathering = Gathering()
    while True:
        with clear_errors("master"):
            waiting = pending(conn, datasets)
        gathering, decision = judge(gathering, waiting, clock(), quiet_period, max_delay)
        if isinstance(decision, Publish):
            return True
        if not pause(decision.seconds):
            return False
