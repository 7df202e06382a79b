"""Chance picks what happens to a whole environment; the invariants hold after every step, and every rollout ends.

`python -m tests.rollout.test_machine --examples 20000` looks for longer, with other chances each time.
"""

from __future__ import annotations

import argparse
from datetime import timedelta

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from distributor.rollout.commands import Command, Flip, Revert, Stage
from distributor.rollout.events import (
    Aborted,
    Detached,
    Flipped,
    HoldPlaced,
    HoldReleased,
    RefusalReason,
    Report,
    Reverted,
    Staged,
)
from distributor.rollout.state import Cause, Requirement
from tests.rollout.estate import Estate, Loader
from tests.rollout.world import Violation

_ANY = st.integers(0, 60)
_NAMES = st.sampled_from("abcd")
_TIMES = st.sampled_from([0, 1, 6, 6, 20, 40, 150, 400]).map(lambda seconds: timedelta(seconds=seconds))
_AHEAD = st.lists(st.sampled_from([-5, 0, 0, 5]), min_size=4, max_size=4)
_REASONS = st.sampled_from([RefusalReason.RETRYABLE, RefusalReason.PERMANENT])
_CAUSES = st.sampled_from([Cause.AUTO, Cause.OPERATOR, Cause.OPERATOR, Cause.REFRESH, Cause.ROLLBACK])
_ALL = (Command, Report)
_KINDS = st.sampled_from([(Stage, Staged), (Flip, Flipped), (Flip,), (Revert, Reverted), (Revert,), (Report,), _ALL])
_MEDDLING = ["abort", "abort", "call off", "detach", "hold", "release", "restart", "required", "optional"]
_ROUNDS = 40
_SOON = timedelta(seconds=6)


