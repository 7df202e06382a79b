"""What a coordinator does with the answers to audits: they are kept, and what was found altered is said aloud, once."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from distributor.ledger import audit, doubts, environments, timeline, verifications
from distributor.ledger.doubts import Doubt
from distributor.ledger.storable import text
from distributor.telemetry.logs import logger
from distributor.wire.messages import AuditDepth, AuditedReport, FlippedReport, MemberReport, SettledReport

_log = logger("coordination")


def hear_audit(
    conn: Connection, report: AuditedReport, at: datetime, *, body: bytes, traceparent: str | None = None
) -> None:
    """Keeps an answer (`body` as it came), and raises an alarm when a slot was altered and nobody knew."""
    if report.audit_id and not verifications.answered(conn, report, body, at):
        _log.info("nobody asked for this audit", environment=report.environment, system=report.system)
    if report.error:
        return
    # What the audit's snapshot had, not what was stored when the report was written.
    seen_at = report.reported_at - timedelta(seconds=report.seconds)
    if report.doubt:
        _doubt(conn, report, at, seen_at, traceparent)
    elif report.audit_id and report.depth is AuditDepth.BUCKETS:
        # Only an audit of everything says that nothing is altered.
        of_table = text(report.table) or None
        doubts.clear(conn, report.environment, report.system, report.slot, seen_at, of_table=of_table)


def hear_of_slots(conn: Connection, report: MemberReport) -> None:
    """A flip puts online what is whole, and a settled member has mended its old slot: doubts end with that."""
    match report:
        case FlippedReport():
            doubts.flipped(conn, report.environment, report.system, report.flipped_at)
        case SettledReport():
            doubts.clear(conn, report.environment, report.system, doubts.SHADOW, report.reported_at)
        case _:
            pass


def _doubt(conn: Connection, report: AuditedReport, at: datetime, seen_at: datetime, traceparent: str | None) -> None:
    state = environments.lock(conn, report.environment)
    found = Doubt(
        environment=report.environment,
        system=report.system,
        slot=report.slot,
        table=text(report.table),
        release=report.release,
        text=text(report.doubt),
        since=at,
        seen_at=seen_at,
    )
    if not doubts.note(conn, found):
        return
    release = "" if report.release is None else f" (release {report.release})"
    what = f"{report.system}: its {report.slot} slot{release} was altered: {found.text}"
    _log.error("alarm", environment=report.environment, text=what)
    rollout_id = state.active.id if state.active else None
    entry = timeline.Entry("alarm", what, rollout_id, report.system)
    timeline.write(conn, report.environment, at, [entry], traceparent)
    detail = {"system": report.system, "slot": report.slot, "release": report.release}
    audit.record(conn, audit.AuditRecord(at, "coordinator", "alarm", what, report.environment, detail))
