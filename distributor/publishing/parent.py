"""The release on which the next one stands, and the manifest of the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from distributor.capture.inspect import Source
from distributor.mapping.tables import is_joined
from distributor.model.certificate import EMPTY_TABLE, Certificate, TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.model.manifest import Chunk, Counts, Manifest


@dataclass(frozen=True, slots=True)
class Parent:
    """A release by its number and its manifest's sha256; release 0 has no manifest."""

    release: int
    sha256: str | None
    manifest: Manifest | None

    @property
    def schemas(self) -> dict[str, DatasetSchema]:
        """Dataset → the shape in which it was distributed."""
        return {schema.dataset: schema for schema in self.manifest.schemas} if self.manifest else {}

    def certificate(self, dataset: str) -> TableCertificate:
        """A dataset's certificate; of one that is not there yet, that of an empty table."""
        return self.manifest.certificate.tables.get(dataset, EMPTY_TABLE) if self.manifest else EMPTY_TABLE


@dataclass(frozen=True, slots=True)
class Joined:
    """What joined datasets add to a release: their parts, shapes, and why some of them begin anew."""

    parts: Mapping[str, Part] = field(default_factory=dict)
    schemas: Mapping[str, DatasetSchema] = field(default_factory=dict)
    restarts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """A dataset's part of the next release."""

    chunks: tuple[Chunk, ...]
    counts: Counts
    certificate: TableCertificate


def next_manifest(
    parent: Parent,
    sources: Mapping[str, Source],
    parts: Mapping[str, Part],
    restarts: Mapping[str, tuple[str, ...]],
    joined: Joined,
    mapped: Mapping[str, TableCertificate],
    created_at: datetime,
) -> Manifest:
    """The manifest of the release after `parent`. Datasets that left the config stay as they are; joined ones that no
    mapping needs any more are gone, for nobody holds them."""
    before = parent.manifest
    certificates = dict(before.certificate.tables) if before else {}
    certificates.update({name: part.certificate for name, part in (*parts.items(), *joined.parts.items())})
    certificates = {name: one for name, one in certificates.items() if is_joined(name) <= (name in joined.parts)}
    left = tuple(schema for name, schema in parent.schemas.items() if name not in sources and not is_joined(name))
    return Manifest(
        release=parent.release + 1,
        parent_release=parent.release,
        parent=parent.sha256,
        created_at=created_at,
        schemas=(*(source.schema for source in sources.values()), *left, *joined.schemas.values()),
        chunks=tuple(chunk for part in (*parts.values(), *joined.parts.values()) for chunk in part.chunks),
        counts={name: part.counts for name, part in parts.items()},
        certificate=Certificate(tables=certificates),
        restarts={**restarts, **joined.restarts},
        mapped=dict(mapped),
    )
