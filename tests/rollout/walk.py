"""Walks every state that the world can reach, breadth first, and holds the invariants against each.

`python -m tests.rollout.walk --required a,b,c --epochs 4` walks further than the test does.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from dataclasses import dataclass

from distributor.rollout.events import Report
from distributor.rollout.state import Cause, Requirement, RolloutState
from tests.rollout.world import Bounds, Model, Violation, World

_UNSETTLED = (RolloutState.FLIPPING, RolloutState.REVERTING)


@dataclass(slots=True)
class Walked:
    """How far a walk came. `complete`: no state within the bounds was left out."""

    states: int
    steps: int
    complete: bool


def walk(bounds: Bounds, *, limit: int = 10_000_000, fair_every: int = 0, prune: bool = True) -> Walked:
    """Visits up to `limit` states. From each `fair_every`-th a fair schedule must end.

    `prune` forgets messages that can never do anything again; not with rules switched off, which may revive them.
    Raises Violation with the shortest trace to it.
    """
    model = Model(bounds)
    memory = Memory(model)
    checked = set()
    first = model.first()
    came_from: dict[World, tuple[World, str] | None] = {first: None}
    waiting = deque([first])
    steps = visited = 0
    while waiting and visited < limit:
        world = waiting.popleft()
        visited += 1
        where = "a fair schedule from here"
        try:
            if (world.env, world.stores) not in checked:
                check(model, world)
                checked.add((world.env, world.stores))
            if fair_every and visited % fair_every == 0:
                ends(model, world)
            where = ""
            for name, after in model.steps(world):
                steps += 1
                check_step(model, world, after, name)
                known = memory.forget(after) if prune else after
                if known not in came_from:
                    came_from[known] = (world, name)
                    waiting.append(known)
        except Violation as violation:
            trace = "\n".join([*_trace(came_from, world), *([where] if where else [])])
            raise Violation(f"{violation}\n{trace}") from None
    return Walked(len(came_from), steps, not waiting)


def check(model: Model, world: World) -> None:
    """The invariants of a state."""
    state = model.envs.values[world.env]
    unsettled = state.active is not None and state.active.state in _UNSETTLED
    for name, store in zip(model.bounds.names, world.stores, strict=True):
        row = model.rows.values[store.row]
        shows = store.contents["ab".index(row.active)]
        if not row.online.intact or shows != row.online.release:
            raise Violation(f"S4: readers of {name} see {shows}, its row says {row.online.release}")
        if not unsettled and state.members[name].requirement is Requirement.REQUIRED and shows != state.shown:
            raise Violation(f"S2: {name} shows {shows}, the environment {state.shown}")
        if unsettled and state.active and row.flipped_epoch == state.active.epoch:
            back = store.contents["ab".index(row.back_slot)] if row.back_slot else None
            if name in state.active.required and back != state.active.from_release:
                raise Violation(f"S5: {name} would go back to {back}, not to {state.active.from_release}")
        if row.flipped_epoch in state.void and (row.staged_epoch is not None or row.shadow.token):
            raise Violation(f"S7: {name} stages beside a release that was withdrawn")


def check_step(model: Model, before: World, after: World, name: str) -> None:
    """S1: a flip needs that every required member has staged under its epoch."""
    if before.stores == after.stores:
        return
    state = model.envs.values[after.env]
    for old, new in zip(before.stores, after.stores, strict=True):
        if old.row == new.row:
            continue
        was, row = model.rows.values[old.row], model.rows.values[new.row]
        if row.flipped_epoch is None or row.flipped_epoch == was.flipped_epoch:
            continue
        for other, store in zip(model.bounds.names, after.stores, strict=True):
            required = state.members[other].requirement is Requirement.REQUIRED
            if required and row.flipped_epoch not in store.staged:
                raise Violation(f"S1: {name}, but {other} never staged under epoch {row.flipped_epoch}")


class Memory:
    """Drops commands below their member's floor and reports of rollouts that are neither active nor the last.

    Sound while rules stand: floors and epochs only rise. That such a command changes nothing is S3, held against
    every pair of row and command that was met before it was dropped.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._alive: dict[tuple[int, int, tuple[int, ...]], bool] = {}

    def forget(self, world: World) -> World:
        """The world with the messages that still can do something."""
        rows = tuple(store.row for store in world.stores)
        dead = {number for number in world.messages if not self._is_alive(number, world.env, rows)}
        return world._replace(messages=world.messages - dead) if dead else world

    def _is_alive(self, number: int, env: int, rows: tuple[int, ...]) -> bool:
        key = (number, env, rows)
        if key not in self._alive:
            message = self._model.messages.values[number]
            if isinstance(message, Report):
                self._alive[key] = self._report_is_alive(message, env)
            else:
                row = self._model.rows.values[rows[self._model.bounds.names.index(message.member)]]
                self._alive[key] = message.epoch >= row.floor
        return self._alive[key]

    def _report_is_alive(self, report: Report, env: int) -> bool:
        state = self._model.envs.values[env]
        current = [rollout for rollout in (state.active, state.last) if rollout]
        names = {(r.id, r.epoch) for r in current} | {(r.revert_id, r.revert_epoch) for r in current}
        newer = report.floor > state.members[report.member].floor or report.epoch >= state.epoch
        return newer or (report.rollout_id, report.epoch) in names


def ends(model: Model, world: World, rounds: int = 30) -> None:
    """Liveness: with everybody up, every message delivered and no more requests, nothing stays active or queued."""
    for _ in range(rounds):
        state = model.envs.values[world.env]
        if state.active is None and not state.queue:
            return
        world = model.load_on(model.tick(world))
        for number in sorted(world.messages, reverse=True):
            message = model.messages.values[number]
            if isinstance(message, Report) or message.epoch >= _floor(model, world, message.member):
                world = model.load_on(model.deliver(world, number))
    state = model.envs.values[world.env]
    raise Violation(f"liveness: the environment is still {state.active.state if state.active else 'queued'}")


def _floor(model: Model, world: World, name: str) -> int:
    return model.rows.values[world.stores[model.bounds.names.index(name)].row].floor


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
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--releases", type=int, default=2)
    parser.add_argument("--loaders", type=int, default=2)
    parser.add_argument("--limit", type=int, default=10_000_000)
    parser.add_argument("--refusals", action="store_true")
    parser.add_argument("--greetings", action="store_true")
    parser.add_argument("--detach", default="")
    parser.add_argument("--fair-every", type=int, default=50)
    given = parser.parse_args()
    bounds = Bounds(
        required=tuple(given.required.split(",")),
        optional=tuple(filter(None, given.optional.split(","))),
        causes=(Cause.OPERATOR,) * given.releases,
        epochs=given.epochs,
        loaders=given.loaders,
        refusals=given.refusals,
        greetings=given.greetings,
        detaches=tuple(filter(None, given.detach.split(","))),
    )
    began = time.monotonic()
    walked = walk(bounds, limit=given.limit, fair_every=given.fair_every)
    print(f"{walked} in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
