"""Releases and their manifests: the small immutable JSON that says what a release changed and where that lies."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from distributor.model.certificate import Certificate, TableCertificate
from distributor.model.dataset import DatasetSchema, Frozen, schemas_fingerprint

ZERO = 0
"""Release 0: every dataset empty. It has no manifest, and is a normal start of a first rollout."""


class Chunk(Frozen):
    """A Parquet file of a changeset in the store, named by its sha256."""

    dataset: str
    sha256: str
    rows: int
    bytes: int


class Counts(Frozen):
    """Net counts of one dataset in one changeset."""

    inserts: int = 0
    updates: int = 0
    deletes: int = 0

    @property
    def total(self) -> int:
        """Rows touched."""
        return self.inserts + self.updates + self.deletes


class Manifest(Frozen):
    """One release. `parent` is the sha256 of the parent's manifest, None only for the first release.

    `certificate` is of the datasets as they are. `mapped` is of systems' tables that are made of them, by the table's
    fingerprint (`mapping.compiled`), for the mappings that were known when the release was made. `restarts` are the
    datasets that have another shape than in the parent → what changed, in sentences: their chunks are all of their
    rows, as inserts into an empty table.
    """

    release: int
    parent_release: int
    parent: str | None
    created_at: datetime
    schemas: tuple[DatasetSchema, ...]
    chunks: tuple[Chunk, ...]
    counts: dict[str, Counts]
    certificate: Certificate
    restarts: dict[str, tuple[str, ...]] = Field(default_factory=dict, exclude_if=lambda restarts: not restarts)
    mapped: dict[str, TableCertificate] = Field(default_factory=dict)

    @property
    def is_variant(self) -> bool:
        """Whether it is a release without rows that one environment holds back: a child of the release itself."""
        return self.parent_release == self.release

    @property
    def schema_fingerprint(self) -> str:
        """The identity of the shapes of all datasets."""
        return schemas_fingerprint(self.schemas)

    def schema_of(self, dataset: str) -> DatasetSchema:
        """The shape of one dataset. Raises KeyError."""
        for schema in self.schemas:
            if schema.dataset == dataset:
                return schema
        raise KeyError(dataset)


class Base(Frozen):
    """All rows of a release as inserts: where a chain may start instead of at release 0.

    `manifest` is the sha256 of the release's own manifest, under which a store has it as a name of the kind `base`.
    """

    release: int
    manifest: str
    chunks: tuple[Chunk, ...]

    @property
    def rows(self) -> int:
        """Rows of all datasets."""
        return sum(chunk.rows for chunk in self.chunks)
