"""What operators do with messages that could not be processed. Each is audited in the same transaction."""

from __future__ import annotations

from sqlalchemy import Engine

from distributor.ledger import audit, deadletters
from distributor.ledger.deadletters import DeadLetter
from distributor.ledger.engine import transaction
from distributor.telemetry.clock import now


def retry(engine: Engine, number: int, *, by: str, reason: str) -> DeadLetter:
    """Sends a dead letter again, to where it was sent first. Raises RefusedError when that cannot be."""
    with transaction(engine) as conn:
        at = now()
        deadletters.retry(conn, number, at)
        audit.record(conn, audit.AuditRecord(at, by, "deadletter retry", reason, detail={"letter": number}))
        return deadletters.letter(conn, number)


def discard(engine: Engine, number: int, *, by: str, reason: str) -> DeadLetter:
    """Gives a dead letter up; it stays readable. Raises RefusedError when there is none such that waits."""
    with transaction(engine) as conn:
        deadletters.discard(conn, number)
        audit.record(conn, audit.AuditRecord(now(), by, "deadletter discard", reason, detail={"letter": number}))
        return deadletters.letter(conn, number)
