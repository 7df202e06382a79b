"""Says what a command waits for when it does not get on: a thread beside the worker, which it never holds up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from consumers.adapters.base import Adapter, KnowsObstacles, Obstacle
from consumers.loading import Phases
from consumers.reports import Job
from distributor.errors import DistributorError
from distributor.telemetry import clock
from distributor.telemetry.logs import logger
from distributor.wire.messages import StalledReport

STALLED_SECONDS = 5.0
"""A phase that has not moved for so long is asked about. Shorter than any lock is waited for in a store."""
AGAIN_SECONDS = 10.0
"""What goes on to be in the way is said again after so long."""
_LOOK_SECONDS = 0.5
_log = logger("consumer")


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a command is: in a load its phase and rows, else only what kind of command it is."""

    phase: str
    rows: int = -1

    def is_beyond(self, other: _Place) -> bool:
        """Whether a later attempt has certainly passed the place where an earlier one was stuck."""
        return self.rows > other.rows


@dataclass(slots=True)
class _Watch:
    """One attempt at a command, and since when it is at its place."""

    job: Job
    phases: Callable[[], Phases | None]
    at: _Place = field(init=False)
    since: datetime = field(default_factory=clock.now)
    moved: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.at = self.place

    @property
    def place(self) -> _Place:
        """Where it is now."""
        if phases := self.phases():
            return _Place(phases.current, phases.rows_done)
        return _Place(self.job.letter.type.removeprefix("pd.member.").removesuffix(".v1"))

    @property
    def command(self) -> tuple[int, str]:
        """The identity of the command."""
        return self.job.command.epoch, self.job.command.rollout_id


@dataclass(slots=True)
class _Stall:
    """What was said last. It outlives an attempt that gave up for now: the next one comes to the same place."""

    watch: _Watch
    at: _Place
    since: datetime
    said: float


class Stalls:
    """Watches one worker. `say` sends a report and must not block; it is called from either thread."""

    def __init__(self, adapter: Adapter, say: Callable[[StalledReport, str | None], None]) -> None:
        self._adapter = adapter
        self._say = say
        self._lock = threading.Lock()
        self._watch: _Watch | None = None
        self._stall: _Stall | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begins to look."""
        threading.Thread(target=self._run, name="stalls", daemon=True).start()

    def stop(self) -> None:
        """Looks no more; a look that goes on is not waited for."""
        self._stopping.set()

    @contextmanager
    def watching(self, job: Job, phases: Callable[[], Phases | None]) -> Iterator[None]:
        """One attempt to carry a command out. `phases` are those of its load, None as long as none has begun."""
        with self._lock:
            self._watch = _Watch(job, phases)
            if self._stall and self._stall.watch.command != self._watch.command:
                self._stall = None
        try:
            yield
        except DistributorError as error:
            if not error.retryable:
                self._forget()
            raise
        except BaseException:
            self._forget()
            raise
        else:
            with self._lock:
                self._get_on()
        finally:
            with self._lock:
                self._watch = None

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                self._look()
            except Exception:  # noqa: BLE001 - whatever it is, the load must not suffer from being watched.
                _log.exception("what the load waits for cannot be told")

    def _look(self) -> None:
        with self._lock:
            watch = self._watch
            if watch is None or not self._is_due(watch):
                return
        obstacle = self._obstacle()
        with self._lock:
            # Asking takes its time: meanwhile it may have got on.
            if self._watch is watch and watch.place == watch.at:
                self._tell(watch, obstacle)

    def _is_due(self, watch: _Watch) -> bool:
        now, place, stall = time.monotonic(), watch.place, self._stall
        if place != watch.at:
            watch.at, watch.since, watch.moved = place, clock.now(), now
            if stall and (stall.watch is watch or place.is_beyond(stall.at)):
                self._get_on()
            return False
        return now - watch.moved >= STALLED_SECONDS and (stall is None or now - stall.said >= AGAIN_SECONDS)

    def _obstacle(self) -> Obstacle:
        if not isinstance(self._adapter, KnowsObstacles):
            return Obstacle("something that its store cannot tell")
        try:
            found = self._adapter.waits_for()
        except DistributorError as error:
            return Obstacle(f"its store: {error}")
        return found if found.what else Obstacle("nothing that its store knows of: the phase is slow")

    def _tell(self, watch: _Watch, obstacle: Obstacle) -> None:
        since = self._stall.since if self._stall else watch.since
        self._stall = _Stall(watch, watch.at, since, time.monotonic())
        _log.warning("the command does not get on", phase=watch.at.phase, waiting_for=obstacle.what)
        self._report(self._stall, obstacle)

    def _get_on(self) -> None:
        if self._stall:
            self._report(self._stall, Obstacle())
            self._stall = None

    def _forget(self) -> None:
        with self._lock:
            self._stall = None

    def _report(self, stall: _Stall, obstacle: Obstacle) -> None:
        job = stall.watch.job
        report = StalledReport(
            environment=job.command.environment,
            system=job.command.system,
            epoch=job.command.epoch,
            rollout_id=job.command.rollout_id,
            phase=stall.at.phase,
            since=stall.since,
            waiting_for=obstacle.what,
            mend=obstacle.mend,
            reported_at=clock.now(),
        )
        self._say(report, job.letter.traceparent)
