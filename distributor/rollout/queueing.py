"""Requests, holds, and what is started next.

Pins: a rollback, and every rollout that was flipped back, pins its environment: automation is off, else the next
release would bring the withdrawn rows back. An operator's deploy that does not go backwards ends the pin when it is
online.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from distributor.rollout.events import Aborted, HoldPlaced, HoldReleased, Requested, Tick
from distributor.rollout.state import CALLED_OFF, Cause, Environment, Hold, Requirement, Rollout, RolloutState
from distributor.rollout.step import Step, abandon, everyone, required_members, stage


def follow(step: Step, event: Requested) -> Step:
    """A newer release, asked for by automation: one waits at most, the newest; what automation may not have is
    dropped."""
    state, wanted = step.state, event.rollout
    waiting = next((r for r in state.queue if r.cause.automatic), None)
    on_its_way = state.active and state.active.state is not RolloutState.REVERTING and state.active.release
    if not_for_automation(state, wanted) or (on_its_way and on_its_way >= wanted.release):
        return step
    if waiting is None:
        return step.set(queue=(*state.queue, wanted))
    if waiting.release >= wanted.release:
        return step
    over = replace(
        waiting, state=RolloutState.SUPERSEDED, ended_at=event.at, outcome=f"superseded by release {wanted.release}"
    )
    queue = tuple(wanted if r.id == waiting.id else r for r in state.queue)
    return step.set(queue=queue, ended=(*state.ended, over))


def not_for_automation(state: Environment, wanted: Rollout) -> str:
    """Why automation may not have a rollout; empty when it may, or when somebody else asks."""
    if not wanted.cause.automatic:
        return ""
    if wanted.cause is Cause.AUTO and not state.follow:
        return "the environment does not follow new releases"
    if state.pinned:
        return f"the environment is pinned: {state.pinned}"
    if wanted.release in state.barred:
        return f"release {wanted.release} was withdrawn here"
    if wanted.release <= state.shown:
        return f"release {state.shown} is online"
    return ""


def refresh(step: Step, event: Requested) -> Step:
    """A test team's request: behind whatever waits or runs."""
    if why := _splits(step.state, event.rollout):
        return _refused(step, event, why)
    return step.set(queue=(*step.state.queue, event.rollout))


def deploy(step: Step, event: Requested) -> Step:
    """An operator's request goes before all that waits; a rollback also ends automation."""
    if why := _splits(step.state, event.rollout):
        return _refused(step, event, why)
    for waiting in step.state.queue:
        step = step.end_queued(
            waiting, RolloutState.SUPERSEDED, event.at, f"superseded: {event.rollout.by} asked for {_name(event)}"
        )
    if event.rollout.cause is Cause.ROLLBACK:
        step = step.set(pinned=f"rolled back to release {event.rollout.release} by {event.rollout.by}")
    return step.set(queue=(event.rollout,))


def deploy_instead(step: Step, event: Requested) -> Step:
    """The same before the decision: what is under way is called off."""
    if why := _splits(step.state, event.rollout):
        return _refused(step, event, why)
    step = give_up(step, event.at, f"called off: {event.rollout.by} asked for {_name(event)}")
    return deploy(step, event)


def give_up(step: Step, at: datetime, outcome: str) -> Step:
    """Before the decision, and only then, a rollout is simply over; nobody's answer is waited for."""
    rollout = step.active
    step = step.end(RolloutState.ABANDONED, at, outcome)
    return step.say(*(abandon(rollout, member) for member in everyone(rollout)))


def call_off(step: Step, event: Aborted) -> Step:
    """A request that waits is taken back."""
    waiting = next(r for r in step.state.queue if r.id == event.rollout_id)
    return step.end_queued(waiting, RolloutState.ABANDONED, event.at, f"{CALLED_OFF} {event.by}: {event.reason}")


