"""The load that a command asks for: planned, carried out, judged by certificates, committed under the row's lock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from consumers.adapters.base import Adapter, Judges, Loading
from consumers.explaining import told
from consumers.library import Library
from consumers.loading import BATCH_ROWS, Phases, audited, fill
from consumers.planning import Plan, Target, plan, rebuild_of
from consumers.reports import Job, about
from distributor.errors import StoreError
from distributor.model.certificate import Certificate
from distributor.model.repair import Repair
from distributor.rollout import member
from distributor.rollout.member import Load
from distributor.rollout.member_row import MemberRow, Slot
from distributor.store.base import Store
from distributor.store.ways import Ways
from distributor.telemetry.faults import Point, point
from distributor.telemetry.logs import logger
from distributor.wire.messages import ProgressReport, RepairCommand

PROGRESS_SECONDS = 0.25
_log = logger("consumer")


class Overtaken(Exception):
    """At its commit a load found the row changed: nothing was written, the table must be asked again."""


@dataclass(frozen=True, slots=True)
class _Task:
    """One load: for whom, from which row, to which target, by which ways."""

    job: Job
    row: MemberRow
    target: Target
    ways: Ways
    phases: Phases


class Loader:
    """Loads into one member's store. `phases` are those of the newest load.

    `audits_first`: before a delta builds on what a slot holds, all of that is audited. `progress` is called at most
    every PROGRESS_SECONDS and must not block; `checkpoint` is called between batches and may raise to cut the load.
    """

    def __init__(
        self,
        adapter: Adapter,
        store: Store,
        library: Library,
        *,
        audits_first: bool,
        progress: Callable[[Job, ProgressReport], None],
        checkpoint: Callable[[Job], None],
    ) -> None:
        self.phases: Phases | None = None
        self._adapter = adapter
        self._store = store
        self._library = library
        self._audits_first = audits_first
        self._progress = progress
        self._checkpoint = checkpoint

    def load(self, job: Job, row: MemberRow, load: Load, target: Target) -> MemberRow:
        """Brings a slot to the target and returns the row that says so.

        Raises DistributorError when store or chunks are out of order, and Overtaken.
        """
        phases = self.phases = Phases()
        task = _Task(job, row, target, Ways(self._store, target.manifest, target.release), phases)
        with phases.phase("plan"):
            slot = row.slots[load.slot]
            way = plan(slot, target, task.ways, self._library.certificate, self._repair(job, slot))
        with self._adapter.loading(load.slot) as loading:
            certificate, way = self._filled(task, loading, way)
            stored = self._library.written(certificate)
            point(Point.LOAD_BEFORE_COMMIT)

            def guard(found: MemberRow) -> MemberRow | None:
                if found.slots[load.slot].doubt and not (way.rebuild or way.repair):
                    # An audit found it meanwhile: this load has built upon what is wrong.
                    return None
                return member.complete_load(
                    found, load, identity=target.identity, manifest=target.manifest, certificate=stored
                )

            with phases.phase("commit"):
                committed = loading.commit(guard)
        point(Point.LOAD_AFTER_COMMIT)
        if committed is None:
            raise Overtaken
        return committed

    def _filled(self, task: _Task, loading: Loading, way: Plan) -> tuple[Certificate, Plan]:
        """The certificate that came of it, and the way that was taken in the end."""
        target, phases = task.target, task.phases
        self._say(task, way)
        notify = self._notifier(task, way.rows)
        wrong: list[str] = []
        if self._audits_first and not (way.rebuild or way.repair):
            kept = tuple(table for table in target.tables if table.name not in way.anew)
            wrong = audited(loading, kept, phases, notify).difference(way.base)
        if not wrong:
            certificate = self._fill(loading, way, target, phases, notify)
            if way.rebuild or target.expected is None or not (wrong := certificate.difference(target.expected)):
                return certificate, way
        # The slot did not hold what its row says: no delta leads from there to the target.
        why = "; ".join(wrong)
        _log.warning("the slot was altered and is loaded anew", release=target.release, wrong=why)
        with phases.phase("rebuild"):
            way = rebuild_of(target, task.ways, why)
            self._say(task, way)
            notify = self._notifier(task, phases.rows_done + way.rows)
            return self._fill(loading, way, target, phases, notify), way

    def _fill(
        self, loading: Loading, way: Plan, target: Target, phases: Phases, checkpoint: Callable[[], None]
    ) -> Certificate:
        judge = self._adapter.unfit if isinstance(self._adapter, Judges) else None
        return fill(loading, way, target.tables, self._store, phases, checkpoint, judge)

    def _repair(self, job: Job, slot: Slot) -> Repair | None:
        """What mends a slot in doubt. Raises StoreError when the list that this very command names cannot be had."""
        if not slot.doubt or slot.mend is None:
            return None
        try:
            return self._library.repair(slot.mend.sha256)
        except StoreError as error:
            if isinstance(job.command, RepairCommand) and job.command.repair == slot.mend.sha256:
                raise
            # Nobody waits for this list any more who could put it back.
            _log.warning("a repair list is gone, and its slot is loaded anew", error=str(error))
            return None

    def _say(self, task: _Task, way: Plan) -> None:
        """Tells the way before it is gone: the log always, whoever watches the rollout where it takes a while."""
        _log.info("loading", release=task.target.release, way=told(way), rows=way.rows, why=way.rebuild)
        if way.rows > BATCH_ROWS:
            self._progress(task.job, self._report(task, told(way), way.rows))

    def _report(self, task: _Task, phase: str, rows: int) -> ProgressReport:
        return about(
            ProgressReport,
            task.row,
            task.job,
            phase=phase,
            rows_done=task.phases.rows_done,
            rows_total=rows,
            seconds=task.phases.elapsed,
        )

    def _notifier(self, task: _Task, rows: int) -> Callable[[], None]:
        last = time.monotonic()

        def notify() -> None:
            nonlocal last
            if time.monotonic() - last >= PROGRESS_SECONDS:
                last = time.monotonic()
                self._progress(task.job, self._report(task, task.phases.current, rows))
            self._checkpoint(task.job)

        return notify
