"""Changeset chunks and manifests as objects of a store.

A chunk is a zstd Parquet file of at most CHUNK_ROWS rows with string columns: `op`, then `before.<column>` for every
column of the dataset, then `after.<column>`. No key appears twice in one changeset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from functools import reduce
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distributor.errors import StoreError
from distributor.model.dataset import DatasetSchema, Frozen
from distributor.model.manifest import Chunk, Manifest
from distributor.store.base import Store

CHUNK_ROWS = 50_000
# What is handed on at once; of wide rows fewer, for one chunk of them may be larger than a small machine's memory.
PIECE_ROWS = 10_000
PIECE_BYTES = 16 << 20
OP = "op"
BEFORE = "before."
AFTER = "after."


class Op(StrEnum):
    """What happened to a row. `before` is all null on insert, `after` on delete."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


_OPS = frozenset(op.value for op in Op)


class _Unread(BaseModel):
    """A JSON object of which nothing is kept."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Link(Frozen):
    """What a chain needs of a manifest: a thousand whole ones are seconds of reading, and their certificates stay."""

    release: int
    parent_release: int
    parent: str | None
    created_at: datetime
    schemas: tuple[_Unread, ...]
    chunks: tuple[Chunk, ...]
    counts: _Unread
    certificate: _Unread
    restarts: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    mapped: _Unread = _Unread()


Read = TypeVar("Read", Manifest, Link)


def changeset_schema(schema: DatasetSchema) -> pa.Schema:
    """The columns of a chunk of this dataset, all of them strings."""
    names = [OP, *(BEFORE + name for name in schema.column_names), *(AFTER + name for name in schema.column_names)]
    return pa.schema([pa.field(name, pa.string(), nullable=name != OP) for name in names])


def write_chunk(store: Store, schema: DatasetSchema, table: pa.Table) -> Chunk:
    """Keeps a piece of a changeset, at most CHUNK_ROWS rows. Raises StoreError when it does not fit the schema."""
    _check(table.schema, schema, "a new chunk")
    if table.num_rows > CHUNK_ROWS:
        raise StoreError(f"a chunk holds at most {CHUNK_ROWS} rows, not {table.num_rows}", where=schema.dataset)
    sink = pa.BufferOutputStream()
    plain = table.cast(changeset_schema(schema)).replace_schema_metadata(None)
    # zstd finds repeated texts by itself: dictionaries made chunks slower and no smaller.
    pq.write_table(plain, sink, compression="zstd", use_dictionary=False, write_statistics=False)
    content = sink.getvalue().to_pybytes()
    sha256 = store.put(content)
    return Chunk(dataset=schema.dataset, sha256=sha256, rows=table.num_rows, bytes=len(content))


def read_chunk(store: Store, chunk: Chunk, schema: DatasetSchema) -> pa.Table:
    """A chunk in the columns of `changeset_schema`. Raises StoreError: missing, damaged, or of another shape."""
    return pa.concat_tables([changeset_schema(schema).empty_table(), *chunk_pieces(store, chunk, schema)])


def chunk_pieces(store: Store, chunk: Chunk, schema: DatasetSchema) -> Iterator[pa.Table]:
    """A chunk like `read_chunk`, in tables of at most PIECE_ROWS rows and about PIECE_BYTES octets.

    The bytes are read once and verified before anything of them is handed out. Raises StoreError like `read_chunk`.
    """
    where = f"chunk {chunk.sha256} of {chunk.dataset}"
    wanted = changeset_schema(schema)
    content = store.get(chunk.sha256)
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        if not (found := file.schema_arrow).equals(wanted):
            _check(found, schema, where)
        if file.metadata.num_rows != chunk.rows:
            raise StoreError(f"it has {file.metadata.num_rows} rows, the manifest says {chunk.rows}", where=where)
        for batch in file.iter_batches(_piece_rows(file.metadata), use_threads=False):
            piece = pa.Table.from_batches([batch])
            ops = set(pc.unique(piece[OP]).to_pylist())
            if unknown := ops - _OPS:
                raise StoreError(f"it has the operation {min(unknown, key=str)!r}", where=where)
            yield piece if piece.schema.equals(wanted) else piece.cast(wanted)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise StoreError("this is no Parquet file", where=where, mend="Publish again.") from error


def row_of_key(store: Store, chunk: Chunk, key: Mapping[str, str]) -> dict[str, str | None] | None:
    """The change of one row (`key`: column → canonical text) as a chunk has it, by its columns; None: it has none.

    Of other chunks only the key columns are decoded. Raises StoreError: missing, damaged, or without these columns.
    """
    where = f"chunk {chunk.sha256} of {chunk.dataset}"
    content = store.get(chunk.sha256)
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        named = [side + name for name in key for side in (BEFORE, AFTER)]
        if missing := sorted(set(named) - set(file.schema_arrow.names)):
            raise StoreError(f"it has no column {missing[0]}", where=where)
        if not pc.any(_is(file.read(columns=named, use_threads=False), key)).as_py():
            return None
        for batch in file.iter_batches(_piece_rows(file.metadata), use_threads=False):
            piece = pa.Table.from_batches([batch])
            for row in piece.filter(_is(piece, key)).to_pylist():
                return dict(row)
    except (pa.ArrowException, OSError) as error:
        raise StoreError("this is no Parquet file", where=where, mend="Publish again.") from error
    return None


def _is(changes: pa.Table, key: Mapping[str, str]) -> Any:
    """Per row whether it is that of a key."""
    matches = [
        pc.equal(pc.coalesce(changes[BEFORE + name], changes[AFTER + name]), pa.scalar(value, pa.string()))
        for name, value in key.items()
    ]
    return reduce(pc.and_, matches)


def _piece_rows(metadata: pq.FileMetaData) -> int:
    octets = sum(metadata.row_group(at).total_byte_size for at in range(metadata.num_row_groups))
    return max(1, min(PIECE_ROWS, PIECE_BYTES * metadata.num_rows // max(octets, 1)))


def write_manifest(store: Store, manifest: Manifest) -> str:
    """Keeps a manifest and returns its sha256."""
    return store.put(manifest.model_dump_json().encode())


def read_manifest(store: Store, sha256: str) -> Manifest:
    """A manifest. Raises StoreError: missing, damaged, or written by another version of this program."""
    return _read(store, sha256, Manifest)


def read_link(store: Store, sha256: str) -> Link:
    """A manifest's place in its chain. Raises StoreError like `read_manifest`; what is not kept is not looked into."""
    return _read(store, sha256, Link)


def _read(store: Store, sha256: str, kind: type[Read]) -> Read:
    content = store.get(sha256)
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise StoreError(
            f"this is no manifest that this program can read: {'.'.join(map(str, problem['loc']))}: {problem['msg']}",
            where=f"manifest {sha256}",
            mend="Was it written by a newer version? Then upgrade this one.",
        ) from error


def _check(found: pa.Schema, schema: DatasetSchema, where: str) -> None:
    wanted = changeset_schema(schema)
    if found.names != wanted.names:
        wrong = sorted(set(found.names) ^ set(wanted.names))
        difference = f"columns {', '.join(wrong)}" if wrong else "the order of columns"
        raise StoreError(f"it does not fit dataset {schema.dataset}: {difference}", where=where)
    for field in found:
        if not (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
            raise StoreError(f"column {field.name} is {field.type}, not string", where=where)
