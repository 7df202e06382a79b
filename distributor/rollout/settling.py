"""Old slots follow to the online release, commanded under an epoch of its own and only while nothing is in flight."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from distributor.rollout.commands import Settle
from distributor.rollout.events import RefusalReason, Refused, Settled, Tick
from distributor.rollout.state import Cause, Environment, Requirement, RolloutState, Settlement
from distributor.rollout.step import Step, answer_of


def settle(step: Step, event: Tick) -> Step:
    """Begins once the previous release was kept for long enough; then reminds who is silent."""
    state = step.state
    if state.settlement is None:
        due_at = settles_at(state)
        if due_at is None or event.at < due_at or _somebody_catches_up(state, event.at):
            return step
        step = step.new_epoch(event.fresh_id)
        begun = Settlement(event.fresh_id, step.state.epoch, state.shown, due_at)
        return _send(step.set(settlement=begun), event)
    sent, timing = state.settlement.sent_at, state.last and state.last.timing
    if sent and timing and event.at - sent < timing.resend_after:
        return step
    return _send(step, event)


def settles_at(state: Environment) -> datetime | None:
    """When old slots will follow; None when there is nothing to follow to. The next rollout puts it off."""
    last = state.last
    if state.active or state.queue or state.blocked or last is None or last.ended_at is None:
        return None
    if last.state is not RolloutState.ONLINE or last.epoch != state.epoch:
        return None
    # A repair goes to what is shown: its old slots hold no previous release, but what was found altered.
    return last.ended_at if last.cause is Cause.REPAIR else last.ended_at + last.timing.keep_previous


def _somebody_catches_up(state: Environment, at: datetime) -> bool:
    """Whether an optional member still loads what is online: a settlement would cut it off under its new epoch.

    It is waited for as long as a rollout would wait, while it is heard of, and unless it has said that it cannot.
    """
    last = state.last
    if last is None or last.ended_at is None or at >= last.ended_at + last.timing.stage_deadline:
        return False
    since = at - last.timing.heard_within
    return any(
        member.requirement is Requirement.OPTIONAL
        and member.shows != state.shown
        and not answer_of(last, name).refusal
        and member.heard_at is not None
        and member.heard_at >= since
        for name in last.optional
        if (member := state.members.get(name))
    )


def settled(step: Step, event: Settled | Refused) -> Step:
    """A member is done, or has said why it is not: no rollout depends on it."""
    settlement = step.state.settlement
    assert settlement is not None
    for_now = isinstance(event, Refused) and event.reason is RefusalReason.RETRYABLE
    if for_now and event.member in settlement.settled:
        return step
    refusals = {name: text for name, text in settlement.refusals.items() if name != event.member}
    if isinstance(event, Refused):
        refusals[event.member] = event.text
    answered = settlement.settled if for_now else settlement.settled | {event.member}
    return step.set(settlement=replace(settlement, settled=answered, refusals=refusals))


def _send(step: Step, event: Tick) -> Step:
    settlement = step.state.settlement
    assert settlement is not None
    due = [
        name
        for name, member in sorted(step.state.members.items())
        if member.requirement is not Requirement.DETACHED
        and member.shows == settlement.release
        and name not in settlement.settled
        and not (member.worked_at and settlement.sent_at and member.worked_at > settlement.sent_at)
    ]
    if not due:
        return step
    step = step.set(settlement=replace(settlement, sent_at=event.at))
    return step.say(*(Settle(m, settlement.epoch, settlement.id, settlement.release) for m in due))
