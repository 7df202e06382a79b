"""Datasets, mappings and rows for tests, in few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import pyarrow as pa

from distributor.mapping.compiled import Compiled, compile_table
from distributor.mapping.tables import ColumnMapping, TableMapping
from distributor.model.dataset import Column, DatasetSchema
from distributor.model.types import LogicalType
from distributor.shaping.engine import Engine, Shaped

Row = Sequence[str | None]


def dataset(columns: Mapping[str, str], key: Sequence[str] = (), name: str = "items") -> DatasetSchema:
    """A dataset: column → type. The key is the first column unless told."""
    key = tuple(key) or (next(iter(columns)),)
    return DatasetSchema(
        dataset=name,
        columns=tuple(
            Column(name=column, type=LogicalType.parse(type_), nullable=column not in key)
            for column, type_ in columns.items()
        ),
        key=key,
    )


def table(
    source: DatasetSchema, columns: Mapping[str, str | tuple[str, str]] | None = None, where: str = "", into: str = "t"
) -> Compiled:
    """A table of the system `pos`: column → expression, or (expression, type). None: every column."""
    entries = []
    for name, entry in (columns or {}).items():
        expr, type_ = (entry, None) if isinstance(entry, str) else entry
        entries.append(ColumnMapping(name=name, expr=expr, type=LogicalType.parse(type_) if type_ else None))
    mapping = TableMapping(dataset=source.dataset, into=into, where=where, columns=tuple(entries))
    return compile_table("pos", mapping, source)


def arrow(columns: Sequence[str], rows: Sequence[Row]) -> pa.Table:
    """Rows of canonical texts."""
    return pa.table([pa.array([row[at] for row in rows], pa.string()) for at in range(len(columns))], names=columns)


def shaped(compiled: Compiled, rows: Sequence[Row]) -> Shaped:
    """The rows, gone through the table's mapping."""
    engine = Engine(compiled)
    try:
        return engine.shape(arrow(compiled.source.column_names, rows))
    finally:
        engine.close()


def kept(compiled: Compiled, rows: Sequence[Row]) -> list[tuple[str | None, ...]]:
    """Those that are the table's. Fails when one does not fit."""
    found = shaped(compiled, rows)
    assert not found.unfit
    return [tuple(row.values()) for row in found.rows.filter(found.kept).to_pylist()]


def value(expr: str, type_: str, given: Mapping[str, tuple[str, str | None]]) -> str | None:
    """What an expression gives for one row: column → (type, canonical text)."""
    engine = _engine(expr, type_, tuple((name, kind) for name, (kind, _) in given.items()))
    row = ["1", *(text for _, text in given.values())]
    found = engine.shape(arrow(engine.table.source.column_names, [row]))
    assert not found.unfit
    result = found.rows["v"][0].as_py()
    assert result is None or isinstance(result, str)
    return result


@cache
def _engine(expr: str, type_: str, columns: tuple[tuple[str, str], ...]) -> Engine:
    return Engine(table(dataset({"id": "integer", **dict(columns)}), {"id": "id", "v": (expr, type_)}))
