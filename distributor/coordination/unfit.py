"""What a coordinator does with rows that a member cannot take: holds them back, and asks for the release again."""

from __future__ import annotations

from sqlalchemy import Connection

from distributor.coordination.step import Step
from distributor.errors import DistributorError
from distributor.ledger import audit, quarantine, timeline
from distributor.ledger.engine import first_line
from distributor.ledger.rollouts import INSTEAD
from distributor.requests.contents import BY, hold_back
from distributor.requests.rollouts import ask
from distributor.rollout.state import RolloutState
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.telemetry.clock import now
from distributor.wire.messages import RefusedReport, UnfitReport


def hear_unfit(conn: Connection, settings: Settings, report: UnfitReport) -> None:
    """Holds the rows back, if the budget allows; the environment itself is told by the answer that follows."""
    budget, at = settings.quarantine.max_rows, now()
    if report.total > budget:
        text = f"{report.system} cannot take {report.total:,} rows of release {report.release}"
        text += f": at most {budget:,} may be held back"
    else:
        hold_back(conn, report.environment, report.system, report.release, report.rows)
        text = f"{report.system} cannot take {report.total:,} rows of release {report.release}: they are held back"
        detail = {"release": report.release, "system": report.system, "rows": report.total}
        record = audit.AuditRecord(at, BY, "held rows back", str(report.rows[0]), report.environment, detail)
        audit.record(conn, record)
    entry = timeline.Entry("unfit", text, report.rollout_id, report.system)
    timeline.write(conn, report.environment, at, [entry])


def ask_again(conn: Connection, settings: Settings, store: Store, report: RefusedReport, done: Step) -> None:
    """After a rollout was given up because a member named unfit rows: the same request, for all that can be taken."""
    ended = next((rollout for rollout in done.after.ended if rollout.id == report.rollout_id), None)
    if ended is None or ended.state is not RolloutState.ABANDONED or done.after.queue:
        return
    rows = [row for row in quarantine.held(conn, report.environment) if row.release == ended.release]
    if not any(row.system == report.system for row in rows):
        return
    reason = f"{len(rows):,} rows held back, {INSTEAD} {ended.id}"
    try:
        with conn.begin_nested():
            ask(
                conn,
                settings,
                store,
                report.environment,
                release=ended.release,
                cause=ended.cause,
                by=BY,
                reason=reason,
                systems=ended.required | ended.optional,
            )
    except DistributorError as error:
        text = f"release {ended.release} is not asked for again: {first_line(error)}"
        timeline.write(conn, report.environment, now(), [timeline.Entry("unfit", text, ended.id, report.system)])
