"""Walks every state that the world can reach, breadth first, and holds the invariants against each.

`python -m tests.rollout.walk --required a,b,c --epochs 2` walks further than the tests do; docs/protocol-walk.md has
the bounds that were walked, and how many states each has.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from distributor.rollout.events import Hello, Report
from distributor.rollout.state import Cause, Requirement, RolloutState
from tests.rollout.members import MIXED, WRONG, Members
from tests.rollout.world import Bounds, Office, Post, Step, Violation, World, each

_UNSETTLED = (RolloutState.FLIPPING, RolloutState.REVERTING)


@dataclass(slots=True)
class Walked:
    """How far a walk came. `complete`: no state within the bounds was left out.

    `settings` are states without the messages under way: liveness is held against each of these.
    """

    states: int
    steps: int
    settings: int
    complete: bool


class Model:
    """The world's steps: one of the coordinator, or of one member."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.post = Post(bounds.names)
        self.office = Office(bounds, self.post)
        self.members = Members(bounds, self.post, self.office.release_of)

    def first(self) -> World:
        """Nothing was said yet."""
        return World(self.office.first(), tuple(map(self.members.first, self.bounds.names)))

    def steps(self, world: World) -> Iterator[Step]:
        """Everything that may happen next."""
        yield from self.office.steps(world)
        for index, store in enumerate(world.stores):
            name = self.bounds.names[index]
            for number in each(world.bag & self.post.commands[name]):
                yield from self._steps(world, index, number)
            for effect in self.members.go_on(store):
                yield Step(effect.name, _with(world, index, effect.store, effect.said), effect.flipped)
            for number in each(world.armed & self.post.commands[name]):
                fired = self.members.fire(store, number)
                after = _with(world, index, fired.store, 0)._replace(armed=world.armed & ~(1 << number))
                yield Step(fired.name, after, fired.flipped)

    def deliver(self, world: World, number: int) -> World:
        """One message arrives, at a coordinator or at its member; the answer is sent."""
        message = self.post[number]
        if isinstance(message, Report):
            return self.office.hear(world, number)
        return next(iter(self._steps(world, self.bounds.names.index(message.member), number))).world

    def load_on(self, world: World) -> World:
        """All loaders run to their end, and store what they should."""
        for index in range(len(world.stores)):
            while self.members.stores.values[world.stores[index]].loaders:
                effect = self.members.go_on(world.stores[index])[0]
                world = _with(world, index, effect.store, effect.said)
        return world

    def _steps(self, world: World, index: int, number: int) -> Iterator[Step]:
        for effect in self.members.receive(world.stores[index], number):
            after = _with(world, index, effect.store, effect.said)
            if effect.armed:
                after = after._replace(armed=world.armed | 1 << number)
            yield Step(effect.name, after, effect.flipped)


def walk(
    bounds: Bounds, *, limit: int = 100_000_000, live: bool = True, prune: bool = True, greatest: bool = True
) -> Walked:
    """Visits up to `limit` states; `live`: from each of them every rollout must be able to end, whatever was lost.

    `prune` forgets what can never do anything again; not with rules switched off, which may revive it. `greatest`
    leaves out a state that differs from a known one only by messages that were not sent: a message need not arrive,
    so whatever can follow here can follow there. Raises Violation with the trace to it.
    """
    model = Model(bounds)
    memory = Memory(model)
    first = model.first()
    came_from: dict[World, tuple[World, str] | None] = {first: None}
    bags: dict[World, list[int]] = {}
    checked: set[World] = set()
    alive: set[World] = set()
    waiting = deque([first])
    states = steps = 0
    while waiting and states < limit:
        world = waiting.popleft()
        setting = world._replace(bag=0)
        if greatest and any(world.bag != bag and not world.bag & ~bag for bag in bags.get(setting, ())):
            continue
        states += 1
        where = ""
        try:
            if setting not in checked:
                check(model, setting)
                checked.add(setting)
                where = "then all messages are lost and all loaders are killed"
                if live:
                    ends(model, setting, alive)
                where = ""
            for name, after, flipped in model.steps(world):
                steps += 1
                if flipped is not None:
                    check_flip(model, after, flipped, name)
                known = memory.forget(after) if prune else after
                if known in came_from:
                    continue
                if greatest:
                    others = bags.setdefault(known._replace(bag=0), [])
                    if any(not known.bag & ~bag for bag in others):
                        continue
                    others[:] = [bag for bag in others if bag & ~known.bag]
                    others.append(known.bag)
                came_from[known] = (world, name)
                waiting.append(known)
        except Violation as violation:
            trace = "\n".join([*_trace(came_from, world), *([where] if where else [])])
            raise Violation(f"{violation}\n{trace}") from None
    return Walked(states, steps, len(checked), not waiting)


