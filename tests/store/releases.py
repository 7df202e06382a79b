"""Changesets as releases of a store."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pyarrow as pa

from distributor.model.certificate import Certificate, certify
from distributor.model.manifest import Manifest
from distributor.store.chunks import write_chunk, write_manifest
from distributor.store.directory import DirectoryStore
from tests.store.rows import SCHEMA, Row, State, as_table, difference


class Releases:
    """Releases 1, 2, … in the order in which their changesets are added; `manifests[0]` is of release 0."""

    def __init__(self, store: DirectoryStore, chunk_rows: int = 3) -> None:
        self.store, self.chunk_rows = store, chunk_rows
        self.manifests: list[str | None] = [None]

    def add(self, changes: pa.Table, rows: Iterable[Row] = ()) -> Manifest:
        manifest = self._manifest(len(self.manifests), len(self.manifests) - 1, self.manifests[-1], changes, rows)
        self.manifests.append(write_manifest(self.store, manifest))
        return manifest

    def variant(self, release: int, of: str, changes: pa.Table, rows: Iterable[Row] = ()) -> str:
        """A manifest of the same release that stands on `of`, another manifest of it; returns its sha256."""
        return write_manifest(self.store, self._manifest(release, release, of, changes, rows))

    def _manifest(
        self, release: int, parent_release: int, parent: str | None, changes: pa.Table, rows: Iterable[Row]
    ) -> Manifest:
        starts = range(0, changes.num_rows, self.chunk_rows)
        return Manifest(
            release=release,
            parent_release=parent_release,
            parent=parent,
            created_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
            schemas=(SCHEMA,),
            chunks=tuple(write_chunk(self.store, SCHEMA, changes.slice(at, self.chunk_rows)) for at in starts),
            counts={},
            certificate=Certificate(tables={SCHEMA.dataset: certify(SCHEMA.dataset, SCHEMA.key_positions, rows)}),
        )


def publish(store: DirectoryStore, states: Sequence[State], chunk_rows: int = 3) -> list[str | None]:
    """Writes the states as releases 0, 1, …; returns their manifests."""
    releases = Releases(store, chunk_rows)
    for old, new in pairwise(states):
        releases.add(as_table(difference(old, new)), new.values())
    return releases.manifests
