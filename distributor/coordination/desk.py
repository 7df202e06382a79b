"""What a coordinator does for the desk: drives refresh requests, and tells environments when they are closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import Engine

from distributor.coordination.deliveries import patiently
from distributor.coordination.step import Step
from distributor.errors import DistributorError
from distributor.ledger import environments, locks, refresh_requests
from distributor.ledger.engine import transaction
from distributor.ledger.refresh_requests import RefreshRequest, RequestState
from distributor.requests import closures, refreshing
from distributor.requests.taking import prepare
from distributor.rollout.state import Environment
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.telemetry.clock import now
from distributor.telemetry.faults import Point, point
from distributor.telemetry.logs import logger

LOOK_SECONDS = 0.5
TELL_EVERY = timedelta(minutes=1)
Pause = Callable[[float], None]
"""Waits for so many seconds, or raises Stopped."""
Reset = Callable[[Engine, Settings, Store, RefreshRequest, Pause], None]
"""Brings back what was written into the stores behind the tables of a request's systems, and goes on from there. It may
be called again for a request that somebody left half-way. Raises DistributorError when it could not, Stopped."""
_log = logger("coordinator")


class Stopped(Exception):
    """The coordinator ends: whatever goes on is left to the next one."""


class DeskWork:
    """The desk's work in every environment of the config, until cancelled. `after` hears of every step.

    Without `reset`, requests that ask for a reset are left to another coordinator.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        store: Store,
        after: Callable[[Step], None],
        reset: Reset | None = None,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._store = store
        self._after = after
        self._reset = reset
        self._stopping = threading.Event()
        self._tell_again: dict[str, datetime] = {}

    async def run(self) -> None:
        """Looks at every environment again and again."""
        async with asyncio.TaskGroup() as tasks:
            # A thread that waits for members hears of the end at once: cancelling waits for threads.
            tasks.create_task(self._until_cancelled())
            for environment in self._settings.environments:
                tasks.create_task(self._look(environment))

    async def _until_cancelled(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self._stopping.set()

    async def _look(self, environment: str) -> None:
        while True:
            try:
                await patiently(self.work, environment)
            except DistributorError as error:
                _log.error("the desk cannot go on", environment=environment, why=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    def work(self, environment: str) -> None:
        """One look. Raises UnreachableError and NotInitialisedError."""
        if now() >= self._tell_again.get(environment, now()):
            self.tell(environment)
            self._tell_again[environment] = now() + TELL_EVERY
        self.drive(environment)

    def tell(self, environment: str) -> None:
        """Has an environment know its windows and freezes."""
        with transaction(self._engine) as conn:
            done = closures.tell(conn, self._settings, environment, now())
        if done:
            self._after(done)

    def drive(self, environment: str) -> None:
        """Does what is to be done for its refresh requests."""
        with transaction(self._engine) as conn:
            line = refresh_requests.waiting_line(conn, environment)
        if not line:
            return
        if line[0].state is RequestState.WAITING:
            # What cannot be had is said when it is asked for.
            with suppress(DistributorError):
                prepare(self._engine, self._settings, self._store, environment, line[0].release)
        with transaction(self._engine) as conn:
            before = environments.read(conn, environment) or Environment(environment)
            resets = self._reset is not None
            to_reset = refreshing.advance(conn, self._settings, self._store, environment, resets=resets)
            after = environments.read(conn, environment) or before
            point(Point.REQUEST_BEFORE_COMMIT)
        point(Point.REQUEST_AFTER_COMMIT)
        self._heard(before, after)
        if to_reset is not None:
            self._bring_back(to_reset)

    def _bring_back(self, request: RefreshRequest) -> None:
        assert self._reset is not None
        with locks.resetting(self._engine, request.environment) as mine:
            if not mine:
                return
            try:
                self._reset(self._engine, self._settings, self._store, request, self._pause)
            except Stopped:
                _log.info("a reset is left to the next coordinator", environment=request.environment)
                return
            except DistributorError:
                raise
            except Exception as error:  # noqa: BLE001 - a request that breaks the code must not be begun for ever
                _log.exception("a reset broke the coordinator", request=request.id)
                self._give_up(request, f"{type(error).__name__}: {error}")
        with transaction(self._engine) as conn:
            after = environments.read(conn, request.environment)
        if after:
            self._heard(Environment(request.environment), after)

    def _give_up(self, request: RefreshRequest, why: str) -> None:
        with transaction(self._engine) as conn:
            environments.lock(conn, request.environment)
            found = refresh_requests.request(conn, request.id)
            if found is not None and found.state is RequestState.RESETTING:
                refreshing.end(conn, found, RequestState.FAILED, why)

    def _heard(self, before: Environment, after: Environment) -> None:
        if after != before:
            # Commands that a new rollout brought are in the outbox.
            self._after(Step(before, after, commands=1))

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise Stopped
