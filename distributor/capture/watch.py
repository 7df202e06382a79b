"""When to publish on its own: changes are gathered until it is quiet, but not for ever."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import psycopg

from distributor.capture.fixed import clear_errors
from distributor.capture.journal import Pending, pending

SHORTEST_POLL = 0.02
LONGEST_POLL = 0.2


@dataclass(frozen=True, slots=True)
class Gathering:
    """What the watcher remembers, times in seconds of any steady clock.

    `seen` is what the journal looked like last, `first_at` when changes began to gather, `last_at` when one was last
    added.
    """

    seen: tuple[int, int] | None = None
    first_at: float = 0.0
    last_at: float = 0.0
    poll: float = SHORTEST_POLL


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
    """The decision after one look at the journal. Durations in seconds; polls slow down while nothing happens."""
    if waiting is None:
        idle = Gathering(poll=min(LONGEST_POLL, gathering.poll * 2))
        return idle, Wait(gathering.poll)
    seen = (waiting.entries, waiting.newest)
    if gathering.seen is None:
        gathering = Gathering(seen, now - waiting.oldest_age, now)
    elif gathering.seen != seen:
        gathering = replace(gathering, seen=seen, last_at=now)
    due = min(gathering.last_at + quiet_period, gathering.first_at + max_delay)
    if now >= due:
        return Gathering(), Publish()
    return replace(gathering, poll=SHORTEST_POLL), Wait(min(SHORTEST_POLL, due - now))


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
