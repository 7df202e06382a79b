"""An oracle for changesets: datasets as dictionaries, and nothing of the store's own code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from distributor.model.dataset import Column, DatasetSchema
from distributor.model.types import LogicalType

Row = tuple[str | None, ...]
State = Mapping[tuple[str, ...], Row]

SCHEMA = DatasetSchema(
    dataset="prices",
    columns=tuple(
        Column(name=name, type=LogicalType.parse("text"), nullable=name not in {"sku", "Sku"})
        for name in ("amount", "sku", "Sku", "note's")
    ),
    key=("Sku", "sku"),
)
"""A key of two columns that is not in column order, names that differ by case, a quote in a name."""


def key_of(row: Row) -> tuple[str, ...]:
    return (str(row[2]), str(row[1]))


def state(rows: Iterable[Row]) -> dict[tuple[str, ...], Row]:
    return {key_of(row): row for row in rows}


def difference(old: State, new: State) -> dict[tuple[str, ...], tuple[str, Row | None, Row | None]]:
    """Key → operation, row before, row after."""
    found: dict[tuple[str, ...], tuple[str, Row | None, Row | None]] = {}
    for key in old.keys() | new.keys():
        before, after = old.get(key), new.get(key)
        if before != after:
            op = "insert" if before is None else "delete" if after is None else "update"
            found[key] = (op, before, after)
    return found


def as_table(changes: Mapping[tuple[str, ...], tuple[str, Row | None, Row | None]]) -> pa.Table:
    """Changes in the columns that the chunk format promises, spelt out here once more."""
    names = ["amount", "sku", "Sku", "note's"]
    nothing: Row = (None,) * len(names)
    columns: dict[str, list[str | None]] = {"op": [op for op, _, _ in changes.values()]}
    for prefix, place in (("before.", 1), ("after.", 2)):
        for at, name in enumerate(names):
            columns[prefix + name] = [(change[place] or nothing)[at] for change in changes.values()]
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def as_changes(tables: Iterable[pa.Table]) -> dict[tuple[str, ...], tuple[str, Row | None, Row | None]]:
    """Changes read back; fails when a key appears twice or a side is there that should not be."""
    found: dict[tuple[str, ...], tuple[str, Row | None, Row | None]] = {}
    for table in tables:
        for values in zip(*(column.to_pylist() for column in table.columns), strict=True):
            op, before, after = values[0], values[1:5], values[5:9]
            old = None if op == "insert" else before
            new = None if op == "delete" else after
            assert old is not None or before == (None,) * 4
            assert new is not None or after == (None,) * 4
            key = key_of(old or new or ())
            assert key not in found
            found[key] = (op, old, new)
    return found
