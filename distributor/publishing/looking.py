"""The look at the master with which a publish begins: shapes, and what may have changed. One transaction, locked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from distributor.capture.inspect import Source, inspect, table_identifier
from distributor.capture.journal import Taken, take
from distributor.capture.triggers import CaptureState, journal_exists, state
from distributor.publishing.drift import Places, Settled, settled
from distributor.publishing.parent import Parent
from distributor.settings.models import Dataset

_LOCK_TIMEOUT = "5s"


@dataclass(frozen=True, slots=True)
class Look:
    """Every dataset's source, in the shape in which it goes into the next release, and the changed keys."""

    settled: Mapping[str, Settled]
    taken: Taken

    @property
    def sources(self) -> dict[str, Source]:
        """Dataset → its source."""
        return {name: found.source for name, found in self.settled.items()}

    @property
    def restarts(self) -> dict[str, tuple[str, ...]]:
        """The datasets that begin anew in another shape → what changed."""
        return {name: found.restarts for name, found in self.settled.items() if found.restarts}

    @property
    def ignored(self) -> dict[str, tuple[str, ...]]:
        """Datasets → what is new on the master and left out."""
        return {name: found.ignored for name, found in self.settled.items() if found.ignored}


def look(
    master: psycopg.Connection,
    datasets: Mapping[str, Dataset],
    parent: Parent,
    places: Mapping[str, Places],
) -> Look:
    """Locks, then looks: the snapshot must be younger than the locks (a TRUNCATE that commits is no deletion).

    `places`: those of every dataset's columns when it was last compared. Raises SchemaError, also for drift.
    """
    tables = sql.SQL(", ").join(table_identifier(datasets[name].table) for name in sorted(datasets))
    master.execute(
        sql.SQL("SET LOCAL lock_timeout = {}; LOCK TABLE {} IN ACCESS SHARE MODE").format(_LOCK_TIMEOUT, tables)
    )
    known = parent.schemas
    sources = inspect(master, datasets)
    unseen = {name for name, found in sources.items() if state(found, master) is not CaptureState.INSTALLED}
    shapes = {
        name: settled(found, known.get(name), datasets[name].drift, places.get(name)) for name, found in sources.items()
    }
    taken = take(master, list(datasets)) if journal_exists(master) else Taken()
    return Look(shapes, Taken(taken.keys, taken.whole | unseen))