def start(step: Step, event: Tick) -> Step:
    """The oldest request begins, if it may; a hold does not stop it."""
    state, at = step.state, event.at
    wanted = _with_todays_members(state, state.queue[0])
    if state.blocked:
        if not state.mixed or wanted.cause not in (Cause.OPERATOR, Cause.ROLLBACK):
            return step
        if all(m.shows != wanted.release for m in required_members(state).values()):
            return step.end_queued(wanted, RolloutState.REFUSED, at, f"{state.blocked}; pick one of these first")
        step = step.set(shown=wanted.release)
    if why := _may_not_start(step.state, wanted):
        return step.end_queued(wanted, RolloutState.REFUSED, at, why)
    step = step.new_epoch(wanted.id)
    started = replace(
        wanted,
        state=RolloutState.STAGING,
        epoch=step.state.epoch,
        from_release=step.state.shown,
        started_at=at,
        deadline=at + wanted.timing.stage_deadline,
    )
    step = step.set(queue=state.queue[1:], active=started, settlement=None)
    return step.send(at, *(stage(step.state, started, member) for member in everyone(started)))


def expire(step: Step, at: datetime) -> Step:
    """Time alone: holds end, and requests that waited too long are refused. Automation's waits for a newer one."""
    holds = tuple(h for h in step.state.holds if h.until is None or h.until > at)
    if holds != step.state.holds:
        step = _hold(step, at, holds)
    for waiting in step.state.queue:
        if not waiting.cause.automatic and at >= waiting.requested_at + waiting.timing.stage_deadline:
            step = step.end_queued(waiting, RolloutState.REFUSED, at, "expired: the environment did not come free")
    return step


def hold(step: Step, event: HoldPlaced) -> Step:
    """Staging goes on, the flip waits. One hold per owner."""
    others = tuple(h for h in step.state.holds if h.owner != event.owner)
    return step.set(holds=(*others, Hold(event.owner, event.reason, event.at, event.until)))


def hold_too_late(step: Step, event: HoldPlaced) -> Step:
    """A hold after the decision counts from the next rollout on."""
    return hold(step, event).alarm(
        f"the hold of {event.owner} came after the decision on release {step.active.release}: it holds from the next on"
    )


def release_hold(step: Step, event: HoldReleased) -> Step:
    """The holds of one owner, or all."""
    return _hold(step, event.at, tuple(h for h in step.state.holds if event.owner not in (None, h.owner)))


def _hold(step: Step, at: datetime, holds: tuple[Hold, ...]) -> Step:
    """A hold's end gives a converged rollout its time anew: it could not have used it."""
    active = step.state.active
    if active and active.state is RolloutState.CONVERGED and step.state.holds and not holds:
        step = step.rollout(deadline=at + active.timing.stage_deadline)
    return step.set(holds=holds)


def _with_todays_members(state: Environment, wanted: Rollout) -> Rollout:
    """The set is frozen at the request; only who was given up since, or is required since, counts differently."""

    def now(name: str) -> Requirement | None:
        return state.members[name].requirement if name in state.members else None

    took_part = wanted.required | wanted.optional
    required = {m for m in wanted.required if now(m) not in (Requirement.DETACHED, Requirement.JOINING)}
    required |= {m for m in wanted.optional if now(m) is Requirement.REQUIRED}
    return replace(wanted, required=frozenset(required), optional=took_part - required)


def _may_not_start(state: Environment, wanted: Rollout) -> str:
    if not wanted.required:
        return "no required member takes part: there is nothing to converge"
    if why := not_for_automation(state, wanted):
        return why
    if wanted.cause is Cause.REPAIR and wanted.release != state.shown:
        return f"release {state.shown} is online by now: verify again"
    if why := _splits(state, wanted):
        return why
    astray = [
        f"{name} shows release {member.shows}"
        for name, member in required_members(state).items()
        if member.shows != state.shown and wanted.release != state.shown
    ]
    if astray:
        return f"{', '.join(astray)}, not {state.shown}: `refresh` repairs that first"
    return ""


def _splits(state: Environment, wanted: Rollout) -> str:
    """A part of the required members may only be taken to what the environment shows (repair, catch-up)."""
    left_out = required_members(state).keys() - wanted.required - wanted.optional
    if left_out and wanted.release != state.shown:
        return f"{', '.join(sorted(left_out))} would stay at release {state.shown}: required members go together"
    return ""


def _refused(step: Step, event: Requested, why: str) -> Step:
    return step.end_queued(event.rollout, RolloutState.REFUSED, event.at, why)


def _name(event: Requested) -> str:
    return f"release {event.rollout.release} ({event.rollout.cause.value})"
