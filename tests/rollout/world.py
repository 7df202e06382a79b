"""A small world around the real rule-book: the coordinator's state, members' rows, and all that was ever sent.

What is abstracted. *The network* is the set of all messages ever sent: each may arrive at any time, in any order, any
number of times or never. *Kills*: every transaction is one step; a loader that goes no further was killed. A report
that is never sent is one that never arrives, but for liveness, where members may die before they report. *Loads* are
torn from their first batch to their commit, by up to two loaders per member; the true content of a slot is kept beside
the row, so that a row that lies is found. *Time* is gone: every moment is rewritten to one, a tick is either "nothing
is due but reminders" or "every deadline has passed", and a flip is always at its time. *Ids* are named after the epoch
that they come with. Certificates are the release's number; clocks and texts are dropped.

States are interned, so that a step is computed by the real functions once and looked up ever after.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from distributor.rollout import member as table
from distributor.rollout import protocol
from distributor.rollout.commands import Alarm, Command, Flip, Stage
from distributor.rollout.events import (
    Aborted,
    Detached,
    Event,
    Flipped,
    Hello,
    MembersConfigured,
    RefusalReason,
    Refused,
    Report,
    Requested,
    Reverted,
    Settled,
    Staged,
    Tick,
)
from distributor.rollout.member import Load, Reply, ReplyKind
from distributor.rollout.member_row import MemberRow, Slot, SlotIdentity, SlotName
from distributor.rollout.state import (
    Answer,
    Cause,
    Clock,
    Environment,
    Expected,
    Member,
    Requirement,
    Rollout,
    RolloutState,
    Timing,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON = NOW + timedelta(hours=1)
LATE = NOW + timedelta(days=1)
TIMING = Timing(
    stage_deadline=SOON - NOW,
    flip_deadline=SOON - NOW,
    flip_lead=timedelta(0),
    resend_after=timedelta(0),
    heard_within=timedelta(days=9),
    keep_previous=SOON - NOW,
)
CLOCK = Clock(0.0, 0.0)
T = TypeVar("T")


class Violation(AssertionError):
    """An invariant does not hold; the text begins with its name."""


class Interner(Generic[T]):
    """Values ↔ small numbers."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self.values: list[T] = []

    def number(self, value: T) -> int:
        """The value's number."""
        key = freeze(value)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


def freeze(value: Any) -> Hashable:
    """A hashable image of nested dataclasses, mappings and models."""
    if isinstance(value, Report | Command):
        return value
    if is_dataclass(value):
        return (type(value).__name__, *(freeze(getattr(value, f.name)) for f in fields(value)))
    if isinstance(value, Mapping):
        return tuple(sorted((k, freeze(v)) for k, v in value.items()))
    if isinstance(value, tuple | list):
        return tuple(freeze(item) for item in value)
    if isinstance(value, MemberRow):
        return value.model_dump_json()
    hash(value)
    return value  # type: ignore[no-any-return]


class Store(NamedTuple):
    """A member: its row (interned), the true content of both slots, its loaders, and epochs that it ever staged.

    A content is a release, or the token of a load that has begun to write over it. A loader is (load, has written).
    """

    row: int
    contents: tuple[int | str, int | str] = (0, 0)
    loaders: tuple[tuple[Load, bool], ...] = ()
    staged: frozenset[int] = frozenset()


class World(NamedTuple):
    """Everything. `env` and `messages` are interned. `snapshot`, `armed` and `timers` serve broken rules only."""

    env: int
    stores: tuple[Store, ...]
    messages: frozenset[int] = frozenset()
    requests: int = 0
    snapshot: int | None = None
    armed: frozenset[int] = frozenset()


