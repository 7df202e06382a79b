"""When to publish on its own: changes are gathered until it is quiet, but not for ever."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

import psycopg

from distributor.capture.fixed import clear_errors
from distributor.capture.inspect import inspect
from distributor.capture.journal import Changed, Pending, changed, pending
from distributor.capture.triggers import CaptureState, state
from distributor.settings.models import Dataset
from distributor.telemetry.clock import now as wall_clock

SHORTEST_POLL = 0.01
LONGEST_POLL = 0.1
CATALOGUE_SECONDS = 10.0
_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Gathering:
    """What the watcher remembers, times in seconds of any steady clock.

    `seen` is what the journal looked like last, `first_at` when changes began to gather, `last_at` when one was last
    written, `idle_since` the first look that found nothing.
    """

    seen: tuple[int, int] | None = None
    first_at: float = 0.0
    last_at: float = 0.0
    idle_since: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again after so many seconds."""

    seconds: float


class Why(StrEnum):
    """What made it time to publish."""

    QUIET = "quiet"
    DELAY = "max_delay"
    MUCH = "max_rows"
    SCAN = "scan"
    TABLES = "tables"


@dataclass(frozen=True, slots=True)
class Publish:
    """The time has come: since the last change, or for DELAY since the first one, it has waited so many seconds."""

    why: Why
    waited: float = 0.0


@dataclass(frozen=True, slots=True)
class Due:
    """The time has come, in a sentence: `waited 1.0 s for quiet (3 changed keys since 14:02:11)`."""

    why: Why
    because: str


def judge(
    gathering: Gathering,
    waiting: Pending | None,
    now: float,
    quiet_period: float,
    max_delay: float,
    *,
    much: bool = False,
) -> tuple[Gathering, Wait | Publish]:
    """The decision after one look at the journal. Durations in seconds. `much`: so much waits that nothing is gathered.

    While nothing happens, the next look comes after a hundredth of the time that this has lasted, at least
    SHORTEST_POLL and at most LONGEST_POLL: a master at work is answered at once, an idle one is asked ten cheap
    questions per second.
    """
    if waiting is None:
        since = now if gathering.idle_since is None else gathering.idle_since
        return Gathering(idle_since=since), Wait(min(LONGEST_POLL, max(SHORTEST_POLL, (now - since) * _SHARE)))
    seen = (waiting.entries, waiting.newest)
    if gathering.seen is None:
        gathering = Gathering(seen, now - waiting.oldest_age, now - waiting.newest_age)
    elif gathering.seen != seen:
        # What was written long before it was committed does not make the quiet any shorter.
        gathering = replace(gathering, seen=seen, last_at=max(gathering.last_at, now - waiting.newest_age))
    quiet, latest = gathering.last_at + quiet_period, gathering.first_at + max_delay
    due = min(quiet, latest)
    if much:
        return Gathering(), Publish(Why.MUCH, now - gathering.first_at)
    if now >= due:
        over = (
            Publish(Why.QUIET, now - gathering.last_at)
            if quiet <= latest
            else Publish(Why.DELAY, now - gathering.first_at)
        )
        return Gathering(), over
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
    max_rows: int,
    scan_at: float | None,
    clock: Callable[[], float],
    pause: Callable[[float], bool],
) -> Due | None:
    """Why it is time to publish, as soon as it is; None when `pause(seconds)` says that the process stops.

    `known` is the catalogue as it was before the last publish, which saw all that was there then. `max_rows`: how many
    changed keys are not kept waiting; 0: any number is. `scan_at`: when, by `clock`, a dataset has to be compared
    whole; None: never. `conn` must be in autocommit: an open transaction would hold the master's vacuum back. Raises
    UnreachableError, SchemaError.
    """
    gathering = Gathering()
    looked = clock()
    while True:
        with clear_errors("master"):
            waiting = pending(conn, datasets)
            is_new = waiting is not None and (waiting.entries, waiting.newest) != gathering.seen
            much = bool(max_rows and is_new) and changed(conn, datasets).keys >= max_rows
        gathering, decision = judge(gathering, waiting, clock(), quiet_period, max_delay, much=much)
        if scan_at is not None and clock() >= scan_at:
            return Due(Why.SCAN, "it was time to compare whole what is compared whole")
        if isinstance(decision, Wait) and clock() - looked >= CATALOGUE_SECONDS:
            looked = clock()
            if catalogue(conn, datasets) != known:
                return Due(Why.TABLES, "the master's tables, or the triggers on them, are others than before")
        if isinstance(decision, Publish):
            assert waiting is not None
            with clear_errors("master"):
                amount = changed(conn, datasets)
            since = wall_clock() - timedelta(seconds=waiting.oldest_age)
            return Due(decision.why, sentence(decision, amount, since, max_delay=max_delay, max_rows=max_rows))
        if not pause(decision.seconds):
            return None


def sentence(decision: Publish, amount: Changed, since: datetime, *, max_delay: float, max_rows: int) -> str:
    """Why it publishes, as the audit tells it."""
    keys = f"{'more than ' if amount.more else ''}{amount.keys:,} changed {'key' if amount.keys == 1 else 'keys'}"
    parts = [keys] if amount.keys or not amount.whole else []
    parts += [f"all of {name}" for name in amount.whole]
    found = f"{' and '.join(parts)} since {since:%H:%M:%S}"
    match decision.why:
        case Why.QUIET:
            return f"waited {decision.waited:.1f} s for quiet ({found})"
        case Why.DELAY:
            return f"waited {decision.waited:.1f} s, and no longer for quiet: max_delay is {max_delay:g} s ({found})"
        case _:
            return f"waited no longer for quiet: max_rows is {max_rows:,} ({found})"
