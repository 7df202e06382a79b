"""Certificates of mapped tables at a release, computed from its chain of changesets: what the master's rows say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distributor.mapping.compiled import Compiled
from distributor.model.certificate import EMPTY_TABLE, TableCertificate
from distributor.model.unfit import Unfit
from distributor.shaping.deltas import Shaper
from distributor.store.base import Store
from distributor.store.chain import Chain
from distributor.store.compose import net_delta


def computed(
    store: Store, chain: Chain, tables: Sequence[Compiled], before: Mapping[str, TableCertificate]
) -> tuple[dict[str, TableCertificate], tuple[Unfit, ...]]:
    """Fingerprint → certificate at the end of a chain, of every table all of whose rows fit it, and the rows that do
    not. Raises StoreError.

    `before` has those at the chain's beginning; a table that it lacks was empty there. The cost is that of reading the
    chain's net delta once for each table; memory does not grow with it.
    """
    found: dict[str, TableCertificate] = {}
    bad: list[Unfit] = []
    for table in tables:
        shaper = Shaper(table)
        anew = chain.restarts(table.source.dataset)
        certificate = EMPTY_TABLE if anew else before.get(table.fingerprint, EMPTY_TABLE)
        unfit = 0
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
