"""What a member says: reports filled from its row, encoded, and handed to the line."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from consumers.amqp import Line, Outgoing, dead_headers
from consumers.inbox import Letter
from distributor.rollout.member_row import MemberRow
from distributor.telemetry import clock
from distributor.wire import topology
from distributor.wire.envelope import from_amqp, to_amqp
from distributor.wire.messages import AuditedReport, MemberCommand, MemberReport, StalledReport, UnfitReport

R = TypeVar("R", bound=MemberReport)
Report = MemberReport | StalledReport | UnfitReport | AuditedReport


@dataclass(frozen=True, slots=True)
class Job:
    """A letter from the inbox, opened. `sent_at` is the coordinator's clock when it left there."""

    letter: Letter
    command: MemberCommand
    sent_at: datetime | None

    @classmethod
    def open(cls, letter: Letter) -> Job:
        """Reads a letter that was read before, when it was taken in."""
        received = from_amqp(letter.headers, letter.content_type, letter.body)
        assert isinstance(received.message, MemberCommand)
        return cls(letter, received.message, received.sent_at)


def about(kind: type[R], row: MemberRow, job: Job | None = None, **more: Any) -> R:
    """A report about the member's row; without a job (hello) under the epoch that the row itself knows."""
    online = row.online
    return kind(
        environment=row.environment,
        system=row.system,
        epoch=job.command.epoch if job else row.floor,
        rollout_id=job.command.rollout_id if job else row.floor_id,
        floor=row.floor,
        shows=online.identity.release if online.identity else 0,
        shadow=row.shadow.release,
        command_sent_at=job.sent_at if job else None,
        command_received_at=job.letter.received_at if job else None,
        reported_at=clock.now(),
        **more,
    )


class Reporter:
    """Sends reports. Answers last until the broker confirmed them; progress and hello belong to a living line."""

    def __init__(self, line: Line, environment: str, system: str) -> None:
        self._line = line
        self._source = f"/environments/{environment}/systems/{system}"
        self._queue = topology.member_queue(environment, system).name
        self._progress: Future[None] | None = None

    def answer(self, report: MemberReport, traceparent: str | None, then: Callable[[], None]) -> None:
        """Sends an answer; `then` runs in the line's thread once the broker has it."""
        self._line.send(self._sealed(report, traceparent)).add_done_callback(lambda _: then())

    def hello(self, report: MemberReport) -> Future[None]:
        """Sends a greeting, for this connection only."""
        return self._line.send(self._sealed(report, None), lasting=False)

    def progress(self, report: MemberReport, traceparent: str | None) -> None:
        """Sends a notice, unless the one before is still on its way. Never waits."""
        if self._progress is None or self._progress.done():
            self._progress = self._line.send(self._sealed(report, traceparent), lasting=False)

    def stalled(self, report: StalledReport, traceparent: str | None) -> None:
        """Sends a notice of what is in the way; lost with its line, it is said again. Never waits."""
        self._line.send(self._sealed(report, traceparent), lasting=False)

    def unfit(self, report: UnfitReport, traceparent: str | None) -> None:
        """Sends the rows that a load could not take; it lasts until the broker confirmed it. Never waits."""
        self._line.send(self._sealed(report, traceparent))

    def audited(self, report: AuditedReport, traceparent: str | None) -> None:
        """Sends what an audit found; it lasts until the broker confirmed it. Never waits."""
        self._line.send(self._sealed(report, traceparent))

    def dead_letter(self, letter: Letter, reason: str) -> None:
        """Puts a copy of a command where operators look for what could not be carried out."""
        self._line.send(
            Outgoing(
                topology.DEAD,
                "",
                dead_headers(letter.headers, reason, self._queue),
                letter.content_type,
                letter.body,
                letter.message_id,
            )
        )

    def _sealed(self, report: Report, traceparent: str | None) -> Outgoing:
        envelope = to_amqp(
            report,
            id=clock.new_id(),
            source=self._source,
            time=report.reported_at,
            traceparent=traceparent,
            sent_at=report.reported_at,
        )
        return Outgoing(
            topology.REPORTS, "report", envelope.headers, envelope.content_type, envelope.body, envelope.message_id
        )
