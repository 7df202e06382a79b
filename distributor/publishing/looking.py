"""The look at the master with which a publish begins: shapes, and what may have changed. One transaction, locked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from distributor.capture.inspect import Source, inspect, table_identifier
from distributor.capture.journal import Taken, take
from distributor.capture.triggers import CaptureState, journal_exists, state
from distributor.publishing.drift import settled
from distributor.publishing.parent import Parent
from distributor.settings.models import Dataset

_LOCK_TIMEOUT = "5s"


@dataclass(frozen=True, slots=True)
class Look:
    """Every dataset's source, in the shape in which it goes into the next release, and the changed keys."""

    sources: Mapping[str, Source]
    taken: Taken


def look(master: psycopg.Connection, datasets: Mapping[str, Dataset], parent: Parent) -> Look:
    """Locks, then looks: the snapshot must be younger than the locks (a TRUNCATE that commits is no deletion)."""
    tables = sql.SQL(", ").join(table_identifier(datasets[name].table) for name in sorted(datasets))
    master.execute(
        sql.SQL("SET LOCAL lock_timeout = {}; LOCK TABLE {} IN ACCESS SHARE MODE").format(_LOCK_TIMEOUT, tables)
    )
    known = parent.schemas
    sources = {name: settled(found, known.get(name)) for name, found in inspect(master, datasets).items()}
    unseen = {name for name, found in sources.items() if state(found, master) is not CaptureState.INSTALLED}
    taken = take(master, list(datasets)) if journal_exists(master) else Taken()
    return Look(sources, Taken(taken.keys, taken.whole | unseen))
