"""What a coordinator does with a member that does not get on: it is kept for those who ask, and told once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from distributor.ledger import environments, stalls, timeline
from distributor.ledger.storable import text
from distributor.rollout.blockers import Stall
from distributor.rollout.events import RefusalReason
from distributor.rollout.state import Environment
from distributor.wire.messages import MemberReport, ProgressReport, RefusedReport, StalledReport


def hear_stall(conn: Connection, report: StalledReport, at: datetime, traceparent: str | None) -> None:
    """Keeps the newest word of it. What nobody waits for any more is no news."""
    rollout_id = _rollout(environments.lock(conn, report.environment), report.rollout_id)
    if rollout_id is None:
        return

    def tell(kind: str, said: str) -> None:
        entry = timeline.Entry(kind, f"{report.system} {said}", rollout_id, report.system)
        timeline.write(conn, report.environment, at, [entry], traceparent)

    if not report.waiting_for:
        if stalls.clear(conn, report.environment, report.system):
            tell("member-goes-on", "gets on again")
        return
    stall = Stall(
        rollout_id=report.rollout_id,
        phase=text(report.phase),
        # A length of time is the same on both clocks.
        since=at - (report.reported_at - report.since),
        waiting_for=text(report.waiting_for),
        mend=text(report.mend),
        at=at,
    )
    if stalls.put(conn, report.environment, report.system, stall):
        tell("member-stalled", f"does not get on in the phase {stall.phase}: it waits for {stall.waiting_for}")


def hear_of_work(conn: Connection, report: MemberReport) -> None:
    """Whoever answers is not stuck; a load that gives up for now comes to the same place again."""
    for_now = isinstance(report, RefusedReport) and report.reason is RefusalReason.RETRYABLE
    if not for_now and not isinstance(report, ProgressReport):
        stalls.clear(conn, report.environment, report.system)


def forget_ended(conn: Connection, after: Environment) -> None:
    """Nobody waits any more for what belonged to rollouts that this step ended."""
    ids = [id_ for rollout in after.ended for id_ in (rollout.id, rollout.revert_id) if id_]
    if ids:
        stalls.clear_ended(conn, after.name, ids)


def _rollout(state: Environment, command_id: str) -> str | None:
    """The rollout that waits for a command of this id; None when none does, as for old slots that follow."""
    active = state.active
    return active.id if active and command_id in (active.id, active.revert_id) else None
