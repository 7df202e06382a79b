"""What becomes of a table that is no longer of the shape in which it was distributed: the dataset's drift policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from distributor.capture.inspect import Source
from distributor.errors import SchemaError
from distributor.model.dataset import Column, DatasetSchema

Policy = Literal["stop", "evolve", "ignore"]
Places = Mapping[str, str]
"""Column → where the master's catalogue keeps it (`Source.places`): a column that is renamed keeps its place."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A source in the shape in which it goes into the next release.

    `restarts`: what changed since it was last distributed, in sentences; then the dataset begins anew in its new
    shape. `ignored`: what is new on the master and is not distributed.
    """

    source: Source
    restarts: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def settled(
    source: Source, known: DatasetSchema | None, policy: Policy = "stop", places: Places | None = None
) -> Settled:
    """The source under the shape that was distributed before (`known`), or under its own where the policy is to evolve.

    Raises SchemaError naming every change that the policy does not allow.
    """
    if known is None:
        return Settled(source)
    changes = _changes(known, source, places or {})
    if not changes:
        return Settled(replace(source, schema=known))
    if policy == "evolve":
        return Settled(source, restarts=_told(changes))
    left_out = [change for change in changes if change.is_addition]
    if policy == "ignore" and len(left_out) == len(changes):
        return Settled(replace(source, schema=known), ignored=_told(changes))
    raise SchemaError(
        "the table has changed since it was distributed: " + "; ".join(_told(changes)),
        where=f"dataset {source.dataset}, table {source.name}",
        mend=_mend(source.dataset, policy),
    )


@dataclass(frozen=True, slots=True)
class _Change:
    text: str
    is_addition: bool = False


def _told(changes: Iterable[_Change]) -> tuple[str, ...]:
    return tuple(sorted(change.text for change in changes))


def _mend(dataset: str, policy: Policy) -> str:
    ignoring = ' `drift = "ignore"` leaves out new columns, and nothing else.' if policy == "ignore" else ""
    return (
        f'Set `drift = "evolve"` in [master.datasets.{dataset}] to carry it to every system, or undo the change.'
        f"{ignoring} Nothing is lost: what changes meanwhile goes into the next release."
    )


def _changes(known: DatasetSchema, source: Source, places: Places) -> list[_Change]:
    now = source.schema
    before = {column.name: column for column in known.columns}
    after = {column.name: column for column in now.columns}
    gone = [name for name in before if name not in after]
    new = [name for name in after if name not in before]
    renamed = _renamed(gone, new, places, source.places)
    changes = [_Change(f"column {old} was renamed to {name}") for old, name in renamed.items()]
    changes += [_Change(f"column {name} is new", is_addition=True) for name in new if name not in renamed.values()]
    changes += [_Change(f"column {name} is gone") for name in gone if name not in renamed]
    same = {name: name for name in before if name in after} | renamed
    for old, name in same.items():
        changes += _altered(name, before[old], after[name])
    if tuple(same.get(name) for name in known.key) != now.key:
        changes.append(_Change(f"the key was ({', '.join(known.key)}) and is ({', '.join(now.key)})"))
    return changes


def _altered(name: str, old: Column, new: Column) -> list[_Change]:
    changes = []
    if old.type != new.type:
        changes.append(_Change(f"column {name} was {old.type} and is {new.type}"))
    # The other way round nothing has to follow: copies that may be null hold what never is.
    if new.nullable and not old.nullable:
        changes.append(_Change(f"column {name} may be null now"))
    return changes


def _renamed(gone: list[str], new: list[str], before: Places, now: Places) -> dict[str, str]:
    """Old name → new name, of columns that are surely the same ones."""
    names = {now[name]: name for name in new}
    return {name: names[before[name]] for name in gone if before.get(name) in names}
