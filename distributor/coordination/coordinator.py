"""The coordinator: reports in, decisions into the ledger, commands out. Any number of them may run at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from sqlalchemy import Engine
from tenacity import RetryCallState

from distributor.coordination.deliveries import Deliveries, patiently, waiting
from distributor.coordination.desk import DeskWork, Reset
from distributor.coordination.due import IDLE, SOONEST, pause
from distributor.coordination.nudge import Nudge
from distributor.coordination.presence import keep_present
from distributor.coordination.step import Step, peek, step
from distributor.errors import DistributorError, UnreachableError
from distributor.ledger import events, inbox, outbox, triggers, verifications
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.processes import Trouble
from distributor.ledger.tables import OUTBOX_CHANNEL, RELEASES_CHANNEL
from distributor.messaging.amqp import Broker, connected, patient
from distributor.messaging.relay import Relay, listen
from distributor.requests.rollouts import configure
from distributor.rollout.events import Tick
from distributor.settings import Settings
from distributor.store.directory import DirectoryStore
from distributor.telemetry.clock import new_id, now
from distributor.telemetry.faults import Point, point
from distributor.telemetry.logs import logger
from distributor.wire import topology

_PREFETCH = 64
_KEEP = timedelta(days=7)
_PURGE_SECONDS = 3600.0
_AFTER_LOSS_SECONDS = 0.2
_log = logger("coordinator")


async def serve_coordinator(
    settings: Settings,
    stop: asyncio.Event,
    *,
    ready: Callable[[], None] | None = None,
    reset: Reset | None = None,
) -> None:
    """Coordinates every environment of the config until `stop` is set.

    `reset` is what brings dirtied environments back; without it, requests for that are left to another coordinator.
    Waits for a ledger or a broker that is away. Raises NotInitialisedError and ConfigError.
    """
    engine = ledger_engine(settings.ledger.url)
    try:
        coordinator = Coordinator(settings, engine, reset)
        await coordinator.prepare()
        running = asyncio.create_task(coordinator.run(ready))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    finally:
        await asyncio.to_thread(engine.dispose)


class Coordinator:
    """One coordinator's tasks over one engine."""

    def __init__(self, settings: Settings, engine: Engine, reset: Reset | None = None) -> None:
        self._settings = settings
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._outgoing, self._released = asyncio.Event(), asyncio.Event()
        self._nudges = {name: Nudge() for name in settings.environments}
        store = DirectoryStore(settings.resolve(settings.store.path))
        self._trouble: Trouble | None = None
        self._deliveries = Deliveries(engine, settings, store, self._stepped)
        self._desk = DeskWork(engine, settings, store, self._stepped, reset)

    async def prepare(self) -> None:
        """Tells the ledger which members there are, and asks for releases that came while nobody coordinated."""

        def configure_all() -> None:
            for environment in self._settings.environments:
                with transaction(self._engine) as conn:
                    configure(conn, self._settings, environment, now())
                    self._deliveries.following.begin(conn, environment)

        await patiently(configure_all)
        for environment in self._settings.environments:
            await patiently(self._desk.tell, environment)
        await patiently(self._deliveries.follow_all)

    async def run(self, ready: Callable[[], None] | None = None) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for environment in self._settings.environments:
                tasks.create_task(self._ticks(environment))
            tasks.create_task(keep_present(self._engine, "coordinator", self._detail))
            tasks.create_task(self._purges())
            channels = {
                OUTBOX_CHANNEL: self._outgoing,
                RELEASES_CHANNEL: self._released,
                triggers.CHANNEL: self._released,
            }
            tasks.create_task(_for_ever(listen, self._engine, channels))
            tasks.create_task(self._follows())
            tasks.create_task(self._desk.run())
            tasks.create_task(self._sessions(ready))

    async def _sessions(self, ready: Callable[[], None] | None) -> None:
        while True:
            async with AsyncExitStack() as stack:
                broker: Broker = await patient(self._without_broker)(self._connect, stack)
                self._trouble = None
                _log.info("connected to the broker")
                await self._session(broker, ready)
            _log.warning("the broker's connection was lost")
            await asyncio.sleep(_AFTER_LOSS_SECONDS)

    def _without_broker(self, state: RetryCallState) -> None:
        """Members cannot be told anything: whoever asks why nothing moves must hear of it."""
        waiting(state)
        why = str(state.outcome.exception()) if state.outcome else "the broker did not answer"
        self._trouble = Trouble(self._trouble.since if self._trouble else now(), why)

    def _detail(self) -> Mapping[str, object]:
        return {"environments": list(self._nudges), **(self._trouble.detail if self._trouble else {})}

    async def _connect(self, stack: AsyncExitStack) -> Broker:
        broker = await stack.enter_async_context(connected(self._settings.broker.url, "distributor coordinator"))
        await broker.declare(
            (name, system) for name, env in self._settings.environments.items() for system in env.systems
        )
        return broker

    async def _session(self, broker: Broker, ready: Callable[[], None] | None) -> None:
        """Consumes and relays until the connection is lost."""
        reports, calls, dead = Arrivals(), Arrivals(), Arrivals()
        relay = Relay(self._engine, broker, "/distributor/coordinator", self._outgoing)
        tasks = [
            asyncio.create_task(broker.lost()),
            asyncio.create_task(_for_ever(relay.run)),
            asyncio.create_task(reports.each(self._deliveries.work)),
            asyncio.create_task(calls.each(self._deliveries.call)),
            asyncio.create_task(dead.each(self._deliveries.bury)),
        ]
        try:
            await broker.consume(topology.COORDINATOR_QUEUE, reports.take, _PREFETCH)
            await broker.consume(topology.TRIGGER_QUEUE, calls.take, _PREFETCH)
            await broker.consume(topology.DEAD_QUEUE, dead.take, _PREFETCH)
            if ready:
                ready()
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except UnreachableError as error:
            _log.warning("cannot consume", why=str(error))
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for result in ended:
            # An acknowledgement on a line that has just dropped fails: the message comes again, and is known then.
            if isinstance(result, Exception) and not isinstance(result, CONNECTION_EXCEPTIONS):
                raise result

    async def _ticks(self, environment: str) -> None:
        """Looks at an environment whenever something is due. A step has done itself what was due at its time: while a
        rollout goes on, it may bring the next look forward, and needs none of its own."""
        nudge, due = self._nudges[environment], now()
        next_at = self._deliveries.following.next_at
        while True:
            due = min(due, next_at(environment) or due)
            try:
                if now() >= due:
                    due = now() + IDLE
                    due = now() + pause((await patiently(self._tick, environment)).after, now())
            except DistributorError as error:
                _log.error("cannot go on", environment=environment, why=str(error))
            due = min(due, max(next_at(environment) or due, now() + SOONEST))
            if (known := await nudge.wait(due - now())) is not None:
                due = min(due, now() + pause(known, now())) if known.active else now()

    async def _follows(self) -> None:
        """The announcement comes through the broker for certain; the ledger tells of a release, or a call, at once."""
        while True:
            await self._released.wait()
            self._released.clear()
            async with asyncio.TaskGroup() as looks:
                # Side by side: none waits for what another's request takes.
                for environment in self._settings.environments:
                    looks.create_task(self._follow(environment))

    async def _follow(self, environment: str) -> None:
        try:
            await patiently(self._deliveries.follow, environment)
        except DistributorError as error:
            _log.warning("the announcement is waited for", environment=environment, why=str(error))
        # What now waits for a time of its own is looked at then, and not when the next tick happens to come.
        self._nudges[environment].again()

    def _tick(self, environment: str) -> Step:
        tick = Tick(now(), new_id())
        with transaction(self._engine) as conn:
            # Most ticks change nothing: those take no lock.
            done = peek(conn, environment, tick)
            if done.changed:
                done = step(conn, environment, tick)
                point(Point.TICK_BEFORE_COMMIT)
        if done.changed:
            point(Point.TICK_AFTER_COMMIT)
        followed = self._deliveries.following.follow(environment, done.after)
        if done.commands or (followed and followed.commands):
            self._loop.call_soon_threadsafe(self._outgoing.set)
        return followed or done

    def _stepped(self, done: Step) -> None:
        if done.commands:
            self._loop.call_soon_threadsafe(self._outgoing.set)
        if done.changed:
            self._loop.call_soon_threadsafe(self._nudges[done.after.name].give, done.after)

    async def _purges(self) -> None:
        def purge() -> None:
            with transaction(self._engine) as conn:
                inbox.purge(conn, now() - _KEEP)
                outbox.purge(conn, now() - _KEEP)
                verifications.purge(conn, now() - _KEEP)
                events.purge(conn, now() - _KEEP)
                triggers.purge(conn, now() - _KEEP)

        while True:
            await patiently(purge)
            await asyncio.sleep(_PURGE_SECONDS)


class Arrivals:
    """Deliveries in the order of their arrival, each with its time: clocks are measured by it, not by the work."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[AbstractIncomingMessage, datetime]] = asyncio.Queue()

    async def take(self, delivery: AbstractIncomingMessage) -> None:
        """Called for each delivery."""
        self._queue.put_nowait((delivery, now()))

    async def each(self, work: Callable[[AbstractIncomingMessage, datetime], Awaitable[None]]) -> None:
        """Works them off, one after the other, until cancelled."""
        while True:
            await work(*await self._queue.get())


async def _for_ever(work: Callable[..., Awaitable[None]], *arguments: object) -> None:
    while True:
        await patient(waiting)(work, *arguments)
