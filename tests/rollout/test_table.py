"""The coordinator's table: every cell is there, leads only where it says, and the picture is drawn from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from distributor.rollout.diagram import page
from distributor.rollout.events import (
    Aborted,
    Approved,
    ClosuresTold,
    Detached,
    Event,
    Flipped,
    Hello,
    HoldPlaced,
    HoldReleased,
    MembersConfigured,
    Pinned,
    Progress,
    RefusalReason,
    Refused,
    Requested,
    Reverted,
    Settled,
    Staged,
    Tick,
    Unpinned,
)
from distributor.rollout.happenings import Happening, classify
from distributor.rollout.protocol import TABLE, Phase, decide, ignore, phase_of
from distributor.rollout.state import (
    Cause,
    Clock,
    Closure,
    Environment,
    Expected,
    Requirement,
    Rollout,
    RolloutState,
    Timing,
)
from distributor.rollout.waiting import waiting_for
from tests.rollout.transcript import START, Transcript

FAR = START.replace(year=2030)
IGNORED = {
    (Happening.DEADLINE, Phase.IDLE),
    (Happening.STAGED, Phase.REVERTING),
    (Happening.UNFIT, Phase.IDLE),
    (Happening.UNFIT, Phase.REVERTING),
    (Happening.NOT_STAGED, Phase.IDLE),
    (Happening.NOT_STAGED, Phase.REVERTING),
    (Happening.RETRYABLE, Phase.IDLE),
    (Happening.FLIPPED, Phase.REVERTING),
    (Happening.HELLO, Phase.CONVERGED),
    (Happening.ABORT, Phase.IDLE),
    (Happening.ABORT, Phase.REVERTING),
    (Happening.DETACH, Phase.IDLE),
    *((Happening.STUCK, phase) for phase in Phase if phase is not Phase.REVERTING),
    *((Happening.REVERTED, phase) for phase in Phase if phase not in (Phase.IDLE, Phase.REVERTING)),
    *((Happening.SETTLED, phase) for phase in Phase if phase is not Phase.IDLE),
    *((Happening.NOTHING, phase) for phase in Phase),
}


def test_every_happening_has_a_cell_in_every_phase() -> None:
    assert set(TABLE) == {(happening, phase) for happening in Happening for phase in Phase}
    assert {cell for cell in TABLE if TABLE[cell].do is ignore} == IGNORED


def environments() -> list[Transcript]:
    """One of each phase, and of each way in which nothing is active."""
    fresh, queued, staging, converged = Transcript.of(), Transcript.of(), Transcript.of(), Transcript.of()
    flipping, reverting, online, settling = Transcript.of(), Transcript.of(), Transcript.of(), Transcript.of()
    abandoned, reverted = Transcript.of(), Transcript.of()
    queued.request(1)
    for world in (staging, converged, abandoned):
        world.request(1)
        world.tick()
    converged.stage_all()
    for world in (flipping, reverting, reverted):
        world.decided(1)
    for world in (abandoned, reverting, reverted):
        world.feed(Aborted(START, "ann", "", "y"))
    reverted.feed(Detached(START, "a", "ann", "", "z"))
    reverted.feed(Detached(START, "b", "ann", "", "z"))
    online.online(1)
    settling.online(1)
    settling.tick(days=1)
    return [fresh, queued, staging, converged, flipping, reverting, online, settling, abandoned, reverted]


def events(world: Transcript) -> list[Event]:
    """Every event there is, about what runs now, what ran, and something else."""
    state = world.state
    some: list[Event] = [Tick(START, "t"), Tick(FAR, "t"), HoldPlaced(START, "qa", ""), HoldReleased(START)]
    some += [Aborted(START, "o", "", "f"), Aborted(START, "o", "", "f", "x1"), Detached(START, "a", "o", "", "f")]
    some.append(MembersConfigured(START, {"a": Requirement.OPTIONAL, "c": Requirement.REQUIRED}, follow=False))
    some += [
        Approved(START, "x1", "kim", ""),
        Approved(START, "none", "kim", ""),
        ClosuresTold(START, (Closure(START, FAR, "closed"),)),
    ]
    some += [Pinned(START, "ann", "audit"), Unpinned(START, "ann")]
    for cause in Cause:
        expected = {name: Expected("c2", "m") for name in "ab"}
        wanted = Rollout("n", 2, cause, "o", "", START, frozenset("ab"), frozenset(), expected, Timing())
        some.append(Requested(START, wanted))
    known = [(r.id, r.epoch) for r in (state.active, state.last) if r]
    known += [(r.revert_id, r.revert_epoch) for r in (state.active, state.last) if r and r.revert_id and r.revert_epoch]
    known += [(s.id, s.epoch) for s in (state.settlement,) if s]
    for rollout_id, epoch in [*known, ("other", 1)]:
        for floor in (0, epoch, epoch + 9):
            head = (START, "a", epoch, rollout_id, floor, 0, None, Clock(), "f")
            some += [Staged(*head, certificate=c, mapping="m") for c in ("c1", "wrong")]
            some += [Refused(*head, reason=reason, text="no") for reason in RefusalReason]
            some += [Hello(*head, flipped_epoch=None), Progress(*head), Flipped(*head, flipped_at=START)]
            some += [Reverted(*head), Settled(*head)]
    return some


def moves(before: Environment, after: Environment) -> set[RolloutState]:
    """States that rollouts came into."""
    old = {r.id: r.state for r in (*before.queue, *([before.active] if before.active else []))}
    now = [*after.ended, *([after.active] if after.active else [])]
    return {r.state for r in now if old.get(r.id) is not r.state}


def test_a_step_leads_only_where_its_cell_says_and_every_declared_way_is_taken() -> None:
    taken: dict[tuple[Happening, Phase], set[RolloutState]] = {}
    for world in environments():
        for event in events(world):
            after, _ = decide(world.state, event)
            happening = classify(world.state, world.state, event)
            phase = phase_of(world.state)
            assert moves(world.state, after) <= {*TABLE[happening, phase].to, RolloutState.REFUSED}, (happening, phase)
            taken.setdefault((happening, phase), set()).update(moves(world.state, after))
            assert waiting_for(after, START) == waiting_for(after, START).strip()
            again, outputs = decide(world.state, event)
            assert (again, outputs) == (after, decide(world.state, event)[1])
    seldom = {cell for cell in TABLE if cell not in taken and TABLE[cell].do is not ignore}
    assert seldom == {
        *((Happening.CALL_OFF, phase) for phase in Phase if phase is not Phase.IDLE),
        *((Happening.APPROVE, phase) for phase in (Phase.FLIPPING, Phase.REVERTING)),
    }


def test_a_detach_names_the_only_required_member() -> None:
    world = Transcript.of("a", "b")
    world.decided(1)
    world.feed(Detached(START, "a", "ann", "lost", "z"))
    assert world.state.active is None
    assert world.state.last is not None
    assert world.state.last.state is RolloutState.REVERTED


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.IDLE])
def test_a_request_that_waits_is_called_off_whatever_goes_on(phase: Phase) -> None:
    for world in environments():
        if phase_of(world.state) is phase:
            waiting = world.request(2, Cause.REFRESH)
            world.feed(Aborted(START, "ann", "", "f", waiting))
            assert world.history[waiting] is RolloutState.ABANDONED
            assert phase_of(world.state) is phase


def test_the_picture_is_that_of_the_table() -> None:
    drawn = Path(__file__).parents[2] / "docs" / "rollout-states.md"
    assert drawn.read_text(encoding="utf-8") == page(), "python -m distributor.rollout.diagram > docs/rollout-states.md"