@dataclass(slots=True)
class Bounds:
    """What may happen in a walk. `causes[n]` asks for release n + 1; an epoch above `epochs` is not handed out.

    `start`: what a member shows at first (0); `loaded`: every shadow holds release 1 already.
    """

    required: tuple[str, ...] = ("a", "b")
    optional: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = (Cause.OPERATOR, Cause.OPERATOR)
    epochs: int = 3
    loaders: int = 2
    deaths: bool = False
    aborts: bool = True
    deadlines: bool = True
    refusals: bool = False
    detaches: tuple[str, ...] = ()
    greetings: bool = False
    start: Mapping[str, int] = field(default_factory=dict)
    loaded: bool = False
    racing_coordinators: bool = False
    blind_timers: bool = False
    member_timers: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All members."""
        return self.required + self.optional


class Model:
    """The world's steps, by the real `decide` and the real member's table."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.envs: Interner[Environment] = Interner()
        self.rows: Interner[MemberRow] = Interner()
        self.messages: Interner[Command | Report] = Interner()
        self._decided: dict[tuple[int, Hashable], tuple[int, tuple[int, ...]]] = {}
        self._answered: dict[tuple[int, int, str], tuple[int, table.Action]] = {}
        self._briefs: dict[int, str] = {}
        self._replies: dict[tuple[int, Reply, int], Report] = {}

    def first(self) -> World:
        """Configured, nothing asked for, every slot at the start's release."""
        members = dict.fromkeys(self.bounds.required, Requirement.REQUIRED)
        members |= dict.fromkeys(self.bounds.optional, Requirement.OPTIONAL)
        env, _ = protocol.decide(Environment("e"), MembersConfigured(NOW, members, follow=True))
        stores = []
        for name in self.bounds.names:
            release = self.bounds.start.get(name, 0)
            row = MemberRow(environment="e", system=name)
            shadow = 1 if self.bounds.loaded else 0
            slots = {"a": Slot(identity=identity(release)), "b": Slot(identity=identity(shadow))}
            row = row.model_copy(update={"slots": slots})
            stores.append(Store(self.rows.number(row), (release, shadow)))
            env = replace(env, members={**env.members, name: replace(env.members[name], shows=release)})
        return World(self.envs.number(canonical(env)), tuple(stores))

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """Everything that may happen next, with a name."""
        yield from self._coordinator_steps(world)
        for index in range(len(world.stores)):
            yield from self._member_steps(world, index)

    def tick(self, world: World, at: datetime = NOW) -> World:
        """The coordinator looks at the time."""
        return self._decide(world, Tick(at, ""), "tick" if at == NOW else "late")

    def deliver(self, world: World, number: int) -> World:
        """One message arrives, at a coordinator or at its member; the answer is sent."""
        message = self.messages.values[number]
        if isinstance(message, Report):
            return self._decide(world, message, number)
        index = self.bounds.names.index(message.member)
        return next(iter(self._receive(world, index, number)))[1]

    def load_on(self, world: World) -> World:
        """All loaders run to their end, the newest first."""
        for index in range(len(world.stores)):
            while world.stores[index].loaders:
                world = next(self._load(world, index, world.stores[index].loaders[-1]))[1]
        return world

    # The coordinator

    def _coordinator_steps(self, world: World) -> Iterator[tuple[str, World]]:
        state, bounds = self.envs.values[world.env], self.bounds
        events: list[tuple[str, Event, Hashable]] = [("tick", Tick(NOW, ""), "tick")]
        if bounds.deadlines and (state.active or not state.queue):
            events.append(("all deadlines pass", Tick(LATE, ""), "late"))
        if bounds.aborts and state.active:
            events.append(("abort", Aborted(NOW, "o", "", ""), "abort"))
        for name in bounds.detaches:
            if state.members[name].requirement is Requirement.REQUIRED:
                events.append((f"detach {name}", Detached(NOW, name, "o", "", ""), ("detach", name)))
        for number in world.messages:
            message = self.messages.values[number]
            if isinstance(message, Report):
                events.append((self._brief(number), message, number))
        for name, event, key in events:
            after = self._decide(world, event, key)
            if after is not world and self._within(after):
                yield name, after
            if isinstance(event, Aborted) and world.snapshot is not None:
                stale = self._decide(world._replace(env=world.snapshot), event, key)
                yield f"coordinator B: {name}", stale._replace(snapshot=None)
        converged = state.active is not None and state.active.state is RolloutState.CONVERGED
        if bounds.racing_coordinators and world.snapshot is None and converged:
            yield "coordinator B reads", world._replace(snapshot=world.env)
        if world.requests < len(bounds.causes):
            event = Requested(NOW, self._request(state, world.requests))
            after = self._decide(world, event, ("request", world.requests))
            yield f"request {world.requests + 1}", after._replace(requests=world.requests + 1)

    def _within(self, world: World) -> bool:
        return self.envs.values[world.env].epoch <= self.bounds.epochs

    def _request(self, state: Environment, index: int) -> Rollout:
        release = index + 1
        expected = {name: Expected(f"c{release}", "m") for name in self.bounds.names}
        required = frozenset(n for n, m in state.members.items() if m.requirement is Requirement.REQUIRED)
        return Rollout(
            id=f"r{release}",
            release=release,
            cause=self.bounds.causes[index],
            by="o",
            reason="",
            requested_at=NOW,
            required=required,
            optional=frozenset(self.bounds.names) - required,
            expected=expected,
            timing=TIMING,
        )

    def _decide(self, world: World, event: Event, key: Hashable) -> World:
        cached = self._decided.get((world.env, key))
        if cached is None:
            state = self.envs.values[world.env]
            if hasattr(event, "fresh_id"):
                event = replace(event, fresh_id=f"f{state.epoch + 1}")
            after, outputs = protocol.decide(state, event)
            if after.blocked:
                raise Violation(f"S0: a ledger that was never restored calls itself old: {after.blocked}")
            sent = tuple(self.messages.number(timeless(c)) for c in outputs if not isinstance(c, Alarm))
            cached = self._decided[world.env, key] = (self.envs.number(canonical(after)), sent)
        env, sent = cached
        if env == world.env and world.messages.issuperset(sent):
            return world
        return world._replace(env=env, messages=world.messages.union(sent))

    # A member

    def _member_steps(self, world: World, index: int) -> Iterator[tuple[str, World]]:
        name, store = self.bounds.names[index], world.stores[index]
        for number in world.messages:
            message = self.messages.values[number]
            if not isinstance(message, Report) and message.member == name:
                yield from self._receive(world, index, number)
        for loader in store.loaders:
            yield from self._load(world, index, loader)
        if self.bounds.greetings:
            row = self.rows.values[store.row]
            yield f"{name} says hello", self._say(world, self._report(name, row, Reply(ReplyKind.HELLO), None))
        for number in world.armed:
            flip = self.messages.values[number]
            assert isinstance(flip, Flip)
            if flip.member == name:
                yield from self._fire(world, index, number)
        if self.bounds.member_timers:
            yield from self._settle_alone(world, index)

    def _receive(self, world: World, index: int, number: int) -> Iterator[tuple[str, World]]:
        name, store = self.bounds.names[index], world.stores[index]
        command = self.messages.values[number]
        assert not isinstance(command, Report)
        before = self.rows.values[store.row]
        token = next(t for t in "stuvw" if t not in self._tokens(store))
        row_number, action = self._answer(store.row, number, token)
        row = self.rows.values[row_number]
        staged = store.staged | {row.staged_epoch} if row.staged_epoch is not None else store.staged
        after = _with_store(world, index, store._replace(row=row_number, staged=staged))
        label = self._brief(number)
        if isinstance(command, Flip) and self.bounds.blind_timers and row.flipped_epoch != before.flipped_epoch:
            yield f"{label}, and arms", world._replace(armed=world.armed | {number})
        match action:
            case Load():
                room = [tuple(x for x in store.loaders if x is not gone) for gone in store.loaders]
                for kept in [store.loaders] if len(store.loaders) < self.bounds.loaders else room:
                    begun = store._replace(row=row_number, staged=staged, loaders=(*kept, (action, False)))
                    yield label, _with_store(world, index, begun)
            case Reply():
                yield label, self._say(after, self._reply(row_number, action, number, name))
                if self.bounds.deaths and after != world:
                    yield f"{label}, dies", after
            case _:
                raise AssertionError("a flip is always at its time here")
        if self.bounds.refusals and isinstance(command, Stage) and isinstance(action, Load):
            refusal = Reply(ReplyKind.REFUSED, RefusalReason.PERMANENT)
            yield f"{label}, refuses", self._say(after, self._report(name, row, refusal, command))

    def _answer(self, row_number: int, number: int, token: str) -> tuple[int, table.Action]:
        cached = self._answered.get((row_number, number, token))
        if cached is None:
            row, command = self.rows.values[row_number], self.messages.values[number]
            assert not isinstance(command, Report)
            target = identity(command.release) if isinstance(command, Stage) else None
            outcome = table.answer(row, command, target=target, token=token, now=NOW)
            if command.epoch < row.floor and outcome.row != row:
                raise Violation(f"S3: {brief(command)} changed {command.member}, whose floor was {row.floor}")
            if isinstance(outcome.action, Reply) and outcome.action.reason is RefusalReason.NO_PREVIOUS:
                raise Violation(f"S5: {command.member} has no way back for {brief(command)}")
            cached = self._answered[row_number, number, token] = (self.rows.number(outcome.row), outcome.action)
        return cached

    def _load(self, world: World, index: int, loader: tuple[Load, bool]) -> Iterator[tuple[str, World]]:
        """The first batch, which tears the slot; then the last, with the commit. A cut load ends."""
        name, store = self.bounds.names[index], world.stores[index]
        load, wrote = loader
        row = self.rows.values[store.row]
        rest = tuple(x for x in store.loaders if x is not loader)
        position = "ab".index(load.slot)
        if not wrote:
            torn = table.tear(row, load)
            if torn is None:
                yield f"{name} stops a load", _with_store(world, index, store._replace(loaders=rest))
                return
            contents = _placed(store.contents, position, load.token)
            begun = store._replace(row=self.rows.number(torn), contents=contents, loaders=(*rest, (load, True)))
            yield f"{name} writes for epoch {load.epoch}", _with_store(world, index, begun)
            return
        release = row.online.release if load.settles else _RELEASE.get(load.rollout_id)
        assert release is not None
        whole = table.complete_load(row, load, identity=identity(release), manifest=None, certificate=f"c{release}")
        if whole is None:
            yield f"{name} drops a load", _with_store(world, index, store._replace(loaders=rest))
            return
        true = release if store.contents[position] == load.token else f"{load.token} over {store.contents[position]}"
        staged = store.staged | {load.epoch} if not load.settles else store.staged
        done = Store(self.rows.number(whole), _placed(store.contents, position, true), rest, staged)
        after = _with_store(world, index, done)
        reply = Reply(ReplyKind.SETTLED if load.settles else ReplyKind.STAGED)
        label = f"{name} commits its load for epoch {load.epoch}"
        yield label, self._say(after, self._report(name, whole, reply, load))
        if self.bounds.deaths:
            yield f"{label}, dies", after

    def _brief(self, number: int) -> str:
        if number not in self._briefs:
            self._briefs[number] = brief(self.messages.values[number])
        return self._briefs[number]

    def _reply(self, row_number: int, reply: Reply, number: int, name: str) -> Report:
        key = (row_number, reply, number)
        if key not in self._replies:
            command = self.messages.values[number]
            assert not isinstance(command, Report)
            self._replies[key] = self._report(name, self.rows.values[row_number], reply, command)
        return self._replies[key]

    def _say(self, world: World, report: Report) -> World:
        number = self.messages.number(report)
        return world if number in world.messages else world._replace(messages=world.messages | {number})

    def _report(self, name: str, row: MemberRow, reply: Reply, to: Command | Load | None) -> Report:
        epoch, rollout_id = (to.epoch, to.rollout_id) if to else (row.floor, row.floor_id)
        shows = row.online.identity.release if row.online.identity else 0
        head = (NOW, name, epoch, rollout_id, row.floor, shows, None, CLOCK, "")
        match reply.kind:
            case ReplyKind.STAGED:
                return Staged(*head, certificate=f"c{_RELEASE.get(rollout_id)}", mapping="m")
            case ReplyKind.FLIPPED:
                return Flipped(*head, flipped_at=NOW)
            case ReplyKind.REVERTED:
                return Reverted(*head)
            case ReplyKind.REFUSED:
                assert reply.reason is not None
                return Refused(*head, reason=reply.reason, text="")
            case ReplyKind.HELLO:
                return Hello(*head, flipped_epoch=row.flipped_epoch)
            case ReplyKind.SETTLED:
                return Settled(*head)

    def _tokens(self, store: Store) -> set[str | None]:
        row = self.rows.values[store.row]
        used: set[str | None] = {slot.token for slot in row.slots.values()}
        return used | {load.token for load, _ in store.loaders} | {c for c in store.contents if isinstance(c, str)}

    # Rules that were switched off outside of the tables

    def _fire(self, world: World, index: int, number: int) -> Iterator[tuple[str, World]]:
        """A timer that flips what it found when it was armed."""
        flip, store = self.messages.values[number], world.stores[index]
        assert isinstance(flip, Flip)
        row = self.rows.values[store.row]
        slot: SlotName = next((n for n, s in row.slots.items() if s.release == flip.release), row.active)
        row = row.model_copy(update={"active": slot, "back_slot": row.active, "flipped_epoch": flip.epoch})
        fired = _with_store(world, index, store._replace(row=self.rows.number(row)))
        yield f"{flip.member}'s timer strikes", fired._replace(armed=world.armed - {number})

    def _settle_alone(self, world: World, index: int) -> Iterator[tuple[str, World]]:
        """A member that brings its old slot up to date by a timer of its own."""
        store = world.stores[index]
        row = self.rows.values[store.row]
        if row.flipped_epoch == row.floor and row.shadow.release != row.online.release and not store.loaders:
            slot: SlotName = "b" if row.active == "a" else "a"
            load = Load(slot, "z", row.floor, row.floor_id, settles=True)
            slots = {**row.slots, slot: row.slots[slot].model_copy(update={"token": "z"})}
            begun = store._replace(
                row=self.rows.number(row.model_copy(update={"slots": slots})), loaders=((load, False),)
            )
            yield f"{self.bounds.names[index]} settles by itself", _with_store(world, index, begun)