def check(model: Model, world: World) -> None:
    """The invariants of a state."""
    state = model.office.envs.values[world.env]
    unsettled = state.active is not None and state.active.state in _UNSETTLED
    for name, number in zip(model.bounds.names, world.stores, strict=True):
        store, row = model.members.stores.values[number], model.members.row(number)
        shows = store.contents["ab".index(row.active)]
        if not row.online.intact or shows != row.online.release:
            seen = shows if isinstance(shows, int) or shows in (MIXED, WRONG) else "half a load"
            raise Violation(f"S4: readers of {name} see {seen}, its row says {row.online.release}")
        if not unsettled and state.members[name].requirement is Requirement.REQUIRED and shows != state.shown:
            raise Violation(f"S2: {name} shows {shows}, the environment {state.shown}")
        if unsettled and state.active and row.flipped_epoch == state.active.epoch:
            back = store.contents["ab".index(row.back_slot)] if row.back_slot else None
            if name in state.active.required and back != state.active.from_release:
                raise Violation(f"S5: {name} would go back to {back}, not to {state.active.from_release}")
        if row.flipped_epoch in state.void and (row.staged_epoch is not None or row.shadow.token):
            raise Violation(f"S7: {name} stages beside a release that was withdrawn")


def check_flip(model: Model, after: World, epoch: int, name: str) -> None:
    """S1: a flip needs that every required member has staged under its epoch."""
    state = model.office.envs.values[after.env]
    for other, store in zip(model.bounds.names, after.stores, strict=True):
        required = state.members[other].requirement is Requirement.REQUIRED
        if required and epoch not in model.members.stores.values[store].staged:
            raise Violation(f"S1: {name}, but {other} never staged under epoch {epoch}")


