"""Holds, closures and approvals: what keeps a converged rollout, what does not, and its deadline meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.rollout.commands import Flip
from distributor.rollout.events import Approved, ClosuresTold, HoldPlaced, HoldReleased, Pinned, Unpinned
from distributor.rollout.gates import GateKind, approvals_missing, shut
from distributor.rollout.state import Approval, Cause, Closure, RolloutState, Timing
from distributor.rollout.waiting import waiting_for
from tests.rollout.transcript import START, Transcript

HOUR = timedelta(hours=1)
FROZEN = Closure(START - HOUR, START + 5 * HOUR, "freeze of ann: year's end")


def converged(cause: Cause = Cause.OPERATOR, needed: int = 0, closures: tuple[Closure, ...] = ()) -> Transcript:
    """A rollout that waits for nothing but its gates."""
    world = Transcript.of()
    world.feed(ClosuresTold(START, closures))
    world.request(1, cause, approvals_needed=needed)
    world.tick()
    world.stage_all()
    world.tick()
    return world


def later(world: Transcript, **time: float) -> None:
    """Time passes, and the members were heard of lately."""
    world.now += timedelta(**time)
    for name in world.rows:
        world.hello(name)
    world.tick()


def flips(world: Transcript) -> int:
    """How many flips were ever sent."""
    return sum(isinstance(command, Flip) for command in world.sent)


def test_nothing_flips_while_the_environment_is_closed_and_everything_at_once_when_it_opens() -> None:
    world = converged(closures=(FROZEN,))
    assert world.active is RolloutState.CONVERGED
    later(world, hours=4, minutes=59)
    assert (world.active, flips(world)) == (RolloutState.CONVERGED, 0)
    assert "year's end" in waiting_for(world.state, world.now)
    later(world, minutes=1)
    assert (world.active, flips(world)) == (RolloutState.FLIPPING, 2)


@pytest.mark.parametrize(("lead", "flips_first"), [(5, True), (6, False)], ids=["just before", "into it"])
def test_nobody_is_told_to_flip_at_a_time_that_is_closed_already(lead: int, flips_first: bool) -> None:
    closed = Closure(START + timedelta(seconds=5, milliseconds=1), START + HOUR, "outside of its windows")
    world = Transcript.of()
    world.feed(ClosuresTold(START, (closed,)))
    world.request(1, timing=Timing(flip_lead=timedelta(seconds=lead)))
    world.tick()
    world.stage_all()
    world.tick()
    assert (world.active is RolloutState.FLIPPING, flips(world) == 2) == (flips_first, flips_first)
    if not flips_first:
        world.tick(seconds=lead)
        later(world, hours=1)
        assert (world.active, flips(world)) == (RolloutState.FLIPPING, 2)


def test_the_deadline_does_not_run_at_a_shut_gate_and_begins_anew_when_it_opens() -> None:
    world = converged(closures=(FROZEN,))
    world.now = FROZEN.until
    world.tick()
    assert world.active is RolloutState.CONVERGED, "the members were not heard of for hours, and have time to be"
    world.tick(minutes=31)
    assert world.active is None
    assert world.state.last is not None
    assert "not converged in time" in world.state.last.outcome


def test_a_closure_told_after_the_decision_stops_nothing() -> None:
    world = converged()
    assert world.active is RolloutState.FLIPPING
    world.feed(ClosuresTold(world.now, (FROZEN,)))
    assert world.alarms == [f"{FROZEN.why} came after the decision on release 1: it holds from the next on"]
    for name in world.rows:
        world.do(world.last(Flip, name))
    assert world.state.shown == 1


def test_a_rollback_waits_for_no_closure_but_for_a_hold() -> None:
    world = Transcript.of()
    world.online(1)
    world.online(2)
    world.feed(ClosuresTold(START, (FROZEN,)))
    world.feed(HoldPlaced(world.now, "qa", "measuring"))
    world.request(1, Cause.ROLLBACK)
    world.tick()
    world.stage_all()
    world.tick()
    assert world.active is RolloutState.CONVERGED
    world.feed(HoldReleased(world.now, "qa"))
    world.tick()
    assert world.active is RolloutState.FLIPPING


@pytest.mark.parametrize(("by", "counts"), [("kim", True), ("ann", False)], ids=["another", "the requester"])
def test_four_eyes(by: str, counts: bool) -> None:
    world = converged(needed=1)
    assert world.state.active is not None
    world.feed(Approved(world.now, world.state.active.id, by, "read the plan"))
    world.tick()
    assert world.active is (RolloutState.FLIPPING if counts else RolloutState.CONVERGED)


def test_one_who_approves_twice_counts_once() -> None:
    world = converged(needed=2)
    assert world.state.active is not None
    for _ in range(2):
        world.feed(Approved(world.now, world.state.active.id, "kim", ""))
    assert approvals_missing(world.state.active) == 1
    assert "1 more approval by others than ann, after kim's" in waiting_for(world.state, world.now)
    world.feed(Approved(world.now, world.state.active.id, "lee", ""))
    world.tick()
    assert world.active is RolloutState.FLIPPING


def test_an_approval_given_while_it_waits_in_the_queue_counts_later() -> None:
    world = Transcript.of()
    wanted = world.request(1, approvals_needed=1)
    world.feed(Approved(world.now, wanted, "kim", ""))
    world.tick()
    world.stage_all()
    world.tick()
    assert world.active is RolloutState.FLIPPING


def test_an_approval_of_something_else_changes_nothing() -> None:
    world = converged(needed=1)
    before = world.state
    world.feed(Approved(world.now, "another", "kim", ""))
    assert world.state == before


def test_a_pin_stops_automation_until_it_ends() -> None:
    world = Transcript.of()
    world.online(1)
    world.feed(Pinned(world.now, "ann", "measuring"))
    for cause in (Cause.AUTO, Cause.TRIGGER):
        world.request(2, cause)
        assert world.state.queue == ()
    world.feed(Unpinned(world.now, "ann"))
    world.request(2, Cause.AUTO)
    assert [r.release for r in world.state.queue] == [2]


def test_a_trigger_may_where_nobody_follows_and_never_gets_a_withdrawn_release() -> None:
    world = Transcript.of(follow=False)
    world.online(1)
    world.request(2, Cause.AUTO)
    assert world.state.queue == ()
    world.state = replace(world.state, barred=frozenset({2}))
    world.request(2, Cause.TRIGGER)
    assert world.state.queue == ()
    world.request(3, Cause.TRIGGER)
    world.request(4, Cause.TRIGGER)
    assert [r.release for r in world.state.queue] == [4], "of automation's requests only the newest waits"


_HOURS = st.integers(0, 12)


@given(st.lists(st.tuples(_HOURS, _HOURS), max_size=4), st.integers(0, 3), st.lists(st.sampled_from("abck")), _HOURS)
def test_it_flips_exactly_when_no_gate_is_shut(
    spans: list[tuple[int, int]], needed: int, approvers: list[str], hour: int
) -> None:
    closures = tuple(Closure(START + a * HOUR, START + b * HOUR, f"{a}-{b}") for a, b in spans)
    world = converged(needed=9, closures=closures)
    assert world.state.active is not None
    at = START + hour * HOUR
    given_by = tuple(Approval(by, "", START) for by in approvers)
    rollout = replace(world.state.active, approvals_needed=needed, approvals=given_by, by="a")
    closed = any(a <= hour < b for a, b in spans)
    agreed = len(set(approvers) - {"a"}) >= needed
    kinds = {gate.kind for gate in shut(world.state, rollout, at)}
    assert kinds == {k for k, is_shut in ((GateKind.CLOSURE, closed), (GateKind.APPROVAL, not agreed)) if is_shut}
