"""A small world around the real rule-book: the coordinator's state, members' rows, and all that was ever sent.

What is abstracted. *The network* is the set of all messages ever sent: each may arrive at any time, in any order, any
number of times or never. *Kills*: every transaction is one step; a loader that goes no further was killed, and a
report that its member died before sending is one that never arrives. A member may greet at any time, and answer
something long over: both reports count as sent whenever its row changes. *Loads* are torn from their first batch to
their commit, by up to two loaders per member; the true content of a slot is kept beside the row, so that a row that
lies is found. *Time* is gone: every moment is rewritten to one, a tick is either "nothing is due but reminders" or
"every deadline has passed", and a flip is always at its time. *Ids* are named after the epoch that they come with. A
certificate is the release's number, or wrong.

Everything is interned, so that a step is computed by the real functions once and looked up ever after.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from distributor.rollout import protocol
from distributor.rollout.commands import Alarm, Command
from distributor.rollout.events import (
    Aborted,
    Detached,
    Event,
    HoldPlaced,
    HoldReleased,
    MembersConfigured,
    Report,
    Requested,
    Tick,
)
from distributor.rollout.state import Cause, Environment, Expected, Requirement, Rollout, RolloutState
from tests.rollout.canonical import LATE, NOW, TIMING, Interner, brief, canonical, timeless

Wish = tuple[Cause, int]
"""A request: who asks, and for which release."""
DEPLOY_1: tuple[Wish, ...] = ((Cause.OPERATOR, 1),)
DEPLOY_2: tuple[Wish, ...] = ((Cause.OPERATOR, 1), (Cause.OPERATOR, 2))


class Violation(AssertionError):
    """An invariant does not hold; the text begins with its name."""


class World(NamedTuple):
    """Everything, as numbers. `bag` and `armed` are sets of messages, one bit for each.

    `snapshot` (what a second coordinator has read) and `armed` (timers of flips) serve broken rules only.
    """

    env: int
    stores: tuple[int, ...]
    bag: int = 0
    requests: int = 0
    snapshot: int | None = None
    armed: int = 0


class Step(NamedTuple):
    """What may happen next. `flipped`: the epoch under which a member has just flipped."""

    name: str
    world: World
    flipped: int | None = None


@dataclass(slots=True)
class Bounds:
    """What may happen in a walk. An epoch above `epochs` is not handed out.

    `start`: what a member shows at first (0); `loaded`: every shadow holds release 1 already. `misfits`: a load may
    store something else than it should, which its certificate tells. The last four break rules.
    """

    required: tuple[str, ...] = ("a", "b")
    optional: tuple[str, ...] = ()
    wishes: tuple[Wish, ...] = DEPLOY_2
    epochs: int = 3
    loaders: int = 2
    aborts: bool = True
    deadlines: bool = True
    holds: bool = False
    refusals: bool = False
    misfits: bool = False
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


class Post:
    """Every message that was ever sent in a walk, by its bit, sorted by whom it is for."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._interned: Interner[Command | Report] = Interner()
        self.reports = 0
        self.commands = dict.fromkeys(names, 0)
        self.briefs: list[str] = []

    def __getitem__(self, number: int) -> Command | Report:
        return self._interned.values[number]

    def __len__(self) -> int:
        return len(self._interned.values)

    def bit(self, message: Command | Report) -> int:
        """The message as a set of one."""
        number = self._interned.number(message)
        bit = 1 << number
        if number == len(self.briefs):
            self.briefs.append(brief(message))
            if isinstance(message, Report):
                self.reports |= bit
            else:
                self.commands[message.member] |= bit
        return bit