class Memory:
    """Drops commands below their member's floor, reports that tell nothing any more, and loads that were cut.

    Sound while rules stand: floors and epochs only rise, and tokens are fresh. That such a command changes nothing is
    S3, held against every pair of row and command that was met before it was dropped; its answer, which tells what
    the member shows, is among those that a member with greetings sends whenever its row changes.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._known: dict[tuple[str, int], tuple[int, int]] = {}

    def forget(self, world: World) -> World:
        """The world with what still can do something."""
        model = self._model
        bag = world.bag & (self._mask("", world.env) | ~model.post.reports)
        for name, store in zip(model.bounds.names, world.stores, strict=True):
            bag &= self._mask(name, model.members.row(store).floor) | ~model.post.commands[name]
        stores = tuple(model.members.without(store, idle=False) for store in world.stores)
        return world._replace(bag=bag, stores=stores)

    def _mask(self, name: str, at: int) -> int:
        """Messages to a member with that floor ("": reports to that environment) that can do something."""
        seen, mask = self._known.get((name, at), (0, 0))
        post = self._model.post
        if seen < len(post):
            for number in range(seen, len(post)):
                message = post[number]
                if isinstance(message, Report):
                    able = not name and self._tells(message, at)
                else:
                    able = message.member == name and message.epoch >= at
                mask |= able << number
            self._known[name, at] = (len(post), mask)
        return mask

    def _tells(self, report: Report, env: int) -> bool:
        state = self._model.office.envs.values[env]
        if isinstance(report, Hello) or report.floor >= state.members[report.member].floor:
            return True
        current = [rollout for rollout in (state.active, state.last) if rollout]
        names = {(r.id, r.epoch) for r in current} | {(r.revert_id, r.revert_epoch) for r in current}
        names |= {(s.id, s.epoch) for s in (state.settlement,) if s}
        return report.epoch >= state.epoch or (report.rollout_id, report.epoch) in names


def ends(model: Model, world: World, known: set[World], rounds: int = 30) -> None:
    """Liveness: all messages lost and all loaders killed, then everybody up and nothing lost any more.

    With no more requests and holds, and without a word from the members that they are back, nothing may stay active
    or queued, and the required members must show one release. `known` has worlds from which that is so already.
    """
    world = world._replace(stores=tuple(model.members.without(store, idle=True) for store in world.stores))
    world = model.office.release(world)
    passed = []
    for _ in range(rounds):
        if world in known:
            break
        passed.append(world)
        state = model.office.envs.values[world.env]
        if state.active is None and not state.queue:
            break
        world = model.load_on(model.office.tick(world))
        for number in sorted(each(world.bag), reverse=True):
            message = model.post[number]
            if isinstance(message, Report) or message.epoch >= _floor(model, world, message.member):
                world = model.load_on(model.deliver(world, number))
    else:
        state = model.office.envs.values[world.env]
        raise Violation(f"liveness: the environment is still {state.active.state if state.active else 'queued'}")
    check(model, world)
    known.update(passed)


def _floor(model: Model, world: World, name: str) -> int:
    return model.members.row(world.stores[model.bounds.names.index(name)]).floor


def _with(world: World, index: int, store: int, said: int) -> World:
    stores = (*world.stores[:index], store, *world.stores[index + 1 :])
    return World(world.env, stores, world.bag | said, world.requests, world.snapshot, world.armed)


def _trace(came_from: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    names = []
    while (step := came_from[world]) is not None:
        world, name = step
        names.append(name)
    return names[::-1]


def main() -> None:
    """Walks as far as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--required", default="a,b")
    parser.add_argument("--optional", default="")
    parser.add_argument("--detach", default="")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--releases", default="1,2", help="asked for one after the other; 2,1b is a rollback to 1")
    parser.add_argument("--loaders", type=int, default=2)
    parser.add_argument("--limit", type=int, default=100_000_000)
    for name in ("refusals", "misfits", "greetings", "holds", "loaded"):
        parser.add_argument(f"--{name}", action="store_true")
    for name in ("aborts", "deadlines", "live", "prune", "greatest"):
        parser.add_argument(f"--no-{name}", dest=name, action="store_false")
    given = parser.parse_args()
    wishes = [(Cause.ROLLBACK, w[:-1]) if w.endswith("b") else (Cause.OPERATOR, w) for w in given.releases.split(",")]
    bounds = Bounds(
        required=tuple(given.required.split(",")),
        optional=tuple(filter(None, given.optional.split(","))),
        detaches=tuple(filter(None, given.detach.split(","))),
        wishes=tuple((cause, int(release)) for cause, release in wishes),
        **{n: getattr(given, n) for n in ("epochs", "loaders", "aborts", "deadlines", "holds", "refusals", "misfits")},
        greetings=given.greetings,
        loaded=given.loaded,
    )
    began = time.process_time()
    walked = walk(bounds, limit=given.limit, live=given.live, prune=given.prune, greatest=given.greatest)
    whole = "complete" if walked.complete else "cut short"
    counts = f"{walked.states:,} states, {walked.settings:,} settings, {walked.steps:,} steps"
    print(f"{counts}, {whole}, in {time.process_time() - began:.0f} s of one core")


if __name__ == "__main__":
    main()
