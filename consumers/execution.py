"""One command carried out: the member's table under the row's lock, then the load that it asks for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from consumers.adapters.base import Adapter, Loading
from consumers.loading import Phases, fill
from consumers.planning import Target, Walk, empty_certificate, plan, rebuild_of, target_of
from consumers.reports import Job, about
from distributor.errors import DistributorError, MessageError, SystemAlteredError
from distributor.mapping.tables import SystemMapping
from distributor.model.certificate import Certificate
from distributor.model.manifest import Manifest
from distributor.rollout import commands, member
from distributor.rollout.member import Load, Outcome, Reply, ReplyKind, Wait
from distributor.rollout.member_row import MemberRow, Slot
from distributor.store.base import Store
from distributor.store.chain import walk
from distributor.store.chunks import read_manifest
from distributor.telemetry import clock
from distributor.telemetry.faults import Point, point
from distributor.telemetry.logs import logger
from distributor.wire import messages as wire

PROGRESS_SECONDS = 0.25
_log = logger("consumer")
_MANIFESTS = 8
_CERTIFICATES = 4

_BEFORE: dict[type[wire.MemberCommand], Point] = {
    wire.FlipCommand: Point.FLIP_BEFORE_COMMIT,
    wire.RevertCommand: Point.REVERT_BEFORE_COMMIT,
}
_AFTER: dict[type[wire.MemberCommand], Point] = {
    wire.FlipCommand: Point.FLIP_AFTER_COMMIT,
    wire.RevertCommand: Point.REVERT_AFTER_COMMIT,
}


class Overtaken(Exception):
    """At its commit a load found the row changed: nothing was written, the table must be asked again."""


class Executor:
    """Carries out commands against one member's store. `row` is the member's row as last read or saved.

    `progress` is called at most every PROGRESS_SECONDS during long loads and must not block; `checkpoint` is called
    between batches and may raise to cut the load.
    """

    def __init__(
        self,
        environment: str,
        mapping: SystemMapping,
        adapter: Adapter,
        store: Store,
        *,
        progress: Callable[[Job, wire.ProgressReport], None],
        checkpoint: Callable[[Job], None],
        row: MemberRow | None,
    ) -> None:
        self.row = row or MemberRow(environment=environment, system=mapping.system)
        self._environment = environment
        self._mapping = mapping
        self._adapter = adapter
        self._store = store
        self._progress = progress
        self._checkpoint = checkpoint
        self._manifests: dict[str, Manifest] = {}
        self._certificates: dict[str, Certificate] = {}
        self._met = False
        self.phases: Phases | None = None

    def hello(self, job: Job | None = None) -> wire.HelloReport:
        """Reads the row and says where the member is. Raises UnreachableError, SystemAlteredError."""
        with self._forgetting():
            self._meet()
            with self._adapter.member() as transaction:
                self.row = transaction.row
            return self._hello(self.row, job)

    def carry_out(self, job: Job) -> wire.MemberReport | Wait:
        """The answer to a command, or until when it has to wait.

        Raises DistributorError when store or chunks are out of order, and Overtaken. `phases` are those of the load
        meanwhile, if there is one.
        """
        self.phases = None
        with self._forgetting():
            self._meet()
            return self._answer(job, to_command(job.command))

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        """A system that was altered is met anew by the next command: somebody may have mended it by then."""
        try:
            yield
        except SystemAlteredError:
            self._met = False
            raise

    def _answer(self, job: Job, command: commands.Command) -> wire.MemberReport | Wait:
        target = None
        if isinstance(job.command, wire.StageCommand | wire.SettleCommand):
            # What is over may ask for a release that is gone by now, in shapes that must not be made any more.
            with self._adapter.member() as transaction:
                self.row = transaction.row
            if (refused := member.refusal(self.row, command)) is not None:
                return self._reply(job, self.row, refused)
            target = self._target(job.command)
            if target.tables:
                self._adapter.prepare(self._environment, self._mapping.system, target.tables)
        with self._adapter.member() as transaction:
            outcome = member.answer(
                self._proven(transaction.row, command, target) if target else transaction.row,
                command,
                target=target.identity if target else None,
                token=clock.new_id(),
                now=clock.now(),
            )
            self._save(job, transaction.save, transaction.row, outcome)
        self.row = outcome.row
        _pass(_AFTER, job)
        match outcome.action:
            case Wait():
                return outcome.action
            case Reply():
                return self._reply(job, outcome.row, outcome.action)
            case Load():
                assert target is not None
                return self._load(job, outcome.row, outcome.action, target)

    def _save(self, job: Job, save: Callable[[MemberRow], None], before: MemberRow, outcome: Outcome) -> None:
        if outcome.row != before:
            save(outcome.row)
            _pass(_BEFORE, job)

    def _meet(self) -> None:
        """The first contact: the member's row exists, and the adapter knows the tables that the slots hold."""
        if self._met:
            return
        self._adapter.prepare(self._environment, self._mapping.system, ())
        with self._adapter.member() as transaction:
            self.row = transaction.row
        self._restore_views()
        self._met = True

    def _restore_views(self) -> None:
        """What readers look at, if it went while nobody was here. Another mapping has tables that are not there yet."""
        online = self.row.online
        if online.manifest is None or online.identity is None or online.identity.mapping != self._mapping.version:
            return
        try:
            target = target_of(self._mapping, online.identity.release, online.manifest, self._manifest(online.manifest))
            self._adapter.prepare(self._environment, self._mapping.system, target.tables)
        except DistributorError as error:
            _log.warning("what readers look at could not be looked after", error=str(error))

    def _proven(self, row: MemberRow, command: commands.Command, target: Target) -> MemberRow:
        """The row, its shadow torn if that should hold the target, and its certificate says that it does not."""
        if member.refusal(row, command) or command.epoch in (row.staged_epoch, row.flipped_epoch):
            return row
        if not member.holds(row.shadow, target.identity):
            return row
        return member.distrust(row) if self._stored(row.shadow).difference(target.expected) else row

    def _target(self, command: wire.StageCommand | wire.SettleCommand) -> Target:
        """What is asked for; for release 0, in the shapes of what the slots hold."""
        known = command.manifest or self.row.shadow.manifest or self.row.online.manifest
        manifest = self._manifest(known) if known else None
        return target_of(self._mapping, command.release, command.manifest, manifest)

    def _manifest(self, sha256: str) -> Manifest:
        if sha256 not in self._manifests:
            while len(self._manifests) >= _MANIFESTS:
                del self._manifests[next(iter(self._manifests))]
            self._manifests[sha256] = read_manifest(self._store, sha256)
        return self._manifests[sha256]

    def _certificate(self, text: str) -> Certificate:
        """A slot's certificate, from the JSON in the row: most often one that was written here."""
        if text not in self._certificates:
            self._keep(text, Certificate.model_validate_json(text))
        return self._certificates[text]

    def _stored(self, slot: Slot) -> Certificate:
        return self._certificate(slot.certificate) if slot.certificate else empty_certificate(self._mapping)

    def _written(self, certificate: Certificate) -> str:
        text = certificate.model_dump_json()
        self._keep(text, certificate)
        return text

    def _keep(self, text: str, certificate: Certificate) -> None:
        while len(self._certificates) >= _CERTIFICATES:
            del self._certificates[next(iter(self._certificates))]
        self._certificates[text] = certificate

    def _load(self, job: Job, row: MemberRow, load: Load, target: Target) -> wire.MemberReport:
        phases = self.phases = Phases()
        with phases.phase("plan"):
            ways = partial(walk, self._store, target.manifest, target.release)
            way = plan(row.slots[load.slot], target, ways, self._certificate)
        notify = self._notifier(job, phases, way.rows)
        with self._adapter.loading(load.slot) as loading:
            certificate = fill(loading, way, target.tables, self._store, phases, notify)
            if not way.rebuild and (wrong := certificate.difference(target.expected)):
                certificate = self._rebuilt(job, loading, target, ways, phases, "; ".join(wrong))
            stored = self._written(certificate)
            point(Point.LOAD_BEFORE_COMMIT)
            with phases.phase("commit"):
                committed = loading.commit(
                    lambda found: member.complete_load(
                        found,
                        load,
                        identity=target.identity,
                        manifest=target.manifest,
                        certificate=stored,
                    )
                )
        point(Point.LOAD_AFTER_COMMIT)
        if committed is None:
            raise Overtaken
        self.row = committed
        kind = ReplyKind.SETTLED if load.settles else ReplyKind.STAGED
        return self._reply(job, committed, Reply(kind), phases)

    def _rebuilt(
        self, job: Job, loading: Loading, target: Target, ways: Walk, phases: Phases, wrong: str
    ) -> Certificate:
        """The same load, from nothing: the slot did not hold what its row says, so no delta leads to the target."""
        _log.warning("the slot was altered and is loaded anew", release=target.release, wrong=wrong)
        with phases.phase("rebuild"):
            way = rebuild_of(target, ways, wrong)
            notify = self._notifier(job, phases, phases.rows_done + way.rows)
            return fill(loading, way, target.tables, self._store, phases, notify)

    def _notifier(self, job: Job, phases: Phases, rows: int) -> Callable[[], None]:
        last = time.monotonic()

        def notify() -> None:
            nonlocal last
            if time.monotonic() - last >= PROGRESS_SECONDS:
                last = time.monotonic()
                report = about(
                    wire.ProgressReport,
                    self.row,
                    job,
                    phase=phases.current,
                    rows_done=phases.rows_done,
                    rows_total=rows,
                    seconds=phases.elapsed,
                )
                self._progress(job, report)
            self._checkpoint(job)

        return notify

    def _reply(self, job: Job, row: MemberRow, reply: Reply, phases: Phases | None = None) -> wire.MemberReport:
        match reply.kind:
            case ReplyKind.STAGED:
                return self._staged(job, row, phases or Phases())
            case ReplyKind.FLIPPED:
                return about(
                    wire.FlippedReport,
                    row,
                    job,
                    release=row.online.release or 0,
                    flipped_at=row.flipped_at or clock.now(),
                )
            case ReplyKind.REVERTED:
                assert isinstance(job.command, wire.RevertCommand)
                return about(wire.RevertedReport, row, job, of=job.command.of)
            case ReplyKind.SETTLED:
                return about(wire.SettledReport, row, job, release=row.online.release or 0)
            case ReplyKind.HELLO:
                return self._hello(row, job)
            case ReplyKind.REFUSED:
                return about(wire.RefusedReport, row, job, reason=reply.reason, text=reply.text)

    def _staged(self, job: Job, row: MemberRow, phases: Phases) -> wire.StagedReport:
        slot = row.slots[row.staged_slot] if row.staged_slot else Slot()
        certificate = self._stored(slot)
        return about(
            wire.StagedReport,
            row,
            job,
            release=slot.release or 0,
            mapping=slot.identity.mapping if slot.identity else self._mapping.version,
            certificate=certificate.digest,
            tables={name: table.total for name, table in certificate.tables.items()},
            rows_applied=phases.rows_done,
            phases={name: round(seconds, 6) for name, seconds in phases.seconds.items()},
        )

    def _hello(self, row: MemberRow, job: Job | None) -> wire.HelloReport:
        return about(wire.HelloReport, row, job, flipped_epoch=row.flipped_epoch, mapping=self._mapping.version)


def to_command(message: wire.MemberCommand) -> commands.Command:
    """The command as the rule-book knows it. Raises MessageError for a message that is no command."""
    match message:
        case wire.StageCommand():
            repair = message.repair if isinstance(message, wire.RepairCommand) else ""
            return commands.Stage(
                message.system,
                message.epoch,
                message.rollout_id,
                message.release,
                message.from_release,
                message.void,
                repair,
            )
        case wire.FlipCommand():
            return commands.Flip(
                message.system, message.epoch, message.rollout_id, message.release, message.at, message.not_after
            )
        case wire.RevertCommand():
            return commands.Revert(message.system, message.epoch, message.rollout_id, message.of)
        case wire.AbandonCommand():
            return commands.Abandon(message.system, message.epoch, message.rollout_id)
        case wire.SettleCommand():
            return commands.Settle(message.system, message.epoch, message.rollout_id, message.release)
    raise MessageError(f"{type(message).__name__} is no command to a member")


def _pass(points: dict[type[wire.MemberCommand], Point], job: Job) -> None:
    if found := points.get(type(job.command)):
        point(found)
