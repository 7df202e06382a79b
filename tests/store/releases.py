"""Changesets as releases of a store."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa

from distributor.model.certificate import Certificate
from distributor.model.manifest import Manifest
from distributor.store.chunks import write_chunk, write_manifest
from distributor.store.directory import DirectoryStore
from tests.store.rows import SCHEMA, State, as_table, difference


class Releases:
    """Releases 1, 2, … in the order in which their changesets are added; `manifests[0]` is of release 0."""

    def __init__(self, store: DirectoryStore, chunk_rows: int = 3) -> None:
        self.store, self.chunk_rows = store, chunk_rows
        self.manifests: list[str | None] = [None]

    def add(self, changes: pa.Table) -> Manifest:
        starts = range(0, changes.num_rows, self.chunk_rows)
        manifest = Manifest(
            release=len(self.manifests),
            parent_release=len(self.manifests) - 1,
            parent=self.manifests[-1],
            created_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
            schemas=(SCHEMA,),
            chunks=tuple(write_chunk(self.store, SCHEMA, changes.slice(at, self.chunk_rows)) for at in starts),
            counts={},
            certificate=Certificate(),
        )
        self.manifests.append(write_manifest(self.store, manifest))
        return manifest


def publish(store: DirectoryStore, states: Sequence[State], chunk_rows: int = 3) -> list[str | None]:
    """Writes the states as releases 0, 1, …; returns their manifests."""
    releases = Releases(store, chunk_rows)
    for old, new in pairwise(states):
        releases.add(as_table(difference(old, new)))
    return releases.manifests