def each(bits: int) -> Iterator[int]:
    """The numbers in a set."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


class Office:
    """The coordinator's steps, by the real `decide`."""

    def __init__(self, bounds: Bounds, post: Post) -> None:
        self.bounds, self.post = bounds, post
        self.envs: Interner[Environment] = Interner()
        self.release_of = {f"r{n + 1}": release for n, (_, release) in enumerate(bounds.wishes)}
        self._decided: dict[tuple[int, Hashable], tuple[int, int]] = {}

    def first(self) -> int:
        """Configured, nothing asked for."""
        members = dict.fromkeys(self.bounds.required, Requirement.REQUIRED)
        members |= dict.fromkeys(self.bounds.optional, Requirement.OPTIONAL)
        env, _ = protocol.decide(Environment("e"), MembersConfigured(NOW, members, follow=True))
        for name in self.bounds.names:
            shows = self.bounds.start.get(name, 0)
            env = replace(env, members={**env.members, name: replace(env.members[name], shows=shows)})
        return self.envs.number(canonical(env))

    def steps(self, world: World) -> Iterator[Step]:
        """Everything that may happen to the coordinator."""
        state, bounds = self.envs.values[world.env], self.bounds
        for name, event in self._happenings(state):
            after = self.decide(world, event, name)
            if after is not world and self._within(after):
                yield Step(name, after)
            if isinstance(event, Aborted) and world.snapshot is not None:
                stale = self.decide(world._replace(env=world.snapshot), event, name)
                yield Step(f"coordinator B: {name}", stale._replace(snapshot=None))
        for number in each(world.bag & self.post.reports):
            after = self.hear(world, number)
            if after is not world and self._within(after):
                yield Step(self.post.briefs[number], after)
        converged = state.active is not None and state.active.state is RolloutState.CONVERGED
        if bounds.racing_coordinators and world.snapshot is None and converged:
            yield Step("coordinator B reads", world._replace(snapshot=world.env))
        if world.requests < len(bounds.wishes):
            event = Requested(NOW, self._request(state, world.requests))
            after = self.decide(world, event, ("request", world.requests))
            yield Step(f"request {world.requests + 1}", after._replace(requests=world.requests + 1))

    def tick(self, world: World) -> World:
        """Time passes, and nothing is due but reminders."""
        return self.decide(world, Tick(NOW, ""), "tick")

    def release(self, world: World) -> World:
        """Every hold ends."""
        return self.decide(world, HoldReleased(NOW), "hold ends")

    def hear(self, world: World, number: int) -> World:
        """A report arrives."""
        report = self.post[number]
        assert isinstance(report, Report)
        return self.decide(world, report, number)

    def decide(self, world: World, event: Event, key: Hashable) -> World:
        """One event; the same world when nothing came of it."""
        cached = self._decided.get((world.env, key))
        if cached is None:
            cached = self._decided[world.env, key] = self._decide(self.envs.values[world.env], event)
        env, sent = cached
        if env == world.env and not sent & ~world.bag:
            return world
        return world._replace(env=env, bag=world.bag | sent)

    def _decide(self, state: Environment, event: Event) -> tuple[int, int]:
        if hasattr(event, "fresh_id"):
            event = replace(event, fresh_id=f"f{state.epoch + 1}")
        after, outputs = protocol.decide(state, event)
        if after.blocked:
            raise Violation(f"S0: a ledger that was never restored calls itself old: {after.blocked}")
        one_at_a_time(state, after)
        remembers_flips(after)
        sent = 0
        for output in outputs:
            sent |= 0 if isinstance(output, Alarm) else self.post.bit(timeless(output))
        return self.envs.number(canonical(after)), sent

    def _happenings(self, state: Environment) -> Iterator[tuple[str, Event]]:
        bounds = self.bounds
        yield "tick", Tick(NOW, "")
        if bounds.deadlines and (state.active or not state.queue):
            yield "all deadlines pass", Tick(LATE, "")
        if bounds.aborts and state.active:
            yield "abort", Aborted(NOW, "o", "", "")
        if bounds.holds:
            yield ("hold ends", HoldReleased(NOW)) if state.holds else ("hold", HoldPlaced(NOW, "q", ""))
        for name in bounds.detaches:
            if state.members[name].requirement is Requirement.REQUIRED:
                yield f"detach {name}", Detached(NOW, name, "o", "", "")

    def _within(self, world: World) -> bool:
        return self.envs.values[world.env].epoch <= self.bounds.epochs

    def _request(self, state: Environment, index: int) -> Rollout:
        cause, release = self.bounds.wishes[index]
        required = frozenset(n for n, m in state.members.items() if m.requirement is Requirement.REQUIRED)
        return Rollout(
            id=f"r{index + 1}",
            release=release,
            cause=cause,
            by="o",
            reason="",
            requested_at=NOW,
            required=required,
            optional=frozenset(self.bounds.names) - required,
            expected={name: Expected(f"c{release}", "m") for name in self.bounds.names},
            timing=TIMING,
        )


def one_at_a_time(before: Environment, after: Environment) -> None:
    """S6: one rollout of an environment is active, until it has ended; an epoch is handed out once."""
    old, new = before.active, after.active
    if new and (new.state.ended or new.state is RolloutState.QUEUED or (old and old.id != new.id)):
        raise Violation(f"S6: {new.id} is {new.state.value} while {old.id if old else 'nothing'} was active")
    if old and not new and (not after.last or after.last.id != old.id or not after.last.state.ended):
        raise Violation(f"S6: {old.id} is gone, and has not ended")
    if any(waiting.state is not RolloutState.QUEUED for waiting in after.queue) or after.epoch < before.epoch:
        raise Violation("S6: what waits is under way, or an epoch was taken back")


def remembers_flips(state: Environment) -> None:
    """S8: no report from before a flip hides it once it is known."""
    rollout = state.active or state.last
    for name, answer in rollout.answers.items() if rollout else ():
        member = state.members[name]
        if rollout and answer.flipped_at and member.floor == rollout.epoch and member.shows != rollout.release:
            raise Violation(f"S8: {name} has flipped to {rollout.release}, and is taken to show {member.shows}")
