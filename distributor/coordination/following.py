"""Environments that take releases by themselves: asked for as long as they lag, not only when a release is new."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from distributor.coordination.step import Step
from distributor.errors import DistributorError
from distributor.ledger import audit, environments, releases, rollouts, timeline
from distributor.ledger.engine import transaction
from distributor.requests.rollouts import ask
from distributor.rollout.state import Cause, Environment
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.telemetry.clock import now
from distributor.telemetry.faults import Point, point
from distributor.telemetry.logs import logger
from distributor.triggers.follow import wanted
from distributor.triggers.patience import pause_after

_log = logger("coordinator")


@dataclass(frozen=True, slots=True)
class _Failure:
    """Requests for a release that could not even be made; the ledger's history knows those that could."""

    release: int
    tries: int
    at: datetime
    why: str


class Following:
    """Asks for the newest release wherever an environment follows and lags. Safe to call as often as one likes."""

    def __init__(self, engine: Engine, settings: Settings, store: Store) -> None:
        self._engine = engine
        self._settings = settings
        self._store = store
        self._failures: dict[str, _Failure] = {}

    def follow(self, environment: str, known: Environment | None = None) -> Step | None:
        """Asks if it is time to; None when it is not. `known` is the state if it was just read: then most calls lock
        nothing.

        What keeps the request from being made, such as a store that is away, is noted, and it is asked again later.
        Raises UnreachableError and NotInitialisedError for the ledger.
        """
        if known is not None and not known.follow:
            return None
        with transaction(self._engine) as conn:
            newest = releases.head(conn)
            if newest is None or (known is not None and wanted(known, newest.number, newest.created_at) is None):
                return None
            if not self._is_time(conn, environment, newest.number):
                return None
            before = environments.lock(conn, environment)
            release = wanted(before, newest.number, newest.created_at)
            # Another coordinator's try may have ended while the lock was waited for.
            if release is None or not self._is_time(conn, environment, release):
                return None
            done = self._ask(conn, before, release)
            point(Point.FOLLOW_BEFORE_COMMIT)
        point(Point.FOLLOW_AFTER_COMMIT)
        return done

    def _ask(self, conn: Connection, before: Environment, release: int) -> Step | None:
        try:
            # What is raised in here as ours cannot be the ledger's: its failures get their names at the transaction.
            with conn.begin_nested():
                ask(
                    conn,
                    self._settings,
                    self._store,
                    before.name,
                    release=release,
                    cause=Cause.AUTO,
                    by="follow",
                    reason="a new release",
                )
        except DistributorError as error:
            self._could_not(conn, before.name, release, error)
            return None
        self._failures.pop(before.name, None)
        return Step(before, environments.lock(conn, before.name))

    def _is_time(self, conn: Connection, environment: str, release: int) -> bool:
        failure = self._failures.get(environment)
        if failure and failure.release == release and now() < failure.at + pause_after(failure.tries):
            return False
        tries = rollouts.failed_tries(conn, environment, release)
        if tries.called_off:
            return False
        return tries.newest is None or now() >= tries.newest + pause_after(tries.count)

    def _could_not(self, conn: Connection, environment: str, release: int, error: DistributorError) -> None:
        last = self._failures.get(environment)
        again = last is not None and last.release == release
        tries = last.tries + 1 if last and again else 1
        at, why = now(), str(error)
        self._failures[environment] = _Failure(release, tries, at, why)
        _log.error("cannot follow", environment=environment, release=release, why=why, tries=tries)
        if last and again and last.why == why:
            return
        text = f"release {release} cannot be asked for yet: {why}"
        timeline.write(conn, environment, at, [timeline.Entry("not-followed", text)])
        what = "could not ask for the newest release"
        audit.record(conn, audit.AuditRecord(at, "follow", what, why, environment, {"release": release}))
