"""Certificates of mapped tables at a release, computed from its chain of changesets: what the master's rows say."""

from __future__ import annotations

from collections.abc import Sequence

from distributor.mapping.compiled import Compiled
from distributor.model.certificate import EMPTY_TABLE, TableCertificate
from distributor.model.manifest import ZERO
from distributor.model.unfit import Unfit
from distributor.shaping.deltas import Shaper
from distributor.store.base import Store
from distributor.store.chain import walk
from distributor.store.compose import net_delta


def computed(
    store: Store, sha256: str, release: int, tables: Sequence[Compiled]
) -> tuple[dict[str, TableCertificate], tuple[Unfit, ...]]:
    """Fingerprint → certificate of every table all of whose rows fit it, and the rows that do not. Raises StoreError.

    The cost is that of reading all rows of the tables' datasets once for each table; memory does not grow with them.
    """
    chain = walk(store, sha256, release, None, ZERO)
    found: dict[str, TableCertificate] = {}
    bad: list[Unfit] = []
    for table in tables:
        shaper = Shaper(table)
        certificate, unfit = EMPTY_TABLE, 0
        try:
            for piece in net_delta(store, chain, table.source):
                certificate, failed = shaper.fold(certificate, piece)
                bad += failed
                unfit += len(failed)
        finally:
            shaper.close()
        if not unfit:
            found[table.fingerprint] = certificate
    return found, tuple(bad)
