"""Races of messages, loads and deaths, each by its name. A member's letter is its whole name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from distributor.rollout import member as table
from distributor.rollout.commands import Abandon, Flip, Revert, Settle, Stage
from distributor.rollout.events import (
    Aborted,
    Detached,
    Flipped,
    HoldPlaced,
    HoldReleased,
    MembersConfigured,
    RefusalReason,
    Refused,
    Staged,
)
from distributor.rollout.member import Load, Reply, ReplyKind, Wait
from distributor.rollout.member_row import MemberRow
from distributor.rollout.state import Cause, Requirement, RolloutState, Timing
from tests.rollout.transcript import START, Transcript, identity


def abort(world: Transcript) -> None:
    world.feed(Aborted(world.now, "ann", "second thoughts", world.fresh()))


def refusal(action: object) -> RefusalReason | None:
    assert isinstance(action, Reply)
    return action.reason


def shows(world: Transcript, member: str) -> int | None:
    return world.rows[member].online.release


def test_late_flip_after_revert() -> None:
    world = Transcript.of()
    world.decided(1)
    world.do(world.last(Flip, "a"))
    abort(world)
    for name in "ab":
        world.do(world.last(Revert, name))
    assert world.active is None
    for name in "ab":
        assert refusal(world.receive(world.last(Stage, name))) is RefusalReason.STALE
        assert refusal(world.receive(world.last(Flip, name))) is RefusalReason.STALE
        assert shows(world, name) == 0


def test_revert_overtakes_flip() -> None:
    world = Transcript.of()
    rollout = world.decided(1)
    abort(world)
    assert world.receive(world.last(Revert, "a")) == Reply(ReplyKind.REVERTED)
    assert refusal(world.receive(world.last(Flip, "a"))) is RefusalReason.STALE
    for name in "ab":
        world.do(world.last(Revert, name))
    assert world.history[rollout] is RolloutState.REVERTED


def test_stage_duplicate_after_flip_keeps_previous_release() -> None:
    world = Transcript.of()
    world.decided(1)
    world.do(world.last(Flip, "a"))
    before = world.rows["a"]
    assert world.receive(world.last(Stage, "a")) == Reply(ReplyKind.FLIPPED)
    assert world.rows["a"] == before


def test_stage_duplicate_after_staged_does_not_reload() -> None:
    world = Transcript.of()
    world.request(1)
    world.tick()
    world.do(world.last(Stage, "a"))
    before = world.rows["a"]
    assert world.receive(world.last(Stage, "a")) == Reply(ReplyKind.STAGED)
    assert world.rows["a"] == before


def test_flip_twice_is_flip_once() -> None:
    world = Transcript.of()
    world.decided(1)
    first = world.answer(world.last(Flip, "a"))
    world.now = START.replace(year=2027)
    second = world.answer(world.last(Flip, "a"))
    assert isinstance(first, Flipped)
    assert isinstance(second, Flipped)
    assert (shows(world, "a"), second.flipped_at) == (1, first.flipped_at)


def test_two_consumers_of_one_member_same_epoch() -> None:
    world = Transcript.of()
    world.request(1)
    world.tick()
    command = world.last(Stage, "a")
    first, second = world.receive(command), world.receive(command)
    assert isinstance(first, Load)
    assert isinstance(second, Load)
    assert table.tear(world.rows["a"], first) is None
    assert not world.load("a", first, 1)
    assert world.load("a", second, 1)
    assert not table.may_continue(world.rows["a"], second)


def test_zombie_loader_of_abandoned_epoch() -> None:
    world = Transcript.of()
    world.request(1)
    world.tick()
    zombie = world.receive(world.last(Stage, "a"))
    assert isinstance(zombie, Load)
    world.online(2)
    assert not world.load("a", zombie, 1)
    assert shows(world, "a") == 2
    assert world.rows["a"].shadow.release == 0


def test_loader_killed_between_batches_then_flip() -> None:
    world = Transcript.of()
    world.decided(1)
    command = world.last(Stage, "a")
    world.rows["a"] = MemberRow(environment="e", system="a")
    load = world.receive(command)
    assert isinstance(load, Load)
    torn = table.tear(world.rows["a"], load)
    assert torn is not None
    world.rows["a"] = torn
    assert refusal(world.receive(world.last(Flip, "a"))) is RefusalReason.NOT_STAGED
    assert shows(world, "a") == 0


def test_armed_timer_meets_revert() -> None:
    world = Transcript.of()
    world.decided(1)
    flip = world.last(Flip, "a")
    world.now = START.replace(year=2025)
    assert world.receive(flip) == Wait(flip.at)
    world.now = flip.at
    abort(world)
    world.receive(world.last(Revert, "a"))
    assert refusal(world.receive(flip)) is RefusalReason.STALE
    assert shows(world, "a") == 0


def test_hold_meets_decision() -> None:
    world = Transcript.of()
    world.request(1)
    world.tick()
    world.stage_all()
    world.feed(HoldPlaced(world.now, "qa", "a test runs"))
    world.tick()
    assert world.active is RolloutState.CONVERGED
    world.tick(hours=10)
    assert world.active is RolloutState.CONVERGED
    world.feed(HoldReleased(world.now, "qa"))
    world.tick()
    for name in "ab":
        world.do(world.last(Stage, name))
    world.tick()
    assert world.active is RolloutState.FLIPPING
    world.feed(HoldPlaced(world.now, "qa", "too late"))
    assert world.active is RolloutState.FLIPPING
    assert "came after the decision" in world.alarms[-1]


def test_supersede_meets_decision() -> None:
    world = Transcript.of()
    first = world.request(1)
    world.tick()
    world.stage_all()
    second = world.request(2)
    assert world.history[first] is RolloutState.ABANDONED
    world.tick()
    world.stage_all()
    world.tick()
    third = world.request(3)
    assert world.active is RolloutState.FLIPPING
    assert world.state.active
    assert world.state.active.id == second
    assert [waiting.id for waiting in world.state.queue] == [third]


def test_deadline_meets_last_staged() -> None:
    world = Transcript.of()
    rollout = world.request(1)
    world.tick()
    world.do(world.last(Stage, "a"))
    late = world.answer(world.last(Stage, "b"))
    world.tick(hours=1)
    world.feed(late)
    assert world.history[rollout] is RolloutState.ABANDONED
    assert world.active is None


def test_deadline_meets_last_flipped() -> None:
    world = Transcript.of()
    rollout = world.decided(1)
    late = [world.answer(world.last(Flip, name)) for name in "ab"]
    world.tick(hours=1)
    for report in late:
        world.feed(report)
    assert world.active is RolloutState.REVERTING
    for name in "ab":
        world.do(world.last(Revert, name))
    assert world.history[rollout] is RolloutState.REVERTED
    assert [shows(world, name) for name in "ab"] == [0, 0]


def test_abandoned_without_answers_then_next_release() -> None:
    world = Transcript.of()
    world.request(1)
    world.tick()
    world.stage_all()
    abort(world)
    world.online(2)
    assert refusal(world.receive(world.sent[0])) is RefusalReason.STALE


def test_staged_report_of_older_rollout_does_not_count() -> None:
    world = Transcript.of()
    world.request(1)
    world.tick()
    old = [world.answer(world.last(Stage, name)) for name in "ab"]
    world.request(1)
    world.tick()
    for report in old:
        world.feed(report)
    assert world.active is RolloutState.STAGING


@pytest.mark.parametrize("cause", list(Cause))
def test_no_stage_while_flipping_or_reverting(cause: Cause) -> None:
    world = Transcript.of()
    world.decided(1)
    del world.sent[:]
    world.request(2, Cause.OPERATOR)
    world.request(3, cause)
    world.tick()
    if world.active is RolloutState.FLIPPING:
        abort(world)
    world.tick()
    assert world.active is RolloutState.REVERTING
    assert not [command for command in world.sent if isinstance(command, Stage)]


def test_report_lost_after_commit_is_repeated() -> None:
    world = Transcript.of()
    world.decided(1)
    lost = world.answer(world.last(Flip, "a"))
    world.tick(seconds=6)
    again = world.do(world.last(Flip, "a"))
    assert isinstance(lost, Flipped)
    assert isinstance(again, Flipped)
    assert again.flipped_at == lost.flipped_at
    abort(world)
    world.answer(world.last(Revert, "a"))
    world.tick(seconds=6)
    for name in "ab":
        world.do(world.last(Revert, name))
    assert world.active is None


def test_optional_member_sleeps_through_revert() -> None:
    world = Transcript.of("a", "b")
    world.decided(1)
    late = world.last(Flip, "b")
    abort(world)
    world.do(world.last(Revert, "a"))
    world.receive(late)
    assert shows(world, "b") == 1
    world.request(2)
    world.tick()
    stage = world.last(Stage, "b")
    assert stage.void == (1,)
    world.receive(stage)
    assert shows(world, "b") == 0
    assert refusal(world.receive(world.last(Revert, "b"))) is RefusalReason.STALE


def test_optional_member_already_on_target() -> None:
    world = Transcript.of("a", "b")
    world.rows["b"] = world.rows["b"].model_copy(
        update={"slots": {**world.rows["b"].slots, "a": world.rows["b"].slots["a"].model_copy(
            update={"identity": identity(1)})}}
    )  # fmt: skip
    world.decided(1)
    world.do(world.last(Flip, "b"))
    assert shows(world, "b") == 1
    abort(world)
    world.do(world.last(Revert, "b"))
    assert shows(world, "b") == 1


def test_optional_stages_after_online() -> None:
    world = Transcript.of("a", "b")
    world.request(1)
    world.tick()
    world.stage_all("a")
    world.tick()
    world.do(world.last(Flip, "a"))
    assert world.state.shown == 1
    world.do(world.last(Stage, "b"))
    world.do(world.last(Flip, "b"))
    assert world.state.members["b"].shows == 1


def test_an_optional_member_that_stores_something_else_is_not_flipped() -> None:
    world = Transcript.of("a", "b")
    world.request(1)
    world.tick()
    world.stage_all("a")
    late = world.answer(world.last(Stage, "b"))
    world.tick()
    assert isinstance(late, Staged)
    assert world.active is RolloutState.FLIPPING
    world.feed(replace(late, certificate="wrong"))
    world.tick(seconds=6)
    assert not [command for command in world.sent if isinstance(command, Flip) and command.member == "b"]
    world.feed(late)
    assert world.do(world.last(Flip, "b")).shows == 1


def test_a_member_that_lost_what_it_staged_flips_after_its_certificate_was_seen_again() -> None:
    world = Transcript.of()
    world.decided(1)
    flip = world.last(Flip, "a")
    world.rows["a"] = MemberRow(environment="e", system="a")
    del world.sent[:]
    world.do(flip)
    assert [type(command) for command in world.sent] == [Stage]
    world.do(world.last(Stage, "a"))
    assert world.do(world.last(Flip, "a")).shows == 1


def test_lost_member_detached_returns_with_flip_in_queue() -> None:
    world = Transcript.of()
    world.decided(1)
    queued = world.last(Flip, "a")
    abort(world)
    world.do(world.last(Revert, "b"))
    world.feed(Detached(world.now, "a", "ann", "its disk is gone", world.fresh()))
    assert world.active is None
    assert world.state.members["a"].requirement is Requirement.DETACHED
    world.hello("a")
    assert world.state.members["a"].requirement is Requirement.JOINING
    fence = world.sent[-1]
    assert world.receive(queued) == Reply(ReplyKind.FLIPPED)
    world.do(fence)
    assert shows(world, "a") == 0
    assert world.state.members["a"].requirement is Requirement.REQUIRED


@pytest.mark.parametrize("kind", [ReplyKind.HELLO, ReplyKind.REFUSED])
def test_what_was_said_before_a_flip_and_comes_after_it_does_not_stop_the_next_rollout(kind: ReplyKind) -> None:
    world = Transcript.of()
    world.decided(1)
    late = world.report(Stage("a", 0, "long over", 0, 0), Reply(kind, RefusalReason.STALE))
    for name in "ab":
        world.do(world.last(Flip, name))
    world.feed(late)
    assert world.state.members["a"].shows == 1
    world.online(2)


def test_member_store_restored_to_yesterday() -> None:
    world = Transcript.of()
    world.online(1)
    yesterday = world.rows["a"]
    world.online(2)
    world.rows["a"] = yesterday
    world.hello("a")
    world.do(world.last(Stage, "a"))
    world.do(world.last(Flip, "a"))
    assert shows(world, "a") == 2
    assert world.state.members["a"].shows == 2


def test_mapping_changed_same_release_is_not_already_there() -> None:
    world = Transcript.of()
    world.online(1)
    world.request(1)
    world.tick()
    assert isinstance(world.receive(world.last(Stage, "a"), mapping="other"), Load)
    assert world.receive(world.last(Stage, "b")) == Reply(ReplyKind.STAGED)


def test_rollback_pins_auto_follow() -> None:
    world = Transcript.of()
    world.online(1, Cause.AUTO)
    world.online(2, Cause.AUTO)
    world.online(1, Cause.ROLLBACK)
    assert world.state.pinned
    assert world.state.barred == {2}
    world.request(3, Cause.AUTO)
    assert not world.state.queue
    world.online(3)
    assert not world.state.pinned
    world.online(4, Cause.AUTO)


def test_required_set_edited_mid_rollout() -> None:
    world = Transcript.of()
    world.request(1)
    world.tick()
    members = {"a": Requirement.REQUIRED, "b": Requirement.OPTIONAL, "c": Requirement.REQUIRED}
    world.feed(MembersConfigured(world.now, members, follow=True))
    assert world.state.active
    assert world.state.active.required == {"a", "b"}
    assert world.state.members["c"].requirement is Requirement.JOINING
    world.stage_all("a")
    assert world.active is RolloutState.STAGING


def test_same_release_again_after_abandon() -> None:
    world = Transcript.of()
    world.request(1)
    world.tick()
    world.stage_all()
    abort(world)
    world.request(1)
    world.tick()
    assert world.receive(world.last(Stage, "a")) == Reply(ReplyKind.STAGED)
    assert world.last(Stage, "a").epoch == 2


def test_revert_to_release_zero() -> None:
    world = Transcript.of()
    world.decided(1)
    world.do(world.last(Flip, "a"))
    abort(world)
    for name in "ab":
        world.do(world.last(Revert, name))
    assert [shows(world, name) for name in "ab"] == [0, 0]
    assert world.state.shown == 0


def test_settling_is_cut_by_the_next_rollout() -> None:
    world = Transcript.of()
    world.online(1)
    world.tick(hours=2)
    settle = world.last(Settle, "a")
    load = world.receive(settle)
    assert isinstance(load, Load)
    world.request(2)
    world.tick()
    world.receive(world.last(Stage, "a"))
    assert not world.load("a", load, 1)
    assert world.state.settlement is None


def test_after_a_repair_the_old_slots_follow_at_once_and_who_does_not_is_known() -> None:
    world = Transcript.of()
    world.online(1)
    world.request(1, Cause.REPAIR)
    world.tick()
    for name in "ab":
        world.do(world.last(Stage, name))
    world.tick()
    for name in "ab":
        world.do(world.last(Flip, name))
    assert world.active is None
    world.tick()
    settle = world.last(Settle, "a")
    settlement = world.state.settlement
    assert settlement is not None
    assert (settlement.id, settlement.release) == (settle.rollout_id, 1)

    def refuse(reason: RefusalReason, text: str) -> tuple[frozenset[str], dict[str, str]]:
        world.feed(world.report(settle, Reply(ReplyKind.REFUSED, reason, text)))
        assert world.state.settlement is not None
        return world.state.settlement.settled, dict(world.state.settlement.refusals)

    assert refuse(RefusalReason.RETRYABLE, "the disk is full") == (frozenset(), {"a": "the disk is full"})
    assert refuse(RefusalReason.PERMANENT, "no key") == (frozenset("a"), {"a": "no key"})
    assert refuse(RefusalReason.RETRYABLE, "said before") == (frozenset("a"), {"a": "no key"})
    world.feed(world.report(settle, Reply(ReplyKind.SETTLED)))
    assert world.state.settlement.settled == frozenset("a")
    assert not world.state.settlement.refusals


def test_a_flip_is_late_or_early() -> None:
    world = Transcript.of()
    world.decided(1)
    flip = world.last(Flip, "a")
    world.now = flip.not_after.replace(year=2027)
    assert world.receive(flip) == Reply(ReplyKind.HELLO)
    assert shows(world, "a") == 0


def test_a_certificate_that_differs_abandons() -> None:
    world = Transcript.of()
    rollout = world.request(1)
    world.tick()
    report = world.answer(world.last(Stage, "a"))
    assert isinstance(report, Staged)
    world.feed(Staged(*[getattr(report, n) for n in _HEAD], certificate="wrong", mapping="m"))
    assert world.history[rollout] is RolloutState.ABANDONED
    assert isinstance(world.sent[-1], Abandon)


def test_a_permanent_refusal_after_the_decision_reverts() -> None:
    world = Transcript.of()
    world.decided(1)
    report = world.answer(world.last(Flip, "a"))
    head = [getattr(report, n) for n in _HEAD]
    world.feed(Refused(*head, reason=RefusalReason.PERMANENT, text="no"))
    assert world.active is RolloutState.REVERTING


_HEAD = ("at", "member", "epoch", "rollout_id", "floor", "shows", "shadow", "clock", "fresh_id")


def test_a_new_member_joins_by_the_next_rollout_and_is_not_asked_for_ever() -> None:
    world = Transcript.of("a")
    world.online(1)
    world.tick(hours=2)
    world.rows["c"] = MemberRow(environment="e", system="c")
    members = {"a": Requirement.REQUIRED, "c": Requirement.REQUIRED}
    world.feed(MembersConfigured(world.now, members, follow=True))
    world.hello("c")
    world.do(world.last(Abandon, "c"))
    assert world.state.members["c"].requirement is Requirement.JOINING
    del world.sent[:]
    world.tick(hours=1)
    assert not [command for command in world.sent if command.member == "c"]
    world.hello("a")
    world.online(2)
    assert world.state.members["c"].shows == 2
    assert world.state.members["c"].requirement is Requirement.REQUIRED


def test_a_settlement_waits_for_an_optional_member_that_still_loads() -> None:
    world = Transcript.of("a", optional="o")
    at_once = Timing(flip_lead=timedelta(0), keep_previous=timedelta(0))
    world.request(1, timing=at_once)
    world.tick()
    world.do(world.last(Stage, "a"))
    world.tick()
    world.do(world.last(Flip, "a"))
    assert world.state.shown == 1
    late = world.answer(world.last(Stage, "o"))
    world.hello("o")
    world.tick(seconds=1)
    assert world.state.settlement is None
    world.feed(late)
    world.do(world.last(Flip, "o"))
    world.tick()
    assert world.rows["o"].online.identity == identity(1)
    assert world.state.settlement is not None


def test_a_settlement_does_not_wait_for_an_optional_member_that_is_silent() -> None:
    world = Transcript.of("a", optional="o")
    world.request(1, timing=Timing(flip_lead=timedelta(0), keep_previous=timedelta(0)))
    world.tick()
    world.do(world.last(Stage, "a"))
    world.tick()
    world.do(world.last(Flip, "a"))
    world.hello("o")
    world.tick(seconds=16)
    assert world.state.settlement is not None
