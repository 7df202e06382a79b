"""Commands of the rule-book as messages in the outbox: manifests named, times in the member's own clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from distributor.ledger import variants
from distributor.ledger.outbox import OutgoingMessage
from distributor.rollout.clock import to_member
from distributor.rollout.commands import Abandon, Command, Flip, Revert, Settle, Stage
from distributor.rollout.state import Clock, Environment
from distributor.telemetry.clock import new_id
from distributor.wire import topology
from distributor.wire.messages import (
    AbandonCommand,
    AuditCommand,
    FlipCommand,
    MemberCommand,
    RepairCommand,
    RevertCommand,
    SettleCommand,
    StageCommand,
)


def messages(
    conn: Connection, environment: Environment, commands: Sequence[Command], at: datetime, traceparent: str | None
) -> list[OutgoingMessage]:
    """One message per command, in order. Raises RefusedError when the ledger does not know a release."""
    loads = {command.release for command in commands if isinstance(command, Stage | Settle)}
    manifests = variants.manifests(conn, environment.name, loads) if loads else {}
    found = []
    for command in commands:
        member = environment.members.get(command.member)
        data = wire(command, environment.name, manifests, member.clock if member else Clock())
        found.append(addressed(data, at, traceparent))
    return found


def addressed(data: MemberCommand | AuditCommand, at: datetime, traceparent: str | None) -> OutgoingMessage:
    """A message for one member's queue."""
    return OutgoingMessage(
        message_id=new_id(),
        exchange=topology.COMMANDS,
        routing_key=topology.command_key(data.environment, data.system),
        type=data.TYPE,
        subject=f"{data.environment}/{data.system}",
        body=data.model_dump_json().encode(),
        traceparent=traceparent,
        created_at=at,
    )


def wire(command: Command, environment: str, manifests: dict[int, str | None], clock: Clock) -> MemberCommand:
    """One command as its message. `manifests` holds the sha256 of every release that commands load."""
    match command:
        case Stage():
            stage = StageCommand(
                environment=environment,
                system=command.member,
                epoch=command.epoch,
                rollout_id=command.rollout_id,
                release=command.release,
                manifest=manifests[command.release],
                from_release=command.from_release,
                void=command.void,
            )
            return RepairCommand(**stage.model_dump(), repair=command.repair) if command.repair else stage
        case Flip():
            return FlipCommand(
                environment=environment,
                system=command.member,
                epoch=command.epoch,
                rollout_id=command.rollout_id,
                release=command.release,
                at=to_member(command.at, clock),
                not_after=to_member(command.not_after, clock),
            )
        case Revert():
            return RevertCommand(
                environment=environment,
                system=command.member,
                epoch=command.epoch,
                rollout_id=command.rollout_id,
                of=command.of,
            )
        case Abandon():
            return AbandonCommand(
                environment=environment,
                system=command.member,
                epoch=command.epoch,
                rollout_id=command.rollout_id,
            )
        case Settle():
            return SettleCommand(
                environment=environment,
                system=command.member,
                epoch=command.epoch,
                rollout_id=command.rollout_id,
                release=command.release,
                manifest=manifests[command.release],
            )
