"""From a command to the rule-book's words, and from its answer to the report."""

from __future__ import annotations

from consumers.library import Library
from consumers.loading import Phases
from consumers.reports import Job, about
from distributor.errors import MessageError
from distributor.mapping.tables import SystemMapping
from distributor.rollout import commands
from distributor.rollout.member import Reply, ReplyKind
from distributor.rollout.member_row import MemberRow, Slot
from distributor.telemetry import clock
from distributor.wire import messages as wire


class Replies:
    """The reports of one member."""

    def __init__(self, library: Library, mapping: SystemMapping) -> None:
        self._library = library
        self._mapping = mapping

    def to(self, job: Job, row: MemberRow, reply: Reply, phases: Phases | None = None) -> wire.MemberReport:
        """The report that the rule-book asks for; `phases` of the load that came before it, if one did."""
        match reply.kind:
            case ReplyKind.STAGED:
                return self._staged(job, row, phases or Phases())
            case ReplyKind.FLIPPED:
                return about(
                    wire.FlippedReport,
                    row,
                    job,
                    release=row.online.release or 0,
                    flipped_at=row.flipped_at or clock.now(),
                )
            case ReplyKind.REVERTED:
                assert isinstance(job.command, wire.RevertCommand)
                return about(wire.RevertedReport, row, job, of=job.command.of)
            case ReplyKind.SETTLED:
                return about(wire.SettledReport, row, job, release=row.online.release or 0)
            case ReplyKind.HELLO:
                return self.hello(row, job)
            case ReplyKind.REFUSED:
                return about(wire.RefusedReport, row, job, reason=reply.reason, text=reply.text)

    def hello(self, row: MemberRow, job: Job | None) -> wire.HelloReport:
        """Where the member is."""
        return about(wire.HelloReport, row, job, flipped_epoch=row.flipped_epoch, mapping=self._mapping.version)

    def _staged(self, job: Job, row: MemberRow, phases: Phases) -> wire.StagedReport:
        slot = row.slots[row.staged_slot] if row.staged_slot else Slot()
        certificate = self._library.stored(slot)
        return about(
            wire.StagedReport,
            row,
            job,
            release=slot.release or 0,
            mapping=slot.identity.mapping if slot.identity else self._mapping.version,
            certificate=certificate.digest,
            tables={name: table.total for name, table in certificate.tables.items()},
            rows_applied=phases.rows_done,
            phases={name: round(seconds, 6) for name, seconds in phases.seconds.items()},
        )


def to_command(message: wire.MemberCommand) -> commands.Command:
    """The command as the rule-book knows it. Raises MessageError for a message that is no command."""
    match message:
        case wire.StageCommand():
            repair = message.repair if isinstance(message, wire.RepairCommand) else ""
            return commands.Stage(
                message.system,
                message.epoch,
                message.rollout_id,
                message.release,
                message.from_release,
                message.void,
                repair,
            )
        case wire.FlipCommand():
            return commands.Flip(
                message.system, message.epoch, message.rollout_id, message.release, message.at, message.not_after
            )
        case wire.RevertCommand():
            return commands.Revert(message.system, message.epoch, message.rollout_id, message.of)
        case wire.AbandonCommand():
            return commands.Abandon(message.system, message.epoch, message.rollout_id)
        case wire.SettleCommand():
            return commands.Settle(message.system, message.epoch, message.rollout_id, message.release)
    raise MessageError(f"{type(message).__name__} is no command to a member")
