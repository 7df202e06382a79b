"""What members must report for a release: from its manifest, from the ledger, else computed on first need."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from distributor.errors import RefusedError, SchemaError, UnfitRowsError
from distributor.ledger import expectations
from distributor.mapping.compiled import Compiled, certificate_in, compile_system
from distributor.mapping.tables import SystemMapping
from distributor.model.certificate import EMPTY_TABLE, Certificate, TableCertificate
from distributor.model.manifest import Manifest
from distributor.rollout.state import Expected
from distributor.shaping.expected import computed
from distributor.store.base import Store


@dataclass(frozen=True, slots=True)
class Content:
    """A release as an environment shall show it. `manifest` is None for release 0, which is empty."""

    sha256: str | None
    manifest: Manifest | None


def expected(conn: Connection, store: Store, mapping: SystemMapping, content: Content) -> Expected:
    """The digest of the certificate that a member with this mapping must reach.

    Raises RefusedError when the release lacks a dataset, UnfitRowsError when rows do not go through the mapping,
    ConfigError when the mapping does not fit the release's columns, StoreError.
    """
    return Expected(expected_certificate(conn, store, mapping, content).digest, mapping.version)


def expected_certificate(conn: Connection, store: Store, mapping: SystemMapping, content: Content) -> Certificate:
    """That certificate, by table. Raises as `expected` does."""
    if content.manifest is None or content.sha256 is None:
        return Certificate(tables={table.into: EMPTY_TABLE for table in mapping.tables})
    try:
        tables = compile_system(mapping, content.manifest)
    except SchemaError as error:
        raise RefusedError(error.what, where=error.where, mend=error.mend) from error
    found = {table.fingerprint: sums for table in tables if (sums := certificate_in(content.manifest, table))}
    missing = [table for table in tables if table.fingerprint not in found]
    if missing:
        found |= _on_first_need(conn, store, content.sha256, content.manifest, missing)
    return Certificate(tables={table.name: found[table.fingerprint] for table in tables})


def _on_first_need(
    conn: Connection, store: Store, sha256: str, manifest: Manifest, tables: list[Compiled]
) -> dict[str, TableCertificate]:
    found = expectations.known(conn, sha256, [table.fingerprint for table in tables])
    missing = [table for table in tables if table.fingerprint not in found]
    if missing:
        new, unfit = computed(store, sha256, manifest.release, missing)
        expectations.keep(conn, sha256, new)
        found |= new
        if unfit:
            raise UnfitRowsError(unfit, where=f"systems.{missing[0].system}")
    return found
