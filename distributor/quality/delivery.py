"""What a publish is about to ship, and how a row's change is taken out of it again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from distributor.ledger.quarantine import Key
from distributor.model.certificate import TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.model.manifest import Chunk, Counts
from distributor.publishing import keyed
from distributor.publishing.parent import Parent, Part
from distributor.settings.models import Dataset
from distributor.shaping.deltas import difference
from distributor.store.base import Store
from distributor.store.chunks import AFTER, BEFORE, OP, Op, changeset_schema, chunk_pieces, read_chunk, write_chunk

_INVERSE = {Op.INSERT: Op.DELETE, Op.UPDATE: Op.UPDATE, Op.DELETE: Op.INSERT}


@dataclass
class Delivery:
    """The changes of all datasets, in chunks of `store`, and the image with all of them, in the transaction `image`.

    Without a store (a dry run without rules) they can only be counted.
    `new` are datasets whose changes are all of their rows; `restarted` those of them that were distributed before, in
    another shape: what a row of theirs was is not known.
    """

    image: psycopg.Connection
    store: Store | None
    parent: Parent
    datasets: Mapping[str, Dataset]
    schemas: Mapping[str, DatasetSchema]
    parts: dict[str, Part]
    new: Collection[str]
    restarted: Collection[str]
    at: datetime

    @property
    def release(self) -> int:
        """The release that is being made."""
        return self.parent.release + 1

    def rows_before(self, dataset: str) -> int:
        """Rows of the dataset in the parent."""
        return rows_of(self.parent.certificate(dataset))

    def rows_after(self, dataset: str) -> int:
        """Rows of the dataset with what is delivered."""
        return rows_of(self.parts[dataset].certificate)

    def changes(self, dataset: str) -> Iterator[pa.Table]:
        """A dataset's changes, in pieces."""
        assert self.store
        for chunk in self.parts[dataset].chunks:
            yield from chunk_pieces(self.store, chunk, self.schemas[dataset])

    def rows(self, dataset: str) -> Iterator[pa.Table]:
        """The rows after that are delivered, in the dataset's own columns."""
        schema = self.schemas[dataset]
        for piece in self.changes(dataset):
            rows = piece.filter(pc.not_equal(piece[OP], pa.scalar(Op.DELETE.value)))
            if rows.num_rows:
                taken = rows.select([AFTER + name for name in schema.column_names])
                yield taken.rename_columns(list(schema.column_names))

    def deleted(self, dataset: str) -> Iterator[list[Key]]:
        """Keys of rows that are deleted."""
        schema = self.schemas[dataset]
        for piece in self.changes(dataset):
            rows = piece.filter(pc.equal(piece[OP], pa.scalar(Op.DELETE.value)))
            if rows.num_rows:
                yield keys_of(rows, schema)

    def take_back(self, dataset: str, keys: Collection[Key]) -> None:
        """Leaves the changes of these keys out: the image has these rows as they were, and no chunk has them."""
        assert self.store
        schema, part = self.schemas[dataset], self.parts[dataset]
        chunks: list[Chunk] = []
        counts, certificate = part.counts, part.certificate
        wanted = frozenset(keys)
        for chunk in part.chunks:
            changes = read_chunk(self.store, chunk, schema)
            mask = _of_keys(changes, schema, wanted)
            if not pc.any(mask).as_py():
                chunks.append(chunk)
                continue
            back, rest = changes.filter(mask), changes.filter(pc.invert(mask))
            if rest.num_rows:
                chunks.append(write_chunk(self.store, schema, rest))
            keyed.apply(self.image, schema, _undoing(back, schema))
            certificate = certificate.minus(difference(schema, back))
            counts = _without(counts, back)
        self.parts[dataset] = Part(tuple(chunks), counts, certificate)


def rows_of(certificate: TableCertificate) -> int:
    """How many rows it is of."""
    return certificate.total.rows


def keys_of(changes: pa.Table, schema: DatasetSchema) -> list[Key]:
    """The key of every change."""
    columns = [_either(changes, name).to_pylist() for name in schema.key]
    return list(zip(*columns, strict=True))


def _either(changes: pa.Table, name: str) -> Any:
    return pc.coalesce(changes[BEFORE + name], changes[AFTER + name])


def _of_keys(changes: pa.Table, schema: DatasetSchema, keys: frozenset[Key]) -> Any:
    first: Any = pc.is_in(_either(changes, schema.key[0]), pa.array(sorted({key[0] for key in keys}), pa.string()))
    if len(schema.key) == 1:
        return first
    return pa.chunked_array([pa.array([key in keys for key in keys_of(changes, schema)], pa.bool_())])


def _undoing(changes: pa.Table, schema: DatasetSchema) -> pa.Table:
    """The changes that lead back."""
    width = len(schema.columns)
    ops = pa.array([_INVERSE[Op(str(op))].value for op in changes[OP].to_pylist()], pa.string())
    columns = [ops, *changes.columns[width + 1 :], *changes.columns[1 : width + 1]]
    return pa.table(columns, schema=changeset_schema(schema))


def _without(counts: Counts, changes: pa.Table) -> Counts:
    ops = changes[OP].to_pylist()
    return Counts(
        inserts=counts.inserts - ops.count(Op.INSERT.value),
        updates=counts.updates - ops.count(Op.UPDATE.value),
        deletes=counts.deletes - ops.count(Op.DELETE.value),
    )
