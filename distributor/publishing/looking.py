"""The look at the master with which a publish begins: shapes, and what may have changed. One transaction, locked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import psycopg

from distributor.capture.inspect import Source, inspect
from distributor.capture.journal import Taken, take
from distributor.capture.locks import lock
from distributor.capture.triggers import CaptureState, journal_exists, state
from distributor.publishing.drift import Places, Settled, settled
from distributor.publishing.parent import Parent
from distributor.settings.models import Dataset

_LOCK_TIMEOUT = "5s"


@dataclass(frozen=True, slots=True)
class Look:
    """Every dataset's source, in the shape in which it goes into the next release, and the changed keys.

    `proofs`: datasets whose triggers see every change, and which are compared whole to prove it.
    """

    settled: Mapping[str, Settled]
    taken: Taken
    proofs: frozenset[str]

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
    scans: Collection[str] | None,
) -> Look:
    """Locks, then looks: the snapshot must be younger than the locks (a TRUNCATE that commits is no deletion).

    `places`: those of every dataset's columns when it was last compared. `scans`: the datasets that are to be compared
    whole, whether triggers watch them or not; None: those that need it. Raises SchemaError, also for drift.
    """
    lock(master, datasets, _LOCK_TIMEOUT)
    known = parent.schemas
    sources = inspect(master, datasets)
    states = {name: state(found, master) for name, found in sources.items()}
    seen = {name for name, found in states.items() if found is CaptureState.INSTALLED}
    due = states.keys() if scans is None else set(scans)
    resting = {name for name, found in states.items() if found is CaptureState.SCAN} - due
    shapes = {
        name: settled(found, known.get(name), datasets[name].drift, places.get(name)) for name, found in sources.items()
    }
    taken = take(master, list(datasets)) if journal_exists(master) else Taken()
    whole = taken.whole | (sources.keys() - seen - resting)
    return Look(shapes, Taken(taken.keys, whole), frozenset(seen.intersection(scans or ())))
