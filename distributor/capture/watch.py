"""When to publish on its own: changes are gathered until it is quiet, but not for ever."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import psycopg

from distributor.capture.fixed import clear_errors
from distributor.capture.inspect import inspect
from distributor.capture.journal import Pending, pending
from distributor.capture.triggers import CaptureState, state
from distributor.settings.models import Dataset

SHORTEST_POLL = 0.01
LONGEST_POLL = 0.1
CATALOGUE_SECONDS = 10.0
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


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What can change without a trigger's noticing: each table's identity, and which datasets no trigger watches."""

    identities: Mapping[str, str]
    unseen: frozenset[str]


def catalogue(conn: psycopg.Connection, datasets: Mapping[str, Dataset]) -> Catalogue:
    """One look. Raises SchemaError when a table cannot be captured at all, UnreachableError."""
    with clear_errors("master"):
        sources = inspect(conn, datasets)
        unseen = {name for name, source in sources.items() if state(source, conn) is not CaptureState.INSTALLED}
    return Catalogue({name: source.identity for name, source in sources.items()}, frozenset(unseen))


def watch(
    conn: psycopg.Connection,
    datasets: Mapping[str, Dataset],
    *,
    known: Catalogue,
    quiet_period: float,
    max_delay: float,
    scan_at: float | None,
    clock: Callable[[], float],
    pause: Callable[[float], bool],
) -> bool:
    """Returns True when it is time to publish, False when `pause(seconds)` says that the process stops.

    `known` is the catalogue as it was before the last publish, which saw all that was there then. `scan_at`: when, by
    `clock`, a dataset has to be compared whole; None: never. `conn` must be in autocommit: an open transaction would
    hold the master's vacuum back. Raises UnreachableError, SchemaError.
    """
    gathering = Gathering()
    looked = clock()
    while True:
        with clear_errors("master"):
            waiting = pending(conn, datasets)
        gathering, decision = judge(gathering, waiting, clock(), quiet_period, max_delay)
        if scan_at is not None and clock() >= scan_at:
            return True
        if isinstance(decision, Wait) and clock() - looked >= CATALOGUE_SECONDS:
            looked = clock()
            if catalogue(conn, datasets) != known:
                return True
        if isinstance(decision, Publish):
            return True
        if not pause(decision.seconds):
            return False
