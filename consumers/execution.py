"""One command carried out: the member's table under the row's lock, then the load that it asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from consumers.adapters.base import Adapter
from consumers.library import Library
from consumers.loading import Phases
from consumers.planning import Target
from consumers.replies import Replies, to_command
from consumers.reports import Job
from consumers.staging import Loader
from distributor.errors import DistributorError, SystemAlteredError
from distributor.mapping.tables import SystemMapping
from distributor.rollout import commands, member
from distributor.rollout.member import Load, Outcome, Reply, ReplyKind, Wait
from distributor.rollout.member_row import MemberRow
from distributor.store.base import Store
from distributor.telemetry import clock
from distributor.telemetry.faults import Point, point
from distributor.telemetry.logs import logger
from distributor.wire import messages as wire

_log = logger("consumer")

_BEFORE: dict[type[wire.MemberCommand], Point] = {
    wire.FlipCommand: Point.FLIP_BEFORE_COMMIT,
    wire.RevertCommand: Point.REVERT_BEFORE_COMMIT,
}
_AFTER: dict[type[wire.MemberCommand], Point] = {
    wire.FlipCommand: Point.FLIP_AFTER_COMMIT,
    wire.RevertCommand: Point.REVERT_AFTER_COMMIT,
}


class Executor:
    """Carries out commands against one member's store. `row` is the member's row as last read or saved.

    `audits_first`, `progress` and `checkpoint` are the loader's.
    """

    def __init__(
        self,
        environment: str,
        mapping: SystemMapping,
        adapter: Adapter,
        store: Store,
        *,
        audits_first: bool,
        progress: Callable[[Job, wire.ProgressReport], None],
        checkpoint: Callable[[Job], None],
        row: MemberRow | None,
    ) -> None:
        self.row = row or MemberRow(environment=environment, system=mapping.system)
        self._environment = environment
        self._mapping = mapping
        self._adapter = adapter
        self._library = Library(store, mapping)
        self._replies = Replies(self._library, mapping)
        self._loader = Loader(
            adapter, store, self._library, audits_first=audits_first, progress=progress, checkpoint=checkpoint
        )
        self._met = False

    @property
    def phases(self) -> Phases | None:
        """Those of the load that goes on, if one does. May be asked from any thread."""
        return self._loader.phases

    def hello(self, job: Job | None = None) -> wire.HelloReport:
        """Reads the row and says where the member is. Raises UnreachableError, SystemAlteredError."""
        with self._forgetting():
            self._meet()
            with self._adapter.member() as transaction:
                self.row = transaction.row
            return self._replies.hello(self.row, job)

    def carry_out(self, job: Job) -> wire.MemberReport | Wait:
        """The answer to a command, or until when it has to wait.

        Raises DistributorError when store or chunks are out of order, and Overtaken.
        """
        self._loader.phases = None
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
                return self._replies.to(job, self.row, refused)
            target = self._library.target(job.command.release, job.command.manifest, self.row)
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
                return self._replies.to(job, outcome.row, outcome.action)
            case Load():
                assert target is not None
                self.row = self._loader.load(job, outcome.row, outcome.action, target)
                kind = ReplyKind.SETTLED if outcome.action.settles else ReplyKind.STAGED
                return self._replies.to(job, self.row, Reply(kind), self._loader.phases)

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
            target = self._library.target(online.identity.release, online.manifest, self.row)
            self._adapter.prepare(self._environment, self._mapping.system, target.tables)
        except DistributorError as error:
            _log.warning("what readers look at could not be looked after", error=str(error))

    def _proven(self, row: MemberRow, command: commands.Command, target: Target) -> MemberRow:
        """The row, its shadow torn if that should hold the target, and its certificate says that it does not."""
        if member.refusal(row, command) or command.epoch in (row.staged_epoch, row.flipped_epoch):
            return row
        if not member.holds(row.shadow, target.identity):
            return row
        if target.expected is None or not self._library.stored(row.shadow).difference(target.expected):
            return row
        return member.distrust(row)


def _pass(points: dict[type[wire.MemberCommand], Point], job: Job) -> None:
    if found := points.get(type(job.command)):
        point(found)
