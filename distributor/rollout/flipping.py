"""From the decision on: forward until every required member has flipped, or all of them back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from math import isfinite

from distributor.rollout.convergence import all_flipped, silent, trouble
from distributor.rollout.events import Aborted, Detached, Flipped, Hello, Refused, Report, Requested, Staged, Tick
from distributor.rollout.queueing import deploy
from distributor.rollout.reverting import begin_revert
from distributor.rollout.state import CALLED_OFF, Answer, Cause, Environment, Rollout, RolloutState
from distributor.rollout.step import Step, answer_of, attached, everyone, flip, flip_time, stage


def decide_flip(step: Step, at: datetime) -> Step:
    """The point of no return: saved before any flip is sent, and sent to everyone who staged as expected.

    An optional member that has not, is told once it has: a flip that waits for it in its queue would put online
    whatever it stores, before anybody has seen its certificate.
    """
    flip_at = flip_time(step.state, step.active, at)
    step = step.rollout(
        state=RolloutState.FLIPPING,
        decided_at=at,
        flip_at=flip_at,
        deadline=flip_at + step.active.timing.flip_deadline,
    )
    ready = [m for m in everyone(step.active) if answer_of(step.active, m).staged]
    return step.send(at, *(flip(step.state, step.active, m, at) for m in ready))


def remind(step: Step, event: Tick) -> Step:
    """Flip again, with new times, to members that did not answer; stage, to those that have nothing to flip yet."""
    state, rollout, at = step.state, step.active, event.at
    due = [
        m for m in attached(state, rollout) if not answer_of(rollout, m).flipped_at and silent(state, rollout, m, at)
    ]
    staged = {m: answer_of(rollout, m).staged for m in due}
    return step.send(at, *(flip(state, rollout, m, at) if staged[m] else stage(state, rollout, m) for m in due))


def staged(step: Step, event: Staged) -> Step:
    """One that staged after the decision is told to flip (again)."""
    if answer_of(step.active, event.member).flipped_at:
        return step
    step = step.note(event.member, staged=True, from_release=event.shows, lagging=False, refusal="")
    return step.send(event.at, flip(step.state, step.active, event.member, event.at))


def not_staged(step: Step, event: Refused) -> Step:
    """A member lost what it had staged: again, under the same epoch, until the deadline; the flip follows."""
    return _stage_again(step, event)


def greet(step: Step, event: Hello) -> Step:
    """A member that came back continues where its row says it is."""
    rollout = step.active
    if event.flipped_epoch == rollout.epoch or (
        event.floor == rollout.epoch and answer_of(rollout, event.member).staged
    ):
        return step.send(event.at, flip(step.state, rollout, event.member, event.at))
    return _stage_again(step, event)


def flipped(step: Step, event: Flipped) -> Step:
    """A member shows the release; with the last required one it is online."""
    if not answer_of(step.active, event.member).flipped_at:
        step = step.note(event.member, flipped_at=event.flipped_at, lagging=False, refusal="")
    return go_online(step, event)


def go_online(step: Step, event: Flipped | Detached) -> Step:
    """Every required member shows the release, so the environment does."""
    rollout = step.active
    if not all_flipped(rollout):
        return step
    skew_ms, uncertainty_ms = skew(step.state, rollout)
    answers = {m: _final(rollout, m) for m in everyone(rollout)}
    step = step.rollout(skew_ms=skew_ms, skew_uncertainty_ms=uncertainty_ms, answers=answers)
    step = step.end(RolloutState.ONLINE, event.at, "")
    if rollout.cause is Cause.ROLLBACK:
        withdrawn = range(rollout.release + 1, rollout.from_release + 1)
        step = step.set(barred=step.state.barred | frozenset(withdrawn))
    if rollout.cause is Cause.OPERATOR and rollout.release >= rollout.from_release:
        step = step.set(pinned="")
    return step.set(shown=rollout.release, blocked="", mixed=False)


def skew(state: Environment, rollout: Rollout) -> tuple[float, float | None]:
    """Between the first and the last required flip, in milliseconds; and how far that may be off, if that is known."""
    moments = {m: at for m in sorted(rollout.required) if (at := answer_of(rollout, m).flipped_at)}
    first, last = min(moments, key=lambda m: moments[m]), max(moments, key=lambda m: moments[m])
    span = (moments[last] - moments[first]).total_seconds() * 1000
    if first == last:
        return span, 0.0
    clocks = [state.members[m].clock.uncertainty for m in (first, last) if m in state.members]
    off = sum(clocks) * 1000
    return span, off if isfinite(off) and len(clocks) == 2 else None


def unfit(step: Step, event: Staged | Refused) -> Step:
    """A required member cannot go forward any more: all go back. An optional one lags."""
    if answer_of(step.active, event.member).flipped_at:
        return step
    why = trouble(step.active, event)
    step = step.note(event.member, staged=False, refusal=why)
    if event.member in step.active.required:
        return begin_revert(step, event.at, event.fresh_id, why)
    return step.note(event.member, lagging=True)


def deadline(step: Step, event: Tick) -> Step:
    """Not all flipped in time: all go back."""
    missing = [m for m in sorted(step.active.required) if not answer_of(step.active, m).flipped_at]
    return begin_revert(step, event.at, event.fresh_id, f"{', '.join(missing)} did not flip in time")


def lost_decision(step: Step, event: Flipped) -> Step:
    """A flip that the ledger does not remember deciding: it was restored. All go back."""
    return begin_revert(step, event.at, event.fresh_id, f"{event.member} flipped, and the ledger forgot the decision")


def abort(step: Step, event: Aborted) -> Step:
    """An operator calls it off, after the decision."""
    return begin_revert(step, event.at, event.fresh_id, f"{CALLED_OFF} {event.by}: {event.reason}")


def detach(step: Step, event: Detached) -> Step:
    """The others are not kept waiting. With nobody required left, nobody can say that it is online: back."""
    if not step.active.required:
        why = f"{event.member}, the last required member, was detached by {event.by}"
        return begin_revert(step, event.at, event.fresh_id, why)
    return go_online(step, event)


def roll_back(step: Step, event: Requested) -> Step:
    """A rollback that is asked for meanwhile: back now, and then on to where the request leads."""
    step = begin_revert(step, event.at, event.rollout.id, f"rolled back by {event.rollout.by}")
    return deploy(step, event)


def _stage_again(step: Step, event: Report) -> Step:
    if answer_of(step.active, event.member).flipped_at:
        return step
    step = step.note(event.member, staged=False)
    return step.send(event.at, stage(step.state, step.active, event.member))


def _final(rollout: Rollout, member: str) -> Answer:
    answer = answer_of(rollout, member)
    return answer if answer.flipped_at else replace(answer, lagging=True)
