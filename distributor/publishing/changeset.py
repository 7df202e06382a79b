"""A dataset's part of a changeset: blocks of changes as chunks, counts and the certificate's difference."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from distributor.capture.rows import Block
from distributor.model.certificate import EMPTY_TABLE, TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.model.manifest import Chunk, Counts
from distributor.store.base import Store
from distributor.store.certifying import Sums
from distributor.store.chunks import OP, Op, changeset_schema, write_chunk


class ChangesetWriter:
    """Writes changes as they stream by. Without a store (a dry run) they are only counted."""

    def __init__(self, schema: DatasetSchema, store: Store | None, certificate: TableCertificate = EMPTY_TABLE) -> None:
        self._schema = schema
        self._store = store
        self._before = certificate
        self._sums = Sums()
        self._counts: Counter[Op] = Counter()
        self.chunks: list[Chunk] = []

    @property
    def counts(self) -> Counts:
        """What was written so far."""
        return Counts(inserts=self._counts[Op.INSERT], updates=self._counts[Op.UPDATE], deletes=self._counts[Op.DELETE])

    @property
    def certificate(self) -> TableCertificate:
        """The parent's certificate, without the rows before, with the rows after."""
        return self._before.plus(self._sums.certificate)

    def add(self, table: pa.Table) -> None:
        """Takes a piece of changes, at most CHUNK_ROWS rows."""
        for op in Op:
            self._counts[op] += table[OP].filter(pc.equal(table[OP], pa.scalar(op.value))).length()
        if self._store is None:
            return
        self.chunks.append(write_chunk(self._store, self._schema, table))
        width = len(self._schema.columns)
        before = table.filter(pc.not_equal(table[OP], pa.scalar(Op.INSERT.value))).columns[1 : width + 1]
        after = table.filter(pc.not_equal(table[OP], pa.scalar(Op.DELETE.value))).columns[width + 1 :]
        for columns, sign in ((before, -1), (after, 1)):
            self._sums.add(self._schema.dataset, self._schema.key_positions, columns, sign)


def inserts(schema: DatasetSchema, block: Block) -> pa.Table:
    """Rows, each as an insert, in the columns of a chunk."""
    rows = block.table(schema.column_names)
    ops = pa.repeat(pa.scalar(Op.INSERT.value), rows.num_rows)
    before = [pa.nulls(rows.num_rows, pa.string())] * len(schema.columns)
    return pa.table([ops, *before, *rows.columns], schema=changeset_schema(schema))
