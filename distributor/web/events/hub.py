"""One reader of the feed per process: woken by the ledger, it reads what is new once, for all clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from tenacity import RetryCallState

from distributor.errors import DistributorError
from distributor.ledger import events, progress
from distributor.ledger.engine import transaction
from distributor.messaging.amqp import patient
from distributor.messaging.finishing import in_thread
from distributor.messaging.relay import listen
from distributor.telemetry.clock import now
from distributor.telemetry.logs import logger
from distributor.web.events.frames import Framed, framed
from distributor.web.events.memory import Loads, Recent

REMEMBERED = 2_000
"""So many events are kept in memory; who is further behind reads the ledger."""
MOST_CLIENTS = 1_000
CONNECTIONS = 6
"""So many connections of its engine a hub uses at most; one more, of its own, listens."""
CHUNK = 200
_BATCH = 500
_READERS = 4
_POLL_SECONDS = 1.0
_PROGRESS_SECONDS = 0.5
_FAREWELL_SECONDS = 1.0
_log = logger("events")
T = TypeVar("T")


class TooManyError(DistributorError):
    """This process follows the feed for as many clients as it can."""

    retryable = True


class Hub:
    """Belongs to one event loop. `engine` is the ledger's."""

    def __init__(self, engine: Engine, *, remembered: int = REMEMBERED, most_clients: int = MOST_CLIENTS) -> None:
        self.recent = Recent(remembered)
        self.loads = Loads()
        self.head: int | None = None
        """The number of the newest event that was read; None until the ledger was read once."""
        self.clients = 0
        self._engine = engine
        self._most_clients = most_clients
        self._watching = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._trouble = ""
        self._belong_here()

    def _belong_here(self) -> None:
        """What belongs to an event loop belongs to the one that comes next: an application may be started again."""
        self.stopping = False
        self.turn = asyncio.Event()
        """Set at the next change of any of the above; another one takes its place then."""
        self._wake, self._watched = asyncio.Event(), asyncio.Event()
        self._readers = asyncio.Semaphore(_READERS)

    def start(self, stopping: asyncio.Event | None = None) -> None:
        """Begins to follow the feed, as soon as the ledger answers; `stopping` ends every stream when it is set."""
        self._belong_here()
        for work in (self._listens(), self._reads(), self._watches()):
            self._tasks.append(asyncio.create_task(work))
        if stopping is not None:
            self._tasks.append(asyncio.create_task(self._until(stopping)))

    async def stop(self) -> None:
        """Ends every stream, and gives connections back."""
        self._end()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                while self.clients:
                    await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def admit(self) -> None:
        """Raises TooManyError when there is no room for another client."""
        if self.clients >= self._most_clients:
            raise TooManyError(
                f"{self.clients:,} clients follow the events of this process already",
                where="events",
                mend="Try again in a while, or run another `distributor serve web`.",
            )

    @contextmanager
    def client(self, *, progress: bool) -> Iterator[None]:
        """Somebody follows; with `progress`, loads are looked at meanwhile."""
        self.clients += 1
        self._watching += progress
        if progress:
            self._watched.set()
        try:
            yield
        finally:
            self.clients -= 1
            self._watching -= progress
            if not self._watching:
                self._watched.clear()

    async def read(self, position: int) -> tuple[list[Framed], int]:
        """From the ledger: up to CHUNK events after a position, and the newest number. Raises UnreachableError."""
        async with self._readers:
            return await in_thread(self._read, position)

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """A question to the ledger, beside the readers. Raises UnreachableError."""
        async with self._readers:
            return await in_thread(self._ask, question)

    async def _reads(self) -> None:
        while True:
            try:
                await self._catch_up()
                self._trouble = ""
            except Exception as error:  # noqa: BLE001 - without its reader, every stream would be silent for ever
                if self._trouble != str(error):
                    self._trouble = str(error)
                    _log.warning("the feed cannot be read", why=self._trouble)
            # Notifications are hints: what was missed while the line was down is looked for.
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._wake.wait()
            self._wake.clear()

    async def _catch_up(self) -> None:
        """Reads all that is new, batch by batch; clients are woken after each."""
        if self.head is None:
            self.head = await in_thread(self._ask, events.newest)
            self._changed()
        while found := await in_thread(self._ask, events.since, self.head, _BATCH):
            for record in found:
                self.recent.add(framed(record))
            self.head = found[-1].seq
            self._changed()
        newest = await in_thread(self._ask, events.newest)
        if newest < self.head:
            _log.warning("the feed has gone back: was the ledger restored?", was=self.head, is_now=newest)
            self.recent.forget()
            self.head = newest
            self._changed()

    async def _listens(self) -> None:
        while True:
            await patient(_waiting)(listen, self._engine, {events.EVENTS_CHANNEL: self._wake})

    async def _watches(self) -> None:
        while True:
            await self._watched.wait()
            with suppress(DistributorError, SQLAlchemyError):
                if self.loads.put(await in_thread(self._ask, progress.latest), now()):
                    self._changed()
            await asyncio.sleep(_PROGRESS_SECONDS)

    async def _until(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._end()

    def _end(self) -> None:
        self.stopping = True
        self._changed()

    def _changed(self) -> None:
        turn, self.turn = self.turn, asyncio.Event()
        turn.set()

    def _ask(self, question: Callable[..., T], *arguments: object) -> T:
        with transaction(self._engine) as conn:
            return question(conn, *arguments)

    def _read(self, position: int) -> tuple[list[Framed], int]:
        with transaction(self._engine) as conn:
            return [framed(record) for record in events.since(conn, position, CHUNK)], events.newest(conn)


def _waiting(state: RetryCallState) -> None:
    _log.warning("not listening", why=str(state.outcome.exception()) if state.outcome else "")
