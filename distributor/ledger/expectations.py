"""Certificates of mapped tables, by the release's manifest and the table's fingerprint: those that no manifest has."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from distributor.ledger.tables import expected_certificates as table
from distributor.model.certificate import TableCertificate


def known(conn: Connection, manifest: str, fingerprints: Collection[str]) -> dict[str, TableCertificate]:
    """Fingerprint → certificate, of those that were computed before."""
    query = select(table.c.fingerprint, table.c.certificate).where(
        table.c.manifest == manifest, table.c.fingerprint.in_(list(fingerprints))
    )
    return {name: TableCertificate.model_validate_json(text) for name, text in conn.execute(query)}


def keep(conn: Connection, manifest: str, certificates: Mapping[str, TableCertificate]) -> None:
    """Remembers what was computed; it never changes."""
    rows = [
        {"manifest": manifest, "fingerprint": name, "certificate": certificate.model_dump_json()}
        for name, certificate in certificates.items()
    ]
    if rows:
        conn.execute(insert(table).values(rows).on_conflict_do_nothing())
