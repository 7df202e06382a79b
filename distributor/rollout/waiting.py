"""What an environment waits for, in one sentence, with names: for `status` and the live progress of a deploy.

What stands behind each name, and what would help, is in blockers.py.
"""

from __future__ import annotations

from datetime import datetime

from distributor.rollout.blockers import Beside, awaited, clock, stalled
from distributor.rollout.convergence import not_heard
from distributor.rollout.gates import GateKind, shut
from distributor.rollout.state import SILENT_AFTER, Environment, Requirement, Rollout, RolloutState
from distributor.rollout.step import answer_of


def waiting_for(state: Environment, now: datetime, beside: Beside | None = None) -> str:
    """The sentence, without a full stop; empty when nothing is waited for."""
    found = _of_active(state, state.active, now, beside or Beside()) if state.active else _of_idle(state)
    detached = [n for n, m in sorted(state.members.items()) if m.requirement is Requirement.DETACHED]
    if detached:
        given_up = f"{_list(detached)} {'is' if len(detached) == 1 else 'are'} detached, what it shows is unknown"
        return f"{found}; {given_up}" if found else given_up
    return found


def _of_active(state: Environment, rollout: Rollout, now: datetime, beside: Beside) -> str:
    who = _each(state, rollout, awaited(rollout), now, beside)
    match rollout.state:
        case RolloutState.STAGING:
            return f"{who} to stage release {rollout.release}{_until(rollout)}"
        case RolloutState.CONVERGED:
            return _of_converged(state, rollout, now, beside)
        case RolloutState.FLIPPING:
            return f"{who} to flip to release {rollout.release}{_until(rollout)}"
        case RolloutState.REVERTING:
            late = rollout.deadline is not None and now >= rollout.deadline
            advice = "; bring it back, or detach it if it is lost" if late else ""
            return f"{who} to go back to release {rollout.from_release}{advice}"
        case _:
            return ""


def _of_converged(state: Environment, rollout: Rollout, now: datetime, beside: Beside) -> str:
    if kept := _gates(state, rollout, now):
        return f"{kept}; every required member has staged release {rollout.release}"
    if quiet := not_heard(state, rollout, now):
        return f"{_each(state, rollout, quiet, now, beside)} to be heard of before the flip{_until(rollout)}"
    return f"the decision to flip to release {rollout.release}"


def _gates(state: Environment, rollout: Rollout, now: datetime) -> str:
    shut_ones = shut(state, rollout, now)
    ends = [
        f"the hold of {hold.owner}{f' until {clock(hold.until)}' if hold.until else ''} ({hold.reason})"
        for hold in state.holds
    ]
    ends += [
        f"its closure{f' until {clock(gate.until)}' if gate.until else ''} ({gate.what})"
        for gate in shut_ones
        if gate.kind is GateKind.CLOSURE
    ]
    needed = [gate.what for gate in shut_ones if gate.kind is GateKind.APPROVAL]
    return " and ".join([*([f"{_list(ends)} to end"] if ends else []), *needed])


def _of_idle(state: Environment) -> str:
    if state.mixed:
        return f"an operator to pick a release: {state.blocked}"
    if state.blocked:
        silent = [
            n for n, m in sorted(state.members.items()) if m.floor < state.epoch and m.requirement.value == "required"
        ]
        return f"{_list(silent) or 'members'} to say what it shows: {state.blocked}"
    if state.queue:
        return f"release {state.queue[0].release} to start"
    joining = [n for n, m in sorted(state.members.items()) if m.requirement is Requirement.JOINING]
    if joining:
        return f"{_list(joining)} to join: fenced, and on release {state.shown}"
    return ""


def _each(state: Environment, rollout: Rollout, names: list[str], now: datetime, beside: Beside) -> str:
    return _list([_named(state, rollout, name, now, beside) for name in names]) or "nobody"


def _named(state: Environment, rollout: Rollout, name: str, now: datetime, beside: Beside) -> str:
    """A member, with what is known of its silence or its trouble."""
    if stall := stalled(state, name, now, beside.stalls):
        return f"{name} (in the phase {stall.phase} since {clock(stall.since)})"
    refusal = answer_of(rollout, name).refusal
    if refusal:
        return f"{name} ({refusal.removeprefix(f'{name} ')})"
    member = state.members.get(name)
    if member is None or member.heard_at is None:
        return f"{name} (not heard from yet)"
    if now - member.heard_at > SILENT_AFTER:
        return f"{name} (not heard of since {clock(member.heard_at)})"
    return name


def _until(rollout: Rollout) -> str:
    return f", until {clock(rollout.deadline)}" if rollout.deadline else ""


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
