"""The worker: one thread that takes the newest command, has it carried out, and answers.

Every answer is a function of the member's row, so a command that comes again is answered again. A command stays open
in the inbox until the broker has confirmed its answer; what is open at a start is worked again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import wait
from datetime import datetime, timedelta

from pydantic import ValidationError

from consumers.adapters.base import Adapter
from consumers.execution import Executor
from consumers.inbox import Inbox, Letter
from consumers.reports import Job, Reporter, about
from consumers.staging import Overtaken
from consumers.stalls import Stalls
from distributor.errors import DistributorError, StoreError
from distributor.mapping.tables import SystemMapping
from distributor.model.unfit import UnfitRowsError
from distributor.rollout.events import RefusalReason
from distributor.rollout.member import Wait
from distributor.rollout.member_row import MemberRow
from distributor.rollout.state import ALIVE_EVERY
from distributor.store.base import Store
from distributor.telemetry import clock
from distributor.telemetry.attributes import ENVIRONMENT, EPOCH, ROLLOUT, SYSTEM
from distributor.telemetry.logs import bind, logger
from distributor.telemetry.tracing import span
from distributor.wire import topology
from distributor.wire.messages import (
    IDLE,
    FlippedReport,
    MemberReport,
    ProgressReport,
    RefusedReport,
    RevertedReport,
    SettleCommand,
    SettledReport,
    StageCommand,
    UnfitReport,
)

# A flip far ahead is put to the table once more this long before its time: its connection is known to be alive then.
_WARM_UP = timedelta(milliseconds=500)
_GREETING_RETRY_SECONDS = 1.0
_ATTEMPTS = 3
UNFIT_ROWS = 5_000
"""How many unfit rows a member names at once; what is over any sensible budget."""
_log = logger("consumer")


class _Cut(Exception):
    """A load is left because something newer waits, or the process ends; its letter stays open."""


class Worker:
    """Everything that brings a member on, in one thread. `wake`, `greet` and `stop` may be called from others.

    `audits_first`: what a slot holds is audited before a delta builds on it. `moved` is called when a slot went
    online, came back or was brought up, and must not block.
    """

    def __init__(
        self,
        *,
        environment: str,
        mapping: SystemMapping,
        adapter: Adapter,
        store: Store,
        inbox: Inbox,
        reporter: Reporter,
        audits_first: bool = False,
        moved: Callable[[], None] = lambda: None,
        alive_every: timedelta = ALIVE_EVERY,
    ) -> None:
        self._environment, self._system = environment, mapping.system
        self._inbox = inbox
        self._reporter = reporter
        self._executor = Executor(
            environment,
            mapping,
            adapter,
            store,
            audits_first=audits_first,
            progress=self._report_progress,
            checkpoint=self._checkpoint,
            row=_remembered(inbox),
        )
        self._stalls = Stalls(adapter, reporter.stalled)
        self._moved = moved
        self._loading = False
        self._remembered = self._executor.row
        self._awake = threading.Event()
        self._greeting_due = threading.Event()
        self._stopping = threading.Event()
        self._connected = threading.Event()
        self._lock = threading.Lock()
        self._answered: set[int] = set()
        self._armed: dict[int, datetime] = {}
        self._alive_seconds = alive_every.total_seconds()
        self._spoke_at = time.monotonic()

    @property
    def loading(self) -> bool:
        """Whether a command is carried out that may load. May be asked from any thread."""
        return self._loading

    def wake(self) -> None:
        """A letter has come."""
        self._awake.set()

    def greet(self) -> None:
        """The line is up (again): say hello before anything else."""
        self._greeting_due.set()
        self._connected.set()
        self._awake.set()

    def stop(self) -> None:
        """Ends `run` soon; a load is cut."""
        self._stopping.set()
        self._stalls.stop()
        self._connected.set()
        self._awake.set()

    def run(self) -> None:
        """Works until `stop`. Nothing is done before the first greeting could be sent."""
        bind(role="consumer", environment=self._environment, system=self._system)
        self._stalls.start()
        self._connected.wait()
        while not self._stopping.is_set():
            self._awake.clear()
            if self._greeting_due.is_set():
                self._say_hello()
            if self._greeting_due.is_set():
                self._awake.wait(_GREETING_RETRY_SECONDS)
                continue
            letter, pause = self._next()
            if letter is not None:
                self._work(letter)
            else:
                self._awake.wait(pause)
                self._say_alive()

    def _next(self) -> tuple[Letter | None, float]:
        """The letter to work on now; else for how many seconds nothing is due."""
        now = clock.now()
        asleep = {arrival: at for arrival, at in self._armed.items() if at > now}
        with self._lock:
            besides = self._answered | asleep.keys()
        letter = self._inbox.waiting(besides)
        pauses = [(at - now).total_seconds() for at in asleep.values()]
        pauses.append(max(self._spoke_at + self._alive_seconds - time.monotonic(), 0.0))
        return letter, min(pauses)

    def _work(self, letter: Letter) -> None:
        self._armed.pop(letter.arrival, None)
        job = Job.open(letter)
        name = letter.type.removeprefix("pd.member.").removesuffix(".v1")
        attributes: dict[str, str | int] = {
            ENVIRONMENT: self._environment,
            SYSTEM: self._system,
            EPOCH: letter.epoch,
            ROLLOUT: job.command.rollout_id,
        }
        try:
            with (
                span(f"consumer {name}", attributes, links=[letter.traceparent]),
                self._stalls.watching(job, lambda: self._executor.phases),
            ):
                result = self._carried_out(job)
        except _Cut:
            _log.info("the load was cut", epoch=letter.epoch, release=getattr(job.command, "release", None))
            return
        except DistributorError as error:
            _log.warning("the command was not carried out", command=name, epoch=letter.epoch, error=str(error))
            if isinstance(error, UnfitRowsError):
                self._name_unfit(job, error)
            result = self._refused(job, error)
        except Exception as error:  # noqa: BLE001 - the coordinator must hear of it, whatever it is.
            _log.exception("the command failed", command=name, epoch=letter.epoch)
            text = f"{type(error).__name__}: {error}"
            result = about(RefusedReport, self._executor.row, job, reason=RefusalReason.PERMANENT, text=text)
        if isinstance(result, Wait):
            ahead = result.until - clock.now() > 2 * _WARM_UP
            self._armed[letter.arrival] = result.until - _WARM_UP if ahead else result.until
        else:
            self._answer(job, result)
        self._remember()

    def _carried_out(self, job: Job) -> MemberReport | Wait:
        self._loading = isinstance(job.command, StageCommand | SettleCommand)
        try:
            for _ in range(_ATTEMPTS):
                try:
                    return self._executor.carry_out(job)
                except Overtaken:
                    _log.info("the member was changed by another process, or by an audit", epoch=job.letter.epoch)
        finally:
            self._loading = False
        text = "another process of this member keeps changing its row; is it started twice?"
        return about(RefusedReport, self._executor.row, job, reason=RefusalReason.RETRYABLE, text=text)

    def _answer(self, job: Job, report: MemberReport) -> None:
        letter = job.letter
        if not isinstance(report, RefusedReport) or report.reason is not RefusalReason.STALE:
            self._inbox.answered(letter, job.command.rollout_id)
        elif not self._inbox.is_late(letter, job.command.rollout_id):
            self._reporter.dead_letter(letter, f"{topology.STALE} {letter.epoch}: {report.text}")
        with self._lock:
            self._answered.add(letter.arrival)
        self._spoke_at = time.monotonic()
        self._reporter.answer(report, letter.traceparent, lambda: self._close(letter.arrival))
        if isinstance(report, FlippedReport | RevertedReport | SettledReport):
            self._moved()
        _log.info("answered", command=letter.type, epoch=letter.epoch, answer=report.TYPE, shows=report.shows)

    def _close(self, arrival: int) -> None:
        self._inbox.done(arrival)
        with self._lock:
            self._answered.discard(arrival)

    def _say_hello(self) -> None:
        """Stays due until the broker has it: no flip may come before."""
        try:
            hello = self._executor.hello()
        except DistributorError as error:
            _log.warning("the member's store does not answer", error=str(error))
            self._refuse_waiting(error)
            return
        self._greeting_due.clear()
        self._spoke_at = time.monotonic()
        sent = self._reporter.hello(hello)
        while not wait([sent], timeout=1).done:
            if self._stopping.is_set():
                return
        if sent.exception() is not None:
            _log.info("the greeting was not delivered; it is said again on the next connection")
            self._greeting_due.set()
        self._remember()

    def _refuse_waiting(self, error: DistributorError) -> None:
        """Whoever waits for a member that cannot even greet hears why; nothing is carried out."""
        while not self._stopping.is_set():
            letter, _ = self._next()
            if letter is None:
                return
            self._armed.pop(letter.arrival, None)
            job = Job.open(letter)
            self._answer(job, self._refused(job, error))

    def _refused(self, job: Job, error: DistributorError) -> RefusedReport:
        # What the store lost, somebody may put back: the rollout's deadline ends the wait, not this answer.
        retryable = error.retryable or isinstance(error, StoreError)
        reason = RefusalReason.RETRYABLE if retryable else RefusalReason.PERMANENT
        return about(RefusedReport, self._executor.row, job, reason=reason, text=str(error))

    def _name_unfit(self, job: Job, error: UnfitRowsError) -> None:
        """Before the answer: whoever hears that sees at once which rows are to be held back."""
        if not isinstance(job.command, StageCommand | SettleCommand):
            return
        report = UnfitReport(
            environment=self._environment,
            system=self._system,
            epoch=job.command.epoch,
            rollout_id=job.command.rollout_id,
            release=job.command.release,
            manifest=job.command.manifest,
            total=len(error.rows),
            rows=error.rows[:UNFIT_ROWS],
            reported_at=clock.now(),
        )
        self._reporter.unfit(report, job.letter.traceparent)

    def _say_alive(self) -> None:
        """A quiet member is otherwise not told from a dead one. Before the greeting nobody needs to hear of it."""
        now = time.monotonic()
        if now - self._spoke_at < self._alive_seconds or self._greeting_due.is_set():
            return
        self._spoke_at = now
        row = self._executor.row
        alive = about(ProgressReport, row, phase=IDLE, rows_done=0, rows_total=0, seconds=0.0)
        self._reporter.progress(alive, None)

    def _report_progress(self, job: Job, report: ProgressReport) -> None:
        self._spoke_at = time.monotonic()
        self._reporter.progress(report, job.letter.traceparent)

    def _checkpoint(self, job: Job) -> None:
        if self._stopping.is_set() or self._inbox.overtakes(job.letter.epoch):
            raise _Cut

    def _remember(self) -> None:
        if self._executor.row != self._remembered:
            if self._executor.row.floor != self._remembered.floor:
                # Flips that wait for their time under an older epoch are answered now: they never will be carried out.
                self._armed.clear()
            self._remembered = self._executor.row
            self._inbox.remember(self._remembered.model_dump_json())


def _remembered(inbox: Inbox) -> MemberRow | None:
    text = inbox.remembered()
    try:
        return MemberRow.model_validate_json(text) if text else None
    except ValidationError:
        return None  # Written by another version; the store will say it.
