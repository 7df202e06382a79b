"""Certificates of systems' tables in the next release, for every mapping that the config has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import Connection

from distributor.ledger import expectations
from distributor.mapping.compiled import Compiled, compile_table
from distributor.mapping.tables import SystemMapping
from distributor.model.certificate import EMPTY_TABLE, TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.model.manifest import ZERO
from distributor.publishing.parent import Parent, Part
from distributor.shaping.deltas import Shaper
from distributor.store.base import Store
from distributor.store.chunks import chunk_pieces


def mapped(
    ledger: Connection,
    store: Store,
    parent: Parent,
    mappings: Iterable[SystemMapping],
    schemas: Mapping[str, DatasetSchema],
    parts: Mapping[str, Part],
    new: Collection[str],
) -> dict[str, TableCertificate]:
    """Fingerprint of a table → its certificate in the next release: the parent's, with the changes of `parts`.

    Left out are tables of which the parent's is not known, and those that some row does not go through: these are
    computed on first need, by whoever asks for a rollout. `new` are datasets whose parts are all of their rows. Raises
    ConfigError for a mapping that does not fit, StoreError.
    """
    tables = _tables(mappings, schemas)
    before = _before(ledger, parent, tables, new)
    found: dict[str, TableCertificate] = {}
    for fingerprint, certificate in before.items():
        folded = _folded(store, tables[fingerprint], certificate, parts)
        if folded is not None:
            found[fingerprint] = folded
    return found


def _tables(mappings: Iterable[SystemMapping], schemas: Mapping[str, DatasetSchema]) -> dict[str, Compiled]:
    compiled = (
        compile_table(mapping.system, table, schemas[table.source])
        for mapping in mappings
        for table in mapping.tables
        if table.source in schemas
    )
    return {one.fingerprint: one for one in compiled if not one.is_the_datasets}


def _before(
    ledger: Connection, parent: Parent, tables: Mapping[str, Compiled], new: Collection[str]
) -> dict[str, TableCertificate]:
    begun = {name for name, one in tables.items() if one.source.dataset in new or parent.release == ZERO}
    found = dict.fromkeys(begun, EMPTY_TABLE)
    if parent.manifest is None or parent.sha256 is None:
        return found
    known = {name: parent.manifest.mapped[name] for name in tables.keys() - begun if name in parent.manifest.mapped}
    missing = tables.keys() - begun - known.keys()
    return found | known | (expectations.known(ledger, parent.sha256, missing) if missing else {})


def _folded(
    store: Store, table: Compiled, certificate: TableCertificate, parts: Mapping[str, Part]
) -> TableCertificate | None:
    part = parts.get(table.source.dataset)
    if part is None or not part.chunks:
        return certificate
    shaper = Shaper(table)
    try:
        for chunk in part.chunks:
            for piece in chunk_pieces(store, chunk, table.source):
                certificate, unfit = shaper.fold(certificate, piece)
                if unfit:
                    return None
    finally:
        shaper.close()
    return certificate
