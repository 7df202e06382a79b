"""Changesets of a dataset as changesets of a system's table."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from distributor.mapping.compiled import Compiled
from distributor.model.certificate import TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.model.unfit import Unfit
from distributor.shaping.engine import Engine
from distributor.store.certifying import Sums
from distributor.store.chunks import OP, Op, changeset_schema

_NOTHING: Any = pa.scalar(None, pa.string())
_FALSE: Any = pa.scalar(value=False)


class Shaper:
    """One table's changes. For one thread; give the memory back with `close`."""

    def __init__(self, table: Compiled) -> None:
        self.table = table
        self._engine = Engine(table)
        self._width = len(table.source.columns)

    def close(self) -> None:
        """Gives the memory back."""
        self._engine.close()

    def changes(self, changes: pa.Table) -> tuple[pa.Table, tuple[Unfit, ...]]:
        """Changes in the columns of a chunk of the source as changes of the table, and the rows that do not fit it.

        A row that stops to match `where` is deleted, one that begins to is inserted; what changes only in columns that
        the table has not vanishes. A row that does not fit counts as one that does not match.
        """
        if self.table.unchanged:
            return changes.rename_columns(changeset_schema(self.table.schema).names), ()
        before, was, _ = self._side(changes, 1, Op.INSERT)
        after, is_, unfit = self._side(changes, 1 + self._width, Op.DELETE)
        stays = pc.and_not(pc.or_(was, is_), pc.and_(pc.and_(was, is_), _same(before, after)))
        return self._written(was, is_, before, after).filter(stays), unfit

    def repairs(self, changes: pa.Table) -> tuple[pa.Table, tuple[Unfit, ...]]:
        """The chunks of a repair list likewise: they know no rows before, so a key that is not the table's goes."""
        after, is_, unfit = self._side(changes, 1 + self._width, Op.DELETE)
        keys = {
            name: pc.coalesce(changes.column(1 + at), changes.column(1 + self._width + at))
            for name, at in zip(self.table.schema.key, self.table.source.key_positions, strict=True)
        }
        empty: Any = pa.chunked_array([pa.nulls(changes.num_rows, pa.string())])
        before = [keys.get(column.name, empty) for column in self.table.columns]
        return self._written(pc.invert(is_), is_, before, after), unfit

    def fold(self, certificate: TableCertificate, changes: pa.Table) -> tuple[TableCertificate, tuple[Unfit, ...]]:
        """The table's certificate after these changes of the source."""
        shaped, unfit = self.changes(changes)
        return certificate.plus(difference(self.table.schema, shaped)), unfit

    def _side(self, changes: pa.Table, first: int, absent: Op) -> tuple[list[Any], Any, tuple[Unfit, ...]]:
        """The table's columns on one side of all changes, and which of these rows are the table's."""
        there: Any = pc.not_equal(changes[OP], pa.scalar(absent.value))
        given = changes.select(list(range(first, first + self._width))).filter(there)
        shaped = self._engine.shape(given.rename_columns(list(self.table.source.column_names)))
        running: Any = pc.cumulative_sum(there.cast(pa.int64()))
        places = pc.if_else(there, pc.subtract(running, 1), pa.scalar(None, pa.int64()))
        rows = [column.take(places) for column in shaped.rows.columns]
        kept: Any = shaped.kept
        return rows, pc.fill_null(kept.take(places), _FALSE), shaped.unfit

    def _written(self, was: Any, is_: Any, before: list[Any], after: list[Any]) -> pa.Table:
        ops = pc.if_else(was, pc.if_else(is_, Op.UPDATE.value, Op.DELETE.value), Op.INSERT.value)
        columns = [
            ops,
            *(pc.if_else(was, column, _NOTHING) for column in before),
            *(pc.if_else(is_, column, _NOTHING) for column in after),
        ]
        wanted = changeset_schema(self.table.schema)
        return pa.table(columns, names=wanted.names).cast(wanted)


def difference(schema: DatasetSchema, changes: pa.Table) -> TableCertificate:
    """What changes do to a certificate."""
    width = len(schema.columns)
    sums = Sums()
    before = changes.filter(pc.not_equal(changes[OP], pa.scalar(Op.INSERT.value))).columns[1 : width + 1]
    after = changes.filter(pc.not_equal(changes[OP], pa.scalar(Op.DELETE.value))).columns[width + 1 :]
    for columns, sign in ((before, -1), (after, 1)):
        sums.add(schema.dataset, schema.key_positions, columns, sign)
    return sums.certificate


def _same(before: list[Any], after: list[Any]) -> Any:
    """Per row, whether all columns are the same on both sides; two NULLs are."""
    same: Any = None
    for one, other in zip(before, after, strict=True):
        both_null = pc.and_(pc.is_null(one), pc.is_null(other))
        equal = pc.or_(pc.fill_null(pc.equal(one, other), _FALSE), both_null)
        same = equal if same is None else pc.and_(same, equal)
    return same
