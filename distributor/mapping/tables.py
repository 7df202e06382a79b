"""Which datasets a system holds, under which names."""

from __future__ import annotations

import hashlib

from distributor.model.certificate import Certificate
from distributor.model.dataset import DatasetSchema, Frozen
from distributor.model.manifest import Manifest

ENGINE = "identity/1"


class TableMapping(Frozen):
    """One table of a system: the dataset it shows, and the name under which readers find it."""

    dataset: str
    into: str


class SystemMapping(Frozen):
    """All tables of one system, in the order of the config."""

    system: str
    tables: tuple[TableMapping, ...]

    @property
    def version(self) -> str:
        """The mapping's fingerprint: a changed mapping (or engine) is another content for the same release."""
        return hashlib.sha256(f"{ENGINE}\n{self.model_dump_json()}".encode()).hexdigest()

    def schemas(self, manifest: Manifest) -> tuple[tuple[TableMapping, DatasetSchema], ...]:
        """Each table with its shape. Raises KeyError for a dataset that the release does not have."""
        return tuple((table, manifest.schema_of(table.dataset)) for table in self.tables)

    def expected(self, manifest: Manifest) -> Certificate:
        """The certificate that a member with this mapping must reach: keyed by the table's name."""
        return self.restrict(manifest.certificate)

    def restrict(self, certificate: Certificate) -> Certificate:
        """Certificates of datasets as certificates of this system's tables."""
        return Certificate(
            tables={
                table.into: certificate.tables[table.dataset]
                for table in self.tables
                if table.dataset in certificate.tables
            }
        )
