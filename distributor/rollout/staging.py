"""Before the decision: members stage, and nothing has flipped. Every way out is `abandoned` but one."""

from __future__ import annotations

from distributor.rollout import gates
from distributor.rollout.convergence import all_staged, not_heard, silent, trouble
from distributor.rollout.events import Aborted, Detached, Hello, Refused, Report, Staged, Tick
from distributor.rollout.flipping import decide_flip
from distributor.rollout.queueing import give_up
from distributor.rollout.state import CALLED_OFF, RolloutState
from distributor.rollout.step import Step, answer_of, attached, flip_time, stage


def remind(step: Step, event: Tick) -> Step:
    """Stage again, to members that were not heard of since."""
    rollout = step.active
    due = [
        m
        for m in attached(step.state, rollout)
        if not answer_of(rollout, m).staged and silent(step.state, rollout, m, event.at)
    ]
    return step.send(event.at, *(stage(step.state, rollout, m) for m in due))


def pass_gates(step: Step, event: Tick) -> Step:
    """Converged: decide as soon as no gate is shut and every required member was heard lately."""
    step = remind(step, event)
    state, rollout = step.state, step.active
    # Nobody is told to flip at a time at which the environment is closed.
    if not gates.clear(state, event.at) or not gates.clear(state, flip_time(state, rollout, event.at)):
        return step
    if quiet := not_heard(state, rollout, event.at):
        due = [m for m in quiet if silent(state, rollout, m, event.at)]
        return step.send(event.at, *(stage(state, rollout, m) for m in due))
    return decide_flip(step, event.at)


def staged(step: Step, event: Staged) -> Step:
    """A member has staged, with the expected certificate; with the last one the rollout is converged."""
    step = step.note(event.member, staged=True, from_release=event.shows, lagging=False, refusal="")
    return converge(step, event)


def converge(step: Step, event: Staged | Detached) -> Step:
    """Staging ends with the last required member's answer."""
    if step.active.state is RolloutState.STAGING and all_staged(step.active):
        return step.rollout(state=RolloutState.CONVERGED, converged_at=event.at)
    return step


def unfit(step: Step, event: Staged | Refused) -> Step:
    """A required member cannot take the release: over, at once. An optional one lags."""
    why = trouble(step.active, event)
    step = step.note(event.member, staged=False, refusal=why)
    if event.member in step.active.required:
        return give_up(step, event.at, why)
    return step.note(event.member, lagging=True)


def not_staged(step: Step, event: Refused) -> Step:
    """A member has lost what it had staged: it stages again, and the rollout is no longer converged."""
    step = step.note(event.member, staged=False)
    if event.member in step.active.required:
        step = step.rollout(state=RolloutState.STAGING, converged_at=None)
    return step.send(event.at, stage(step.state, step.active, event.member))


def greet(step: Step, event: Hello) -> Step:
    """A member that came back is told what to do."""
    return step.send(event.at, stage(step.state, step.active, event.member))


def deadline(step: Step, event: Tick) -> Step:
    """Not converged, or not decided, in time."""
    rollout = step.active
    missing = [m for m in sorted(rollout.required) if not answer_of(rollout, m).staged]
    quiet = not_heard(step.state, rollout, event.at)
    names = f"{', '.join(missing)} did not stage" if missing else f"{', '.join(quiet)} was not heard of"
    return give_up(step, event.at, f"not converged in time: {names}")


def abort(step: Step, event: Aborted) -> Step:
    """An operator calls it off."""
    return give_up(step, event.at, f"{CALLED_OFF} {event.by}: {event.reason}")


def detach(step: Step, event: Detached) -> Step:
    """The others are not kept waiting; with nobody required left there is nothing to decide."""
    if not step.active.required:
        return give_up(step, event.at, f"{event.member}, the last required member, was detached by {event.by}")
    return converge(step, event)


def refuse_for_now(step: Step, event: Refused) -> Step:
    """Trying again may help: the reason is kept, the reminder comes with time."""
    return step.note(event.member, refusal=event.text)


def at_work(step: Step, event: Report) -> Step:
    """A load goes on."""
    return step.member(event.member, worked_at=event.at)
