"""Whether the master's tables are still of the shape in which they were distributed."""

from __future__ import annotations

from dataclasses import replace

from distributor.capture.inspect import Source
from distributor.errors import SchemaError
from distributor.model.dataset import DatasetSchema


def settled(source: Source, known: DatasetSchema | None) -> Source:
    """The source under the shape that was distributed before: the order of columns, and what members' tables have.

    Raises SchemaError naming every change that copies could not follow.
    """
    if known is None:
        return source
    if changes := _changes(known, source.schema):
        raise SchemaError(
            "the table has changed since it was distributed: " + "; ".join(changes),
            where=f"dataset {source.dataset}, table {source.name}",
            mend="There are no drift policies yet: undo the change, or distribute the table under a new dataset. "
            "Nothing is lost: what changes meanwhile goes into the next release.",
        )
    return replace(source, schema=known)


def _changes(known: DatasetSchema, now: DatasetSchema) -> list[str]:
    before = {column.name: column for column in known.columns}
    after = {column.name: column for column in now.columns}
    changes = [f"column {name} is new" for name in after if name not in before]
    changes += [f"column {name} is gone" for name in before if name not in after]
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        if old.type != new.type:
            changes.append(f"column {name} was {old.type} and is {new.type}")
        if new.nullable and not old.nullable:
            changes.append(f"column {name} may be null now")
    if known.key != now.key:
        changes.append(f"the key was ({', '.join(known.key)}) and is ({', '.join(now.key)})")
    return sorted(changes)
