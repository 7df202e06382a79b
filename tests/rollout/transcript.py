"""An environment and its members around the real tables, with every message in the test's own hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from distributor.rollout import member as table
from distributor.rollout.commands import Alarm, Command, Flip, Output, Stage
from distributor.rollout.events import (
    Event,
    Flipped,
    Hello,
    MembersConfigured,
    Refused,
    Report,
    Requested,
    Reverted,
    Settled,
    Staged,
    Tick,
)
from distributor.rollout.member import Action, Load, Reply, ReplyKind
from distributor.rollout.member_row import MemberRow, SlotIdentity
from distributor.rollout.protocol import decide
from distributor.rollout.state import (
    Cause,
    Clock,
    Environment,
    Expected,
    Requirement,
    Rollout,
    RolloutState,
    Timing,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
C = TypeVar("C", bound=Command)
MAPPING = "m"


def identity(release: int, mapping: str = MAPPING) -> SlotIdentity | None:
    """What a slot with a release holds."""
    return SlotIdentity(release=release, mapping=mapping, schema_="s") if release else None


@dataclass
class Transcript:
    """`state` and `rows` are what is saved; `sent` all that was ever said to members, `alarms` to operators."""

    state: Environment
    rows: dict[str, MemberRow]
    now: datetime = START
    sent: list[Command] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    history: dict[str, RolloutState] = field(default_factory=dict)
    ids: int = 0

    @classmethod
    def of(cls, required: str = "ab", optional: str = "", follow: bool = True) -> Transcript:
        """A new environment; members are single letters."""
        rows = {name: MemberRow(environment="e", system=name) for name in required + optional}
        made = cls(Environment("e"), rows)
        members = dict.fromkeys(required, Requirement.REQUIRED) | dict.fromkeys(optional, Requirement.OPTIONAL)
        made.feed(MembersConfigured(START, members, follow))
        return made

    @property
    def active(self) -> RolloutState | None:
        """The state of the active rollout."""
        return self.state.active.state if self.state.active else None

    def fresh(self) -> str:
        """An id."""
        self.ids += 1
        return f"x{self.ids}"

    def feed(self, event: Event) -> tuple[Output, ...]:
        """One event to the coordinator."""
        self.state, outputs = decide(self.state, event)
        self.sent += [output for output in outputs if not isinstance(output, Alarm)]
        self.alarms += [output.text for output in outputs if isinstance(output, Alarm)]
        self.history |= {rollout.id: rollout.state for rollout in self.state.ended}
        return outputs

    def tick(self, **later: float) -> tuple[Output, ...]:
        """Time passes."""
        self.now += timedelta(**later)
        return self.feed(Tick(self.now, self.fresh()))

    def request(self, release: int, cause: Cause = Cause.OPERATOR, **changes: Any) -> str:
        """Asks for a release; returns the rollout's id."""
        members = self.state.members
        required = frozenset(n for n, m in members.items() if m.requirement is Requirement.REQUIRED)
        rollout = Rollout(
            id=self.fresh(),
            release=release,
            cause=cause,
            by="ann",
            reason="",
            requested_at=self.now,
            required=required,
            optional=frozenset(members) - required,
            expected={name: Expected(f"c{release}", MAPPING) for name in members},
            timing=Timing(flip_lead=timedelta(0)),
        )
        rollout = replace(rollout, **changes)
        self.feed(Requested(self.now, rollout))
        return rollout.id

    def last(self, kind: type[C], member: str) -> C:
        """The newest command of a kind to a member."""
        return next(c for c in reversed(self.sent) if isinstance(c, kind) and c.member == member)

    def receive(self, command: Command, mapping: str = MAPPING, token: str = "") -> Action:
        """A member carries a command out, up to its answer."""
        target = identity(command.release, mapping) if isinstance(command, Stage) else None
        outcome = table.answer(
            self.rows[command.member], command, target=target, token=token or self.fresh(), now=self.now
        )
        self.rows[command.member] = outcome.row
        return outcome.action

    def load(self, member: str, load: Load, release: int, mapping: str = MAPPING) -> bool:
        """A load's commit; whether it stood."""
        row = table.complete_load(
            self.rows[member], load, identity=identity(release, mapping), manifest=None, certificate=""
        )
        if row:
            self.rows[member] = row
        return row is not None

    def report(self, command: Command, action: Action) -> Report:
        """The report of an answer, about the row as it is now."""
        row = self.rows[command.member]
        assert isinstance(action, Reply)
        shows = row.online.identity.release if row.online.identity else 0
        head = (
            self.now, command.member, command.epoch, command.rollout_id, row.floor, shows, row.shadow.release,
            Clock(0, 0), self.fresh(),
        )  # fmt: skip
        match action.kind:
            case ReplyKind.STAGED:
                assert row.staged_slot is not None
                held = row.slots[row.staged_slot].identity
                release, mapping = (held.release, held.mapping) if held else (0, MAPPING)
                return Staged(*head, certificate=f"c{release}", mapping=mapping)
            case ReplyKind.FLIPPED:
                return Flipped(*head, flipped_at=row.flipped_at or self.now)
            case ReplyKind.REVERTED:
                return Reverted(*head)
            case ReplyKind.REFUSED:
                assert action.reason is not None
                return Refused(*head, reason=action.reason, text=action.text)
            case ReplyKind.HELLO:
                return Hello(*head, flipped_epoch=row.flipped_epoch)
            case ReplyKind.SETTLED:
                return Settled(*head)

    def answer(self, command: Command, mapping: str = MAPPING) -> Report:
        """A member carries a command out whole, load and all; the report is not delivered yet."""
        action = self.receive(command, mapping)
        if isinstance(action, Load):
            row = self.rows[command.member]
            shown = row.online.identity.release if row.online.identity else 0
            self.load(command.member, action, command.release if isinstance(command, Stage) else shown, mapping)
            action = Reply(ReplyKind.SETTLED if action.settles else ReplyKind.STAGED)
        return self.report(command, action)

    def do(self, command: Command) -> Report:
        """A member carries a command out, and the coordinator hears of it."""
        report = self.answer(command)
        self.feed(report)
        return report

    def hello(self, member: str) -> tuple[Output, ...]:
        """A member says hello."""
        row = self.rows[member]
        greeting = Stage(member, row.floor, row.floor_id, 0, 0)
        return self.feed(self.report(greeting, Reply(ReplyKind.HELLO)))

    def stage_all(self, members: str | None = None) -> None:
        """Every member stages; the rollout converges."""
        assert self.state.active
        for name in members or sorted(self.state.active.required | self.state.active.optional):
            self.do(self.last(Stage, name))

    def decided(self, release: int, cause: Cause = Cause.OPERATOR) -> str:
        """A rollout, up to the decision."""
        rollout_id = self.request(release, cause)
        self.tick()
        self.stage_all()
        self.tick()
        assert self.active is RolloutState.FLIPPING
        return rollout_id

    def online(self, release: int, cause: Cause = Cause.OPERATOR) -> str:
        """A rollout, to its end."""
        rollout_id = self.decided(release, cause)
        for name in sorted(self.rows):
            self.do(self.last(Flip, name))
        assert self.state.shown == release
        return rollout_id
