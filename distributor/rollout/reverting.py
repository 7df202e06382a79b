"""Back, under an epoch of its own: it ends by answers or by an operator's detach, never by time.

A rollout that was flipped back bars its release from automation and pins the environment.
"""

from __future__ import annotations

from datetime import datetime

from distributor.rollout.convergence import all_reverted, silent
from distributor.rollout.events import Detached, Hello, Refused, Report, Reverted, Tick
from distributor.rollout.state import RolloutState
from distributor.rollout.step import Step, answer_of, attached, everyone, revert

_VOID_KEPT = 8
"""A member stages under some epoch between two reverts, unless it slept through both: a few are plenty."""


def begin_revert(step: Step, at: datetime, id: str, why: str) -> Step:
    """All go back; who did not flip raises its floor, so that the flip can never reach it."""
    step = step.new_epoch(id)
    step = step.rollout(
        state=RolloutState.REVERTING,
        revert_epoch=step.state.epoch,
        revert_id=id,
        reverting_at=at,
        deadline=at + step.active.timing.flip_deadline,
        outcome=why,
    )
    step = step.send(at, *(revert(step.active, m) for m in everyone(step.active)))
    return finish(step, at)


def remind(step: Step, event: Tick) -> Step:
    """Revert again, to members that did not answer; past the deadline an operator must know whom it waits for."""
    rollout, at = step.active, event.at
    waiting = [m for m in attached(step.state, rollout) if not answer_of(rollout, m).reverted]
    due = [m for m in waiting if silent(step.state, rollout, m, at)]
    step = step.send(at, *(revert(rollout, m) for m in due))
    required = [m for m in due if m in rollout.required]
    if required and rollout.deadline and at >= rollout.deadline:
        return step.alarm(
            f"rollout {rollout.id} is flipping back and waits for {', '.join(required)}: "
            "bring it back, or detach it if it is lost"
        )
    return step


def reverted(step: Step, event: Reverted) -> Step:
    """A member is back on what it came from; with the last required one the rollout is over."""
    rollout = step.active
    home = answer_of(rollout, event.member).from_release
    if home is None:
        home = rollout.from_release
    if event.shows != home and event.member in rollout.required and not step.state.blocked:
        return step.note(event.member, refusal=f"it shows release {event.shows}").alarm(
            f"{event.member} went back, and shows release {event.shows} instead of {home}"
        )
    return finish(step.note(event.member, reverted=True, refusal=""), event.at)


def finish(step: Step, at: datetime) -> Step:
    """The revert is over once every required member has said so."""
    rollout = step.active
    if not all_reverted(rollout):
        return step
    step = step.end(RolloutState.REVERTED, at, rollout.outcome)
    return step.set(
        barred=step.state.barred | {rollout.release},
        pinned=step.state.pinned or f"release {rollout.release} was flipped back: {rollout.outcome}",
        void=(*step.state.void, rollout.epoch)[-_VOID_KEPT:],
    )


def detach(step: Step, event: Detached) -> Step:
    """The others are not kept waiting."""
    return finish(step, event.at)


def greet(step: Step, event: Hello) -> Step:
    """A member that came back hears of the revert before anything else."""
    return step.send(event.at, revert(step.active, event.member))


def stuck(step: Step, event: Refused) -> Step:
    """A member cannot go back: its previous slot is gone. An operator must know."""
    return step.note(event.member, refusal=event.text).alarm(f"{event.member} cannot go back: {event.text}")


def reissue(step: Step, event: Report) -> Step:
    """A member knows of a higher epoch: the same revert again, above it."""
    step = step.new_epoch(event.fresh_id, above=event.floor)
    step = step.rollout(revert_epoch=step.state.epoch, revert_id=event.fresh_id)
    waiting = [m for m in everyone(step.active) if not answer_of(step.active, m).reverted]
    step = step.send(event.at, *(revert(step.active, m) for m in waiting))
    return step.alarm(
        f"{event.member} knows of epoch {event.floor}, which the ledger forgot: the revert goes out anew, above it"
    )
