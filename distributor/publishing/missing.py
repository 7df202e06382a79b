"""What nobody asked for and everybody must be able to find out: into the audit, with the release that has it."""

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


def record_restarts(ledger: Connection, restarts: Mapping[str, tuple[str, ...]], release: int) -> None:
    """One entry for each dataset that has another shape, in the release's own transaction."""
    why = "the master's table changed, and `drift` says to carry it"
    for dataset, changes in restarts.items():
        detail = {"release": release, "dataset": dataset, "changes": list(changes)}
        audit.record(ledger, audit.AuditRecord(now(), "publisher", "another shape", why, detail=detail))
