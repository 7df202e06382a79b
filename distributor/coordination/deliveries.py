"""What a coordinator does with a delivery: work and inbox row in one transaction, then the acknowledgement."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from aio_pika.abc import AbstractIncomingMessage
from sqlalchemy import Engine
from tenacity import RetryCallState

from distributor.coordination.audits import hear_audit, hear_of_slots
from distributor.coordination.burial import bare, dead_lettered, is_late, refused_here
from distributor.coordination.following import Following
from distributor.coordination.incoming import event_factory, note_of, progress_of
from distributor.coordination.stalls import hear_of_work, hear_stall
from distributor.coordination.step import Step, step
from distributor.coordination.unfit import ask_again, hear_unfit
from distributor.errors import DistributorError, MessageError
from distributor.ledger import deadletters, inbox, progress
from distributor.ledger.engine import first_line, transaction
from distributor.ledger.storable import text
from distributor.messaging.amqp import patient
from distributor.messaging.finishing import in_thread
from distributor.requests.calls import note_call
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.telemetry.clock import now
from distributor.telemetry.faults import Point, point
from distributor.telemetry.logs import logger
from distributor.wire import topology
from distributor.wire.envelope import Received, from_amqp
from distributor.wire.messages import (
    IDLE,
    AuditedReport,
    MemberReport,
    ProgressReport,
    RefusedReport,
    ReleaseAnnounced,
    StalledReport,
    TriggerCall,
    UnfitReport,
)

T = TypeVar("T")
AfterStep = Callable[[Step], None]
_MUCH = 100_000
_log = logger("coordinator")


class Deliveries:
    """Handlers for the coordinator's queues. `after` hears of every step, in a worker thread."""

    def __init__(self, engine: Engine, settings: Settings, store: Store, after: AfterStep) -> None:
        self._engine = engine
        self._settings = settings
        self._store = store
        self.following = Following(engine, settings, store)
        self._after = after

    async def work(self, delivery: AbstractIncomingMessage, arrived_at: datetime) -> None:
        """A report or an announcement. What can never be processed becomes a dead letter; nothing is ever lost."""
        await self._work(delivery, arrived_at, topology.COORDINATOR_QUEUE, self._process)

    async def call(self, delivery: AbstractIncomingMessage, arrived_at: datetime) -> None:
        """A call of a trigger, by whoever sent it; as `work`."""
        await self._work(delivery, arrived_at, topology.TRIGGER_QUEUE, self._called)

    async def _work(
        self,
        delivery: AbstractIncomingMessage,
        arrived_at: datetime,
        queue: str,
        process: Callable[[Received, bytes, datetime], None],
    ) -> None:
        try:
            received = await _read(delivery)
            await patiently(process, received, delivery.body, arrived_at)
        except MessageError as error:
            await self._bury(delivery, queue, error.what)
        except DistributorError as error:
            await self._bury(delivery, queue, str(error))
        except Exception as error:  # noqa: BLE001 - a message that breaks the code must not come back for ever
            _log.exception("message broke the coordinator", message_id=delivery.message_id)
            await self._bury(delivery, queue, f"{type(error).__name__}: {first_line(error)}")
        await _acknowledge(delivery)

    async def bury(self, delivery: AbstractIncomingMessage, arrived_at: datetime) -> None:
        """A delivery of the dead-letter queue: it is kept in the ledger."""
        await self._keep(delivery, topology.DEAD_QUEUE, lambda: dead_lettered(delivery, arrived_at))
        await _acknowledge(delivery)

    async def _bury(self, delivery: AbstractIncomingMessage, origin: str, reason: str) -> None:
        await self._keep(delivery, origin, lambda: refused_here(delivery, origin, reason, now()))

    async def _keep(
        self, delivery: AbstractIncomingMessage, queue: str, write: Callable[[], deadletters.DeadLetter]
    ) -> None:
        """Buries as well as it goes: whatever a message is made of, it must not come back and end its reader again."""
        try:
            letter = write()
            say = _log.info if is_late(letter) else _log.error
            say("dead letter", origin=letter.origin, type=letter.type, reason=letter.reason)
            await patiently(self._put, letter)
        except DistributorError:
            raise  # the ledger's failure, not the message's
        except Exception as error:  # noqa: BLE001
            _log.exception("dead letter cannot be kept as it is", queue=queue)
            await self._keep_bare(delivery, queue, f"cannot be kept as it is: {type(error).__name__}")

    async def _keep_bare(self, delivery: AbstractIncomingMessage, queue: str, reason: str) -> None:
        try:
            await patiently(self._put, bare(delivery, queue, reason, now()))
        except DistributorError:
            raise
        except Exception:  # noqa: BLE001
            body = base64.b64encode(delivery.body).decode()
            _log.exception("dead letter cannot be kept at all: here it is", queue=queue, body=body)

    def _put(self, letter: deadletters.DeadLetter) -> None:
        with transaction(self._engine) as conn:
            deadletters.put(conn, letter)
            point(Point.LETTER_BEFORE_COMMIT)
        point(Point.LETTER_AFTER_COMMIT)

    def _process(self, received: Received, body: bytes, at: datetime) -> None:
        match received.message:
            case MemberReport() as report:
                self._report(received, report, at)
            case AuditedReport() as report:
                self._audited(received, report, body, at)
            case StalledReport() as report:
                self._stalled(received, report, at)
            case UnfitReport() as report:
                self._unfit(received, report, at)
            case ReleaseAnnounced():
                self.follow_all()
            case other:
                raise MessageError(f"a {other.TYPE} is not for a coordinator")

    def _report(self, received: Received, report: MemberReport, at: datetime) -> None:
        self._check_member(report)
        point(Point.STEP_BEFORE_WORK)
        with transaction(self._engine) as conn:
            # A sign of life changes nothing when it comes twice, and it comes often.
            alive = isinstance(report, ProgressReport) and report.phase == IDLE
            if not alive and not inbox.first_time(conn, received.id, report.TYPE, at, received.traceparent):
                return
            if isinstance(report, ProgressReport) and not alive:
                progress.put(conn, progress_of(report, at))
            done = step(
                conn,
                report.environment,
                event_factory(report, at),
                traceparent=received.traceparent,
                note=note_of(report),
            )
            hear_of_slots(conn, report)
            hear_of_work(conn, report)
            if isinstance(report, RefusedReport):
                ask_again(conn, self._settings, self._store, report)
            point(Point.STEP_BEFORE_COMMIT)
        point(Point.STEP_AFTER_COMMIT)
        self._after(done)

    def _audited(self, received: Received, report: AuditedReport, body: bytes, at: datetime) -> None:
        self._check_member(report)
        with transaction(self._engine) as conn:
            if inbox.first_time(conn, received.id, report.TYPE, at, received.traceparent):
                hear_audit(conn, report, at, body=body, traceparent=received.traceparent)

    def _stalled(self, received: Received, report: StalledReport, at: datetime) -> None:
        self._check_member(report)
        with transaction(self._engine) as conn:
            if inbox.first_time(conn, received.id, report.TYPE, at, received.traceparent):
                hear_stall(conn, report, at, received.traceparent)

    def _unfit(self, received: Received, report: UnfitReport, at: datetime) -> None:
        self._check_member(report)
        with transaction(self._engine) as conn:
            if inbox.first_time(conn, received.id, report.TYPE, at, received.traceparent):
                hear_unfit(conn, self._settings, self._store, report)
            point(Point.UNFIT_BEFORE_COMMIT)
        point(Point.UNFIT_AFTER_COMMIT)

    def _called(self, received: Received, _: bytes, at: datetime) -> None:
        call = received.message
        if not isinstance(call, TriggerCall):
            raise MessageError(f"a {call.TYPE} calls no trigger")
        # Ids of strangers need not differ from ours, nor from those of another stranger.
        event = text(f"{received.source} {received.id}")
        with transaction(self._engine) as conn:
            if not inbox.first_time(conn, event, call.TYPE, at, received.traceparent):
                return
            by, reason, source = text(call.by), text(call.reason), text(received.source)
            detail = {"source": source, "message": text(received.id)}
            note_call(conn, self._settings, call.environment, call.trigger, by=by, reason=reason, at=at, detail=detail)

    def _check_member(self, report: MemberReport | AuditedReport | StalledReport | UnfitReport) -> None:
        environment = self._settings.environments.get(report.environment)
        if environment is None:
            raise MessageError(f"there is no environment {report.environment!r}")
        if report.system not in environment.systems:
            raise MessageError(f"{report.environment} has no system {report.system!r}")

    def follow_all(self) -> None:
        """Asks for the newest release wherever an environment takes releases by itself and it is time to ask."""
        for environment in self._settings.environments:
            self.follow(environment)

    def follow(self, environment: str) -> None:
        """The same for one environment."""
        if done := self.following.follow(environment):
            self._after(done)


async def _read(delivery: AbstractIncomingMessage) -> Received:
    """The message. Raises MessageError."""
    if len(delivery.body) < _MUCH:
        return from_amqp(delivery.headers, delivery.content_type, delivery.body)
    # 65,536 sums take a while: the line's heartbeat must not wait for them.
    return await in_thread(from_amqp, delivery.headers, delivery.content_type, delivery.body)


async def _acknowledge(delivery: AbstractIncomingMessage) -> None:
    point(Point.REPORT_BEFORE_ACK)
    await delivery.ack()
    point(Point.REPORT_AFTER_ACK)


async def patiently(work: Callable[..., T], *arguments: object) -> T:
    """Runs blocking work in a thread, again and again while the ledger is away; cancellation ends the waiting."""
    return await patient(waiting)(in_thread, work, *arguments)


def waiting(state: RetryCallState) -> None:
    """Says why something is tried again."""
    _log.warning("waiting", why=str(state.outcome.exception()) if state.outcome else "")
