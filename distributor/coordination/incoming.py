"""Reports as events of the rule-book: times translated into the coordinator's, the member's clock estimated."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from distributor.coordination.step import EventFactory
from distributor.errors import MessageError
from distributor.ledger.progress import MemberProgress
from distributor.ledger.timeline import MemberNote
from distributor.rollout.clock import combine, estimate, to_coordinator
from distributor.rollout.events import (
    Event,
    Flipped,
    Hello,
    Progress,
    Refused,
    Reverted,
    Settled,
    Staged,
)
from distributor.rollout.state import Clock, Environment
from distributor.telemetry.clock import new_id
from distributor.wire.messages import (
    IDLE,
    FlippedReport,
    HelloReport,
    MemberReport,
    ProgressReport,
    RefusedReport,
    RevertedReport,
    SettledReport,
    StagedReport,
)


class _Common(TypedDict):
    at: datetime
    member: str
    epoch: int
    rollout_id: str
    floor: int
    shows: int
    shadow: int | None
    clock: Clock | None
    fresh_id: str


def event_factory(report: MemberReport, received_at: datetime) -> EventFactory:
    """Makes the event once the environment is locked: translating times needs what is known of the member's clock."""
    measured = estimate(report.command_sent_at, report.command_received_at, report.reported_at, received_at)
    common = _Common(
        at=received_at,
        member=report.system,
        epoch=report.epoch,
        rollout_id=report.rollout_id,
        floor=report.floor,
        shows=report.shows,
        shadow=report.shadow,
        clock=measured,
        fresh_id=new_id(),
    )

    def make(environment: Environment) -> Event:
        member = environment.members.get(report.system)
        return _event(report, common, combine(member.clock if member else Clock(), measured))

    return make


def note_of(report: MemberReport) -> MemberNote | None:
    """What the timeline keeps of a report beside the transition that it caused."""
    match report:
        case StagedReport():
            kept = report.model_dump(mode="json", include={"rows_applied", "phases", "tables", "certificate"})
            return MemberNote(report.system, kept)
        case RefusedReport():
            return MemberNote(report.system, {"reason": report.reason.value, "text": report.text})
        case _:
            return None


def progress_of(report: ProgressReport, at: datetime) -> MemberProgress:
    """A progress report as the ledger keeps it."""
    return MemberProgress(
        environment=report.environment,
        system=report.system,
        rollout_id=report.rollout_id,
        phase=report.phase,
        rows_done=report.rows_done,
        rows_total=report.rows_total,
        rate=report.rows_done / report.seconds if report.seconds > 0 else 0.0,
        at=at,
    )


def _event(report: MemberReport, common: _Common, clock: Clock) -> Event:
    match report:
        case HelloReport():
            return Hello(**common, flipped_epoch=report.flipped_epoch)
        case ProgressReport():
            return Progress(**common, idle=report.phase == IDLE)
        case StagedReport():
            return Staged(**common, certificate=report.certificate, mapping=report.mapping)
        case RefusedReport():
            return Refused(**common, reason=report.reason, text=report.text)
        case FlippedReport():
            return Flipped(**common, flipped_at=to_coordinator(report.flipped_at, clock))
        case RevertedReport():
            return Reverted(**common)
        case SettledReport():
            return Settled(**common)
        case _:
            raise MessageError(f"a {report.TYPE} is no report that a coordinator knows")
