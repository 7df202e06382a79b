"""What members must report for a release: from its manifest, from the ledger, else computed on first need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from distributor.errors import RefusedError, SchemaError, StoreError
from distributor.ledger import expectations
from distributor.mapping.compiled import Compiled, certificate_in, compile_system
from distributor.mapping.tables import SystemMapping
from distributor.model.certificate import EMPTY_TABLE, Certificate, TableCertificate
from distributor.model.manifest import ZERO, Manifest
from distributor.model.unfit import UnfitRowsError
from distributor.rollout.state import Expected
from distributor.shaping.expected import computed
from distributor.store.base import Store
from distributor.store.chunks import read_manifest
from distributor.store.ways import Ways


@dataclass(frozen=True, slots=True)
class Content:
    """A release as an environment shows it, or shall. Both are None for release 0, which is empty."""

    sha256: str | None
    manifest: Manifest | None

    @property
    def release(self) -> int:
        """Its number."""
        return self.manifest.release if self.manifest else ZERO

    @classmethod
    def read(cls, store: Store, sha256: str | None) -> Content:
        """By the manifest's sha256. Raises StoreError."""
        return cls(sha256, read_manifest(store, sha256) if sha256 else None)


def expected(
    conn: Connection, store: Store, mapping: SystemMapping, content: Content, since: Content | None = None
) -> Expected:
    """The digest of the certificate that a member with this mapping must reach; see `expected_certificate`."""
    return Expected(expected_certificate(conn, store, mapping, content, since).digest, mapping.version)


def expected_certificate(
    conn: Connection, store: Store, mapping: SystemMapping, content: Content, since: Content | None = None
) -> Certificate:
    """The certificate that a member with this mapping must reach, by table.

    `since` is what such members are known to have reached before: from there less is to be computed. Raises
    RefusedError when the release lacks a dataset, UnfitRowsError when rows do not go through the mapping, ConfigError
    when the mapping does not fit the release's columns, StoreError.
    """
    if content.manifest is None or content.sha256 is None:
        return Certificate(tables={table.into: EMPTY_TABLE for table in mapping.tables})
    try:
        tables = compile_system(mapping, content.manifest)
    except SchemaError as error:
        raise RefusedError(error.what, where=error.where, mend=error.mend) from error
    found = _known(conn, content.sha256, content.manifest, tables)
    missing = [table for table in tables if table.fingerprint not in found]
    if missing:
        found |= _on_first_need(conn, store, content, missing, since)
    return Certificate(tables={table.name: found[table.fingerprint] for table in tables})


def _known(
    conn: Connection, sha256: str, manifest: Manifest, tables: Sequence[Compiled]
) -> dict[str, TableCertificate]:
    found = {table.fingerprint: sums for table in tables if (sums := certificate_in(manifest, table)) is not None}
    missing = [table.fingerprint for table in tables if table.fingerprint not in found]
    return found | (expectations.known(conn, sha256, missing) if missing else {})


def _on_first_need(
    conn: Connection, store: Store, content: Content, tables: Sequence[Compiled], since: Content | None
) -> dict[str, TableCertificate]:
    assert content.sha256 is not None
    ways = Ways(store, content.sha256, content.release)
    before: dict[str, TableCertificate] = {}
    if since is not None and since.sha256 is not None and since.manifest is not None:
        before = _known(conn, since.sha256, since.manifest, tables)
    try:
        near = [table for table in tables if table.fingerprint in before]
        chain = ways.delta(since.sha256, since.release) if near and since else ways.anew()
    except StoreError:
        near, chain = [], ways.anew()
    found, unfit = computed(store, chain, near, before) if near else ({}, ())
    rest = [table for table in tables if table not in near]
    if rest:
        more, bad = computed(store, ways.anew() if near else chain, rest, {})
        found, unfit = found | more, (*unfit, *bad)
    expectations.keep(conn, content.sha256, found)
    if unfit:
        raise UnfitRowsError(unfit, where=f"systems.{tables[0].system}")
    return found
