"""Bases: all rows of one release as inserts, so that nobody who starts from nothing has to start at release 0.

A base is made of the store alone, out of the newest base before it and the changesets since: neither the master nor
the released image is asked. It lies in the store under the name of its release's manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from distributor.errors import StoreError
from distributor.model.certificate import EMPTY_TABLE
from distributor.model.dataset import DatasetSchema
from distributor.model.manifest import Base, Chunk, Manifest
from distributor.store.base import Store
from distributor.store.certifying import Sums
from distributor.store.chain import Chain
from distributor.store.chunks import CHUNK_ROWS, OP, Op, read_manifest, write_chunk
from distributor.store.compose import net_delta
from distributor.store.ways import BASE, Ways, read_base

_MOST_BYTES = 8 << 20
Hear = Callable[[str, int], None]
"""Hears of a dataset, and how many of its rows are done. What it raises ends the work, and nothing was named."""


@dataclass(frozen=True, slots=True)
class Made:
    """A base, its sha256, and the way on which it came about; `already`: it lay there, whole, and nothing was done."""

    base: Base
    sha256: str
    way: Chain
    already: bool = False


def base_of(store: Store, release: int, sha256: str, hear: Hear = lambda _dataset, _rows: None) -> Made:
    """The base of a release, made unless it is there; one that is damaged is made anew.

    Raises StoreError when the chain is broken, or does not lead to what the release is certified as.
    """
    ways = Ways(store, sha256, release)
    if (held := read_base(store, sha256)) and whole(store, held.chunks):
        found = store.linked(BASE, sha256)
        assert found is not None
        return Made(held, found, ways.anew(), already=True)
    manifest = read_manifest(store, sha256)
    way = ways.anew(without=sha256)
    chunks = [chunk for schema in manifest.schemas for chunk in _chunks(store, way, schema, manifest, hear)]
    base = Base(release=release, manifest=sha256, chunks=tuple(chunks))
    written = store.put(base.model_dump_json().encode())
    store.link(BASE, sha256, written)
    return Made(base, written, way)


def whole(store: Store, chunks: Iterable[Chunk]) -> bool:
    """Whether chunks are there, to the last octet."""
    try:
        for chunk in chunks:
            store.local_path(chunk.sha256)
    except StoreError:
        return False
    return True


def _chunks(store: Store, way: Chain, schema: DatasetSchema, manifest: Manifest, hear: Hear) -> Iterator[Chunk]:
    """A dataset's rows as chunks. Nothing is named yet when it turns out that they are not what was certified."""
    sums, done = Sums(), 0
    for piece in _pieces(net_delta(store, way, schema)):
        if piece.num_rows != piece[OP].filter(pc.equal(piece[OP], pa.scalar(Op.INSERT.value))).length():
            raise _wrong(schema, manifest)
        rows = piece.columns[1 + len(schema.columns) :]
        sums.add(schema.dataset, schema.key_positions, rows, 1)
        yield write_chunk(store, schema, piece)
        done += piece.num_rows
        hear(schema.dataset, done)
    certified = manifest.certificate.tables.get(schema.dataset, EMPTY_TABLE)
    if sums.certificate != certified:
        raise _wrong(schema, manifest)


def _pieces(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of at most CHUNK_ROWS, and of wide rows fewer."""
    gathered: list[pa.Table] = []
    rows = weight = 0
    for table in tables:
        if gathered and (rows + table.num_rows > CHUNK_ROWS or weight > _MOST_BYTES):
            yield pa.concat_tables(gathered).combine_chunks()
            gathered.clear()
            rows = weight = 0
        gathered.append(table)
        rows += table.num_rows
        weight += table.nbytes
    if gathered:
        yield pa.concat_tables(gathered).combine_chunks()


def _wrong(schema: DatasetSchema, manifest: Manifest) -> StoreError:
    return StoreError(
        f"its changesets do not lead to the rows of {schema.dataset} that release {manifest.release} is certified with",
        where=f"base of release {manifest.release}",
        mend="Restore the store from a backup; until then nobody can rebuild this release.",
    )