_RELEASE = {f"r{release}": release for release in range(9)}
_Check = Callable[[Model, World], None]


def identity(release: int) -> SlotIdentity | None:
    """What a slot with a release holds."""
    return SlotIdentity(release=release, mapping="m", schema_="s") if release else None


def timeless(command: Command) -> Command:
    """A command without its times."""
    return replace(command, at=NOW, not_after=LATE) if isinstance(command, Flip) else command


def canonical(state: Environment) -> Environment:
    """An environment without times, texts and clocks: what `decide` goes by when time is abstracted away."""
    return replace(
        state,
        members={n: _canonical_member(m) for n, m in sorted(state.members.items())},
        queue=tuple(map(_canonical_rollout, state.queue)),
        active=_canonical_rollout(state.active) if state.active else None,
        last=_canonical_rollout(state.last) if state.last else None,
        pinned="pinned" if state.pinned else "",
        settlement=replace(state.settlement, due_at=NOW, sent_at=None) if state.settlement else None,
        ended=(),
    )


def _canonical_member(member: Member) -> Member:
    return replace(member, shadow=None, clock=CLOCK, heard_at=NOW, worked_at=None, asked_at=None)


def _canonical_rollout(rollout: Rollout) -> Rollout:
    def moment(at: datetime | None) -> datetime | None:
        return NOW if at else None

    answers = {
        name: Answer(a.staged, a.from_release, moment(a.flipped_at), a.reverted, a.lagging)
        for name, a in sorted(rollout.answers.items())
    }
    return replace(
        rollout,
        started_at=moment(rollout.started_at),
        deadline=SOON if rollout.deadline else None,
        converged_at=None,
        decided_at=None,
        flip_at=None,
        reverting_at=None,
        ended_at=moment(rollout.ended_at),
        outcome="",
        skew_ms=None,
        skew_uncertainty_ms=None,
        answers={} if rollout.state in _SILENT else answers,
    )


_SILENT = frozenset({RolloutState.QUEUED, RolloutState.ABANDONED})


def brief(message: Command | Report) -> str:
    """A message in a trace."""
    kind = type(message).__name__.lower()
    reason = f" ({message.reason.value})" if isinstance(message, Refused) else ""
    return f"{kind} e{message.epoch}{reason} {'of' if isinstance(message, Report) else 'for'} {message.member}"


def _placed(contents: tuple[int | str, int | str], position: int, new: int | str) -> tuple[int | str, int | str]:
    return (new, contents[1]) if position == 0 else (contents[0], new)


def _with_store(world: World, index: int, store: Store) -> World:
    return world._replace(stores=(*world.stores[:index], store, *world.stores[index + 1 :]))
