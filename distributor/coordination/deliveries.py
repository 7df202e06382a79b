"""What a coordinator does with a delivery: work and inbox row in one transaction, then the acknowledgement."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from aio_pika.abc import AbstractIncomingMessage
from sqlalchemy import Connection, Engine
from tenacity import RetryCallState

from distributor.coordination.burial import dead_lettered, is_late, refused_here
from distributor.coordination.incoming import event_factory, note_of, progress_of
from distributor.coordination.step import Step, step
from distributor.errors import DistributorError, MessageError, NotInitialisedError
from distributor.ledger import audit, deadletters, environments, inbox, progress, releases
from distributor.ledger.engine import first_line, transaction
from distributor.messaging.amqp import patient
from distributor.messaging.finishing import in_thread
from distributor.requests.rollouts import ask
from distributor.rollout.state import Cause
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.telemetry.clock import now
from distributor.telemetry.logs import logger
from distributor.triggers.follow import wanted
from distributor.wire import topology
from distributor.wire.envelope import Received, from_amqp
from distributor.wire.messages import IDLE, MemberReport, ProgressReport, ReleaseAnnounced

T = TypeVar("T")
AfterStep = Callable[[Step], None]
_log = logger("coordinator")


class Deliveries:
    """Handlers for the coordinator's two queues. `after` hears of every step, in a worker thread."""

    def __init__(self, engine: Engine, settings: Settings, store: Store, after: AfterStep) -> None:
        self._engine = engine
        self._settings = settings
        self._store = store
        self._after = after

    async def work(self, delivery: AbstractIncomingMessage, arrived_at: datetime) -> None:
        """A report or an announcement. What can never be processed becomes a dead letter; nothing is ever lost."""
        try:
            received = from_amqp(delivery.headers, delivery.content_type, delivery.body)
            await patiently(self._process, received, arrived_at)
        except MessageError as error:
            await self._bury(delivery, error.what)
        except DistributorError as error:
            await self._bury(delivery, str(error))
        except Exception as error:  # noqa: BLE001 - a message that breaks the code must not come back for ever
            _log.exception("message broke the coordinator", message_id=delivery.message_id)
            await self._bury(delivery, f"{type(error).__name__}: {first_line(error)}")
        await delivery.ack()

    async def bury(self, delivery: AbstractIncomingMessage, arrived_at: datetime) -> None:
        """A delivery of the dead-letter queue: it is kept in the ledger."""
        await self._keep(dead_lettered(delivery, arrived_at))
        await delivery.ack()

    async def _bury(self, delivery: AbstractIncomingMessage, reason: str) -> None:
        await self._keep(refused_here(delivery, topology.COORDINATOR_QUEUE, reason, now()))

    async def _keep(self, letter: deadletters.DeadLetter) -> None:
        say = _log.info if is_late(letter) else _log.error
        say("dead letter", origin=letter.origin, type=letter.type, reason=letter.reason)

        def keep() -> None:
            with transaction(self._engine) as conn:
                deadletters.put(conn, letter)

        await patiently(keep)

    def _process(self, received: Received, at: datetime) -> None:
        match received.message:
            case MemberReport() as report:
                self._report(received, report, at)
            case ReleaseAnnounced():
                self.follow_all()
            case other:
                raise MessageError(f"a {other.TYPE} is not for a coordinator")

    def _report(self, received: Received, report: MemberReport, at: datetime) -> None:
        self._check_member(report)
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
        self._after(done)

    def _check_member(self, report: MemberReport) -> None:
        environment = self._settings.environments.get(report.environment)
        if environment is None:
            raise MessageError(f"there is no environment {report.environment!r}")
        if report.system not in environment.systems:
            raise MessageError(f"{report.environment} has no system {report.system!r}")

    def follow_all(self) -> None:
        """Asks for the newest release wherever an environment takes releases by itself and has not asked yet."""
        for environment in self._settings.environments:
            try:
                with transaction(self._engine) as conn:
                    done = _follow(conn, self._settings, self._store, environment)
            except DistributorError as error:
                if error.retryable or isinstance(error, NotInitialisedError):
                    raise
                self._could_not_follow(environment, error)
            else:
                self._after(done)

    def _could_not_follow(self, environment: str, error: DistributorError) -> None:
        _log.error("cannot follow", environment=environment, why=str(error))
        with transaction(self._engine) as conn:
            entry = audit.AuditRecord(now(), "follow", "could not ask for the newest release", str(error), environment)
            audit.record(conn, entry)


def _follow(conn: Connection, settings: Settings, store: Store, environment: str) -> Step:
    before = environments.lock(conn, environment)
    newest = releases.head(conn)
    release = wanted(before, newest.number) if newest else None
    if release is None:
        return Step(before, before)
    ask(conn, settings, store, environment, release=release, cause=Cause.AUTO, by="follow", reason="a new release")
    return Step(before, environments.lock(conn, environment))


async def patiently(work: Callable[..., T], *arguments: object) -> T:
    """Runs blocking work in a thread, again and again while the ledger is away; cancellation ends the waiting."""
    return await patient(waiting)(in_thread, work, *arguments)


def waiting(state: RetryCallState) -> None:
    """Says why something is tried again."""
    _log.warning("waiting", why=str(state.outcome.exception()) if state.outcome else "")
