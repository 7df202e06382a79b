"""What is waited for, as people read it."""

from __future__ import annotations

from dataclasses import replace

from distributor.rollout.commands import Flip, Revert, Stage
from distributor.rollout.events import Aborted, Detached, HoldPlaced
from distributor.rollout.state import Answer
from distributor.rollout.waiting import waiting_for
from tests.rollout.transcript import START, Transcript


def said(world: Transcript) -> str:
    return waiting_for(world.state, world.now)


def test_staging_names_who_has_not_staged() -> None:
    world = Transcript.of()
    assert said(world) == ""
    world.request(1)
    assert said(world) == "release 1 to start"
    world.tick()
    world.do(world.last(Stage, "a"))
    assert said(world) == "b (not heard from yet) to stage release 1, until 2026-01-01 00:30:00 UTC"


def test_converged_names_the_hold() -> None:
    world = Transcript.of()
    world.request(1)
    world.tick()
    world.stage_all()
    world.feed(HoldPlaced(START, "qa", "a test runs", START.replace(hour=9)))
    assert said(world) == (
        "the hold of qa until 2026-01-01 09:00:00 UTC (a test runs) to end; every required member has staged release 1"
    )


def test_flipping_and_reverting_name_the_silent() -> None:
    world = Transcript.of()
    world.decided(1)
    world.do(world.last(Flip, "a"))
    world.tick(seconds=20)
    assert said(world) == "b to flip to release 1, until 2026-01-01 00:00:30 UTC"
    world.feed(Aborted(world.now, "ann", "", world.fresh()))
    world.do(world.last(Revert, "a"))
    world.tick(hours=1)
    assert said(world).startswith("b (not heard of since 2026-01-01 00:00:00 UTC) to go back")
    assert said(world).endswith("to go back to release 0; bring it back, or detach it if it is lost")
    assert "waits for b" in world.alarms[-1]
    world.feed(Detached(world.now, "b", "ann", "lost", world.fresh()))
    assert said(world) == "b is detached, what it shows is unknown"


def test_a_reason_does_not_name_its_member_twice() -> None:
    world = Transcript.of()
    world.request(1)
    world.tick()
    answer = Answer(refusal="a stores other rows")
    assert world.state.active
    world.state = replace(world.state, active=replace(world.state.active, answers={"a": answer}))
    assert said(world).startswith("a (stores other rows) and b (not heard from yet) to stage")


def test_nothing_is_waited_for_once_all_is_online() -> None:
    world = Transcript.of()
    world.online(1)
    assert said(world) == ""