class Machine(RuleBasedStateMachine):
    """Two to four members; the first is required."""

    @initialize(required=st.integers(1, 3), optional=st.integers(0, 1), ahead=_AHEAD)
    def begin(self, required: int, optional: int, ahead: list[int]) -> None:
        optional = optional if required > 1 else 1
        members = dict.fromkeys("abc"[:required], Requirement.REQUIRED)
        members |= dict.fromkeys("d"[:optional], Requirement.OPTIONAL)
        self.estate = Estate(members, {n: timedelta(seconds=s) for n, s in zip("abcd", ahead, strict=True)})
        self.names = "".join(members)

    def _one_of(self, name: str) -> str:
        return self.names["abcd".index(name) % len(self.names)]

    @property
    def _loaders(self) -> list[tuple[str, Loader]]:
        return [(name, loader) for name, site in self.estate.sites.items() for loader in site.loaders]

    @precondition(lambda self: not self.estate.state.queue)
    @rule(cause=_CAUSES, any_=_ANY, narrow=st.booleans(), name=_NAMES, meanwhile=st.sampled_from([False, False, True]))
    def request(self, cause: Cause, any_: int, narrow: bool, name: str, meanwhile: bool) -> None:
        estate = self.estate
        if estate.state.active and not meanwhile:
            return
        systems: frozenset[str] = frozenset()
        release = 1 + any_ % estate.published
        if cause is Cause.AUTO:
            estate.published += 1
            release = estate.published
        elif cause is Cause.ROLLBACK:
            release = any_ % (estate.state.shown or 1)
        elif cause is Cause.REFRESH and narrow:
            systems, release = frozenset(self._one_of(name)), estate.state.shown
        estate.request(cause, release, systems)

    @rule(passed=_TIMES)
    def tick(self, passed: timedelta) -> None:
        self.estate.tick(passed)

    @rule(kinds=_KINDS, name=st.none() | _NAMES)
    def some_arrive(self, kinds: tuple[type, ...], name: str | None) -> None:
        self.estate.arrive(kinds, self._one_of(name) if name else self.names)

    @rule(but=st.none() | _NAMES, often=st.integers(1, 2))
    def all_stage_but_perhaps_one(self, but: str | None, often: int) -> None:
        for _ in range(often):
            self.estate.tick(timedelta(seconds=1))
            self.estate.arrive((Stage, Staged), self.names.replace(self._one_of(but), "") if but else self.names)
        self.estate.tick(timedelta(seconds=1))

    @rule(passed=_TIMES, often=st.integers(1, 3), but=st.none() | _NAMES)
    def all_is_well_but_perhaps_for_one(self, passed: timedelta, often: int, but: str | None) -> None:
        well = self.names.replace(self._one_of(but), "") if but else self.names
        for name in well:
            if not self.estate.sites[name].up:
                self.estate.start(name)
        for _ in range(often):
            self.estate.tick(passed)
            self.estate.arrive(_ALL, well)

    @precondition(lambda self: self.estate.post)
    @rule(any_=_ANY)
    def one_arrives(self, any_: int) -> None:
        self.estate.deliver(self.estate.post[any_ % len(self.estate.post)])

    @precondition(lambda self: self.estate.sent)
    @rule(kinds=_KINDS, back=st.integers(0, 7))
    def one_arrives_late_or_again(self, kinds: tuple[type, ...], back: int) -> None:
        if sent := [message for message in self.estate.sent if isinstance(message, kinds)]:
            self.estate.deliver(sent[-1 - back % len(sent)])

    @precondition(lambda self: self.estate.post)
    @rule(any_=_ANY, all_=st.booleans())
    def some_are_lost(self, any_: int, all_: bool) -> None:
        lost = list(self.estate.post) if all_ else [self.estate.post[any_ % len(self.estate.post)]]
        for message in lost:
            self.estate.forget(message)

    @precondition(lambda self: self.estate.post)
    @rule(any_=_ANY, refuses=st.none() | _REASONS)
    def one_is_refused_or_kills(self, any_: int, refuses: RefusalReason | None) -> None:
        self.estate.deliver(self.estate.post[any_ % len(self.estate.post)], dies=not refuses, refuses=refuses)

    @precondition(lambda self: self._loaders)
    @rule(any_=_ANY, at_once=st.booleans(), wrong=st.sampled_from([False, False, False, True]))
    def load_on(self, any_: int, at_once: bool, wrong: bool) -> None:
        name, loader = self._loaders[any_ % len(self._loaders)]
        self.estate.load_on(name, loader, at_once=at_once, wrong=wrong)

    @precondition(lambda self: self._loaders)
    @rule(any_=_ANY, reason=_REASONS)
    def fail_a_load(self, any_: int, reason: RefusalReason) -> None:
        name, loader = self._loaders[any_ % len(self._loaders)]
        self.estate.fail(name, loader, reason)

    @rule(name=_NAMES, up=st.booleans())
    def crash_or_start(self, name: str, up: bool) -> None:
        act = self.estate.start if up else self.estate.crash
        act(self._one_of(name))

    @rule(what=st.sampled_from(_MEDDLING), name=_NAMES, until=st.none() | _TIMES)
    def somebody_meddles(self, what: str, name: str, until: timedelta | None) -> None:
        estate, now = self.estate, self.estate.now
        match what:
            case "abort" | "call off":
                wanted = estate.state.queue[0].id if what == "call off" and estate.state.queue else None
                estate.feed(Aborted(now, "o", "", estate.fresh(), wanted))
            case "detach":
                estate.feed(Detached(now, self._one_of(name), "o", "", estate.fresh()))
            case "hold":
                estate.feed(HoldPlaced(now, "qa", "", now + until if until is not None else None))
            case "release":
                estate.feed(HoldReleased(now))
            case "restart":
                estate.restart()
            case _:
                estate.config[self._one_of(name)] = Requirement(what)
                estate.restart()

    @invariant()
    def nothing_is_broken(self) -> None:
        if hasattr(self, "estate"):
            self.estate.check()

    def teardown(self) -> None:
        """Members back, holds over, nothing lost any more: every rollout ends, and all required members are equal."""
        if not hasattr(self, "estate"):
            return
        estate = self.estate
        estate.feed(HoldReleased(estate.now))
        for name in estate.sites:
            estate.start(name)
        for _ in range(_ROUNDS):
            estate.tick(_SOON)
            estate.arrive(_ALL, self.names)
            estate.check()
        state = estate.state
        if state.active or state.queue:
            raise Violation(f"liveness: the environment is still {state.active.state if state.active else 'queued'}")
        for name, site in estate.sites.items():
            if state.members[name].shows != site.shows:
                raise Violation(f"belief: {name} shows {site.shows}, the ledger says {state.members[name].shows}")


def _run(examples: int, steps: int, *, again: bool) -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=again,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )


def test_chance_breaks_nothing() -> None:
    _run(200, 60, again=True)


def main() -> None:
    """Looks for longer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=5_000)
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args()
    _run(given.examples, given.steps, again=False)
    print(f"{given.examples} runs of up to {given.steps} steps: nothing was broken")


if __name__ == "__main__":
    main()
