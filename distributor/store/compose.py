"""Many changesets as one: the net delta of a chain, in the columns of a chunk.

The first `before` and the last `after` of every key count; what ends as it began vanishes. That may be done piece by
piece, since the net of nets is the net of all: changes are gathered until they weigh MOST_BYTES, and replaced by their
net. A net that is still heavy goes to the disk, in parts by key, and each part is composed by itself. So memory
depends neither on the length of the chain nor on the rows of its changesets.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from distributor.errors import StoreError
from distributor.model.dataset import DatasetSchema
from distributor.store.base import Store
from distributor.store.chain import Chain, Direction, Step
from distributor.store.chunks import AFTER, BEFORE, OP, PIECE_ROWS, Op, changeset_schema, chunk_pieces
from distributor.store.spill import LEVELS, Spill

MOST_BYTES = 48 << 20
"""Octets of changes that are gathered before they are replaced by their net.

Measured: a process that composes rises by 120 to 145 MB for 36 MB of changes, by 140 to 170 MB for 400 MB to 2 GB.
"""
# Chunk, batch, what is gathered, its copy in one piece and its net are in memory at once.
_TAKES_MB = 4 * MOST_BYTES >> 20


def net_delta(store: Store, chain: Chain, schema: DatasetSchema) -> Iterator[pa.Table]:
    """The net delta of one dataset in tables of at most PIECE_ROWS rows, no key twice over all of them.

    Raises StoreError when a chunk is missing, damaged or of another shape, or when memory or temporary room runs out.
    """
    steps = chain.touching(schema.dataset)
    changes = _changes(store, steps, schema)
    with _clear_errors(schema.dataset):
        if len(steps) <= 1:
            yield from changes
            return
        for table in _composed(changes, schema):
            for start in range(0, table.num_rows, PIECE_ROWS):
                yield table.slice(start, PIECE_ROWS)


def reverse(table: pa.Table, schema: DatasetSchema) -> pa.Table:
    """The changes that undo these."""
    names = schema.column_names
    op: Any = table[OP]
    inserted, deleted = pc.equal(op, pa.scalar(Op.INSERT.value)), pc.equal(op, pa.scalar(Op.DELETE.value))
    undone = pc.if_else(inserted, Op.DELETE.value, pc.if_else(deleted, Op.INSERT.value, op))
    columns = [table[AFTER + name] for name in names] + [table[BEFORE + name] for name in names]
    return pa.table([undone, *columns], schema=changeset_schema(schema))


def _changes(store: Store, steps: tuple[Step, ...], schema: DatasetSchema) -> Iterator[pa.Table]:
    """The rows of all changesets, in the order of the chain and each in the direction of its step."""
    for step in steps:
        for chunk in step.chunks(schema.dataset):
            for table in chunk_pieces(store, chunk, schema):
                yield table if step.direction is Direction.FORWARD else reverse(table, schema)


def _composed(changes: Iterable[pa.Table], schema: DatasetSchema, level: int = 0) -> Iterator[pa.Table]:
    """The net of changes in the order of a chain; `level` counts how often their keys were parted."""
    with Spill(changeset_schema(schema), level) as spill:
        gathered: list[pa.Table] = []
        weight = 0
        for table in changes:
            gathered.append(table)
            weight += table.get_total_buffer_size()
            if weight <= MOST_BYTES:
                continue
            net = _net(gathered, schema)
            # A light net has room for more changes of the same keys; a heavy one would be worked on again and again.
            if net.get_total_buffer_size() > MOST_BYTES // 2 and level < LEVELS:
                spill.add(net, _keys(net, schema))
            else:
                gathered.append(net)
            weight = sum(table.get_total_buffer_size() for table in gathered)
            del net, table
        net = _net(gathered, schema)
        if not spill:
            yield net
            return
        spill.add(net, _keys(net, schema))
        del net
        for part in spill.parts():
            yield from _composed(part, schema, level + 1)


def _net(gathered: list[pa.Table], schema: DatasetSchema) -> pa.Table:
    """One row per key that ends otherwise than it began. Empties the list: nothing may be in memory once more."""
    changes = pa.concat_tables([changeset_schema(schema).empty_table(), *gathered]).combine_chunks()
    gathered.clear()
    keys = {f"k{at}": column for at, column in enumerate(_keys(changes, schema))}
    rows = pa.table({**keys, "row": pa.array(range(changes.num_rows), pa.int32())})
    ends = rows.group_by(list(keys), use_threads=False).aggregate([("row", "min"), ("row", "max")])
    if ends.num_rows == changes.num_rows:
        return changes
    del keys, rows
    names = schema.column_names
    first = changes.select([BEFORE + name for name in names]).take(ends["row_min"])
    last = changes.select([AFTER + name for name in names]).take(ends["row_max"])
    del changes, ends
    never_null = schema.key_positions[0]
    op = pc.if_else(pc.is_null(last[never_null]), Op.DELETE.value, Op.UPDATE.value)
    op = pc.if_else(pc.is_null(first[never_null]), Op.INSERT.value, op)
    net = pa.table([op, *first.columns, *last.columns], schema=changeset_schema(schema))
    return net.filter(_differ(first, last)).combine_chunks()


def _differ(first: pa.Table, last: pa.Table) -> Any:
    """Whether rows differ, NULL being equal to NULL only."""
    differ: Any = pa.repeat(pa.scalar(value=False), first.num_rows)
    for before, after in zip(first.columns, last.columns, strict=True):
        one_is_null = pc.xor(pc.is_null(before), pc.is_null(after))
        differ = pc.or_(differ, pc.coalesce(pc.not_equal(before, after), one_is_null))
    return differ


def _keys(changes: pa.Table, schema: DatasetSchema) -> list[pa.ChunkedArray[Any]]:
    return [pc.coalesce(changes[BEFORE + name], changes[AFTER + name]) for name in schema.key]


@contextmanager
def _clear_errors(dataset: str) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise StoreError(
            f"memory ran out while the changesets of {dataset} were composed",
            where="compose",
            mend=f"Give the process more memory: composing takes up to {_TAKES_MB} MB.",
        ) from error
    except OSError as error:
        # Chunks are read elsewhere, and say their own errors.
        raise StoreError(
            f"the changesets of {dataset} are too many for memory and cannot be kept on the disk: "
            f"{error.strerror or error}",
            where=f"compose, in {tempfile.tempdir or 'the temporary directory'}",
            mend="Make room there, or let TMPDIR name a directory that has it.",
        ) from error
