"""A ledger that was restored from a backup has forgotten decisions: nothing may start before everybody was asked."""

from __future__ import annotations

from distributor.rollout.commands import Abandon, Flip, Revert, Stage
from distributor.rollout.events import RefusalReason
from distributor.rollout.member import Reply
from distributor.rollout.state import Cause, RolloutState
from tests.rollout.transcript import Transcript


def answer_fences(world: Transcript) -> None:
    """Every member answers the newest abandon."""
    for name in sorted(world.rows):
        world.do(world.last(Abandon, name))


def test_ledger_restored_mid_flip() -> None:
    world = Transcript.of()
    backup = world.state
    world.decided(1)
    queued = world.last(Flip, "b")
    world.do(world.last(Flip, "a"))
    world.state = backup
    world.hello("a")
    assert world.state.blocked
    assert world.state.epoch > 1_000_000
    world.request(2)
    world.tick()
    assert world.active is None
    answer_fences(world)
    action = world.receive(queued)
    assert isinstance(action, Reply)
    assert action.reason is RefusalReason.STALE
    assert world.state.mixed
    assert "a shows release 1, b shows release 0" in world.state.blocked
    world.online(1)
    assert not world.state.blocked
    assert [world.rows[name].online.release for name in "ab"] == [1, 1]


def test_ledger_restored_reuses_epoch() -> None:
    world = Transcript.of()
    backup = world.state
    world.decided(1)
    old = [world.answer(world.last(Flip, name)) for name in "ab"]
    world.state = backup
    world.request(1)
    world.tick()
    assert world.state.active
    assert world.state.active.epoch == 1
    for report in old:
        world.feed(report)
    assert world.active is RolloutState.STAGING
    world.do(world.last(Stage, "a"))
    assert world.active is None
    assert world.state.blocked
    answer_fences(world)
    assert (world.state.blocked, world.state.shown) == ("", 1)


def test_what_everybody_shows_is_adopted_after_a_restore() -> None:
    world = Transcript.of()
    backup = world.state
    world.online(1)
    world.online(2)
    world.state = backup
    world.hello("b")
    answer_fences(world)
    assert (world.state.blocked, world.state.shown) == ("", 2)
    world.online(3)


def test_automation_does_not_pick_from_a_mixture() -> None:
    world = Transcript.of()
    backup = world.state
    world.decided(1)
    world.do(world.last(Flip, "a"))
    world.state = backup
    world.hello("a")
    answer_fences(world)
    rollout = world.request(7)
    world.tick()
    assert world.history[rollout] is RolloutState.REFUSED
    world.request(1, Cause.AUTO)
    world.tick()
    assert world.active is None


def test_a_revert_goes_out_anew_above_a_forgotten_epoch() -> None:
    world = Transcript.of()
    world.decided(1)
    world.do(world.last(Flip, "b"))
    world.tick(hours=1)
    first = world.last(Revert, "a")
    forgotten = Stage("a", first.epoch, "forgotten", 9, 0)
    world.receive(forgotten)
    world.do(first)
    assert world.active is RolloutState.REVERTING
    second = world.last(Revert, "a")
    assert (second.epoch, second.of) == (first.epoch + 1, 1)
    for name in "ab":
        world.do(world.last(Revert, name))
    assert world.active is None
    assert [world.rows[name].online.release for name in "ab"] == [0, 0]


def test_a_forgotten_epoch_after_the_decision_takes_all_back_and_asks() -> None:
    world = Transcript.of()
    world.decided(1)
    world.do(world.last(Flip, "a"))
    world.rows["b"] = world.rows["b"].model_copy(update={"floor": 40, "floor_id": "forgotten"})
    world.do(world.last(Flip, "b"))
    assert world.active is RolloutState.REVERTING
    for name in "ab":
        world.do(world.last(Revert, name))
    assert world.active is None
    assert (world.state.blocked, world.state.shown) == ("", 0)
