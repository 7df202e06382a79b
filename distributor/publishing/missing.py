"""What triggers have missed goes into the audit, with the release that has it."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from distributor.ledger import audit
from distributor.publishing.proof import Missed
from distributor.telemetry.clock import now

_WHY = "a full comparison found changes whose keys no trigger had recorded"


def record_missed(ledger: Connection, missed: Mapping[str, Missed | None], release: int) -> None:
    """One entry for each dataset, in the release's own transaction."""
    for dataset, found in missed.items():
        if found is not None:
            detail = {"release": release, "dataset": dataset, "rows": found.rows, "keys": [list(k) for k in found.keys]}
            audit.record(ledger, audit.AuditRecord(now(), "publisher", "missed changes", _WHY, detail=detail))
