"""What is known of members; who may decide; and members that know more than the ledger does.

A new or returning member is *joining*: it takes part, nobody waits for it, and it becomes what the config says once
it has accepted the environment's newest epoch (so that no old flip can reach it) and shows what the environment shows.

A member that knows a higher epoch than the ledger proves that the ledger was restored from a backup. Then nothing
starts before a *hello round*: every member is fenced far above all epochs that anybody remembers, and asked what it
shows. One answer is adopted; several leave the environment blocked until an operator picks one.
"""

from __future__ import annotations

from dataclasses import replace

from distributor.rollout import clock
from distributor.rollout.commands import Abandon, Command
from distributor.rollout.events import (
    Detached,
    Flipped,
    Hello,
    MembersConfigured,
    Report,
    Staged,
    Tick,
)
from distributor.rollout.queueing import give_up
from distributor.rollout.reverting import begin_revert
from distributor.rollout.state import Environment, Member, Requirement, RolloutState, Timing
from distributor.rollout.step import Step, answer_of, flip, required_members, revert, stage

LEAP = 1_000_000
"""How far a fence goes beyond the highest epoch heard of: commands of forgotten epochs may still lie in queues."""


def hear(step: Step, report: Report) -> Step:
    """What every report tells, whatever it answers. One from before a floor that is known tells nothing of slots."""
    name = report.member
    member = step.state.members.get(name)
    if member is None:
        return step
    heard_at = max(member.heard_at, report.at) if member.heard_at else report.at
    step = step.member(name, heard_at=heard_at, clock=clock.combine(member.clock, report.clock))
    if member.requirement is Requirement.DETACHED and isinstance(report, Hello):
        step = step.member(name, requirement=Requirement.JOINING)
    if report.floor < member.floor:
        return step
    if _is_older_than_the_flip(step.state, report):
        return step.member(name, floor=report.floor)
    return step.member(name, floor=report.floor, shows=report.shows, shadow=report.shadow)


def configure(step: Step, event: MembersConfigured) -> Step:
    """The config's members. Who becomes required has to join first, but in an environment that never had a rollout."""
    state = step.state
    virgin = state.epoch == 0 and state.shown == 0
    frozen = state.active.required | state.active.optional if state.active else frozenset()
    members = {name: member for name, member in state.members.items() if name in event.members or name in frozen}
    for name, wanted in event.members.items():
        known = members.get(name)
        if known is None:
            members[name] = Member(wanted if virgin else Requirement.JOINING, configured=wanted)
        elif known.requirement is Requirement.DETACHED:
            members[name] = replace(known, configured=wanted)
        elif virgin or wanted is not Requirement.REQUIRED:
            members[name] = replace(known, requirement=wanted, configured=wanted)
        elif known.requirement is not Requirement.REQUIRED:
            members[name] = replace(known, requirement=Requirement.JOINING, configured=wanted)
    return step.set(members=members, follow=event.follow)


def demote(step: Step, event: Detached) -> Step:
    """An operator gives a member up: it decides nothing any more, and is fenced when it comes back."""
    step = step.member(event.member, requirement=Requirement.DETACHED)
    active = step.state.active
    if active is None or event.member not in active.required:
        return step
    return step.rollout(required=active.required - {event.member}, optional=active.optional | {event.member})


def greet(step: Step, event: Hello) -> Step:
    """A member that came back while nothing runs is fenced, and caught up where the newest rollout still serves."""
    state = step.state
    if event.member not in state.members or (event.floor >= state.epoch and event.shows == state.shown):
        return step
    return _ask(step, event, event.member)


def ask_the_astray(step: Step, event: Tick) -> Step:
    """Asks members again that must still answer before anything can depend on them."""
    for name, member in sorted(step.state.members.items()):
        decides = member.requirement in (Requirement.REQUIRED, Requirement.JOINING)
        answered = member.asked_at is None or (member.heard_at is not None and member.heard_at > member.asked_at)
        if decides and member.heard_at and _astray(step.state, name) and (answered or step.state.blocked):
            step = _ask(step, event, name)
    return step


def staged_late(step: Step, event: Staged) -> Step:
    """Staged after all was online, or by a member whose store was restored: it flips while that epoch is the newest."""
    last = step.state.last
    assert last is not None
    if not _serves(step.state):
        return step
    step = step.note_late(event.member, staged=True, from_release=event.shows, sent_at=event.at)
    return step.say(flip(step.state, last, event.member, event.at))


def flipped_late(step: Step, event: Flipped) -> Step:
    """A flip that was not waited for: noted, taken back where all others went back, or proof of a lost decision."""
    last = step.state.last
    assert last is not None
    if last.state is RolloutState.ONLINE:
        return step.note_late(event.member, flipped_at=event.flipped_at, lagging=False, refusal="")
    if last.state is RolloutState.REVERTED and last.revert_epoch == step.state.epoch:
        return step.say(revert(last, event.member))
    return begin_hello_round(step, event) if last.state is RolloutState.ABANDONED else step


def reverted_late(step: Step, event: Report) -> Step:
    """A revert that was not waited for."""
    return step.note_late(event.member, reverted=True)


def begin_hello_round(step: Step, event: Report) -> Step:
    """Fences everybody far above what anybody remembers, and asks what they show."""
    step = step.new_epoch(event.fresh_id, above=max(event.floor, step.state.epoch) + LEAP)
    why = f"the ledger is older than the estate: {event.member} knows of epoch {event.floor}"
    step = step.set(blocked=why, mixed=False, settlement=None).alarm(why)
    for name in sorted(step.state.members):
        step = _ask(step, event, name, at_once=True)
    return step


def ahead_before_decision(step: Step, event: Report) -> Step:
    """Nothing was decided: over, and asked for again after the hello round."""
    step = give_up(step, event.at, "the ledger is older than the estate: request it again")
    return begin_hello_round(step, event)


def ahead_after_decision(step: Step, event: Report) -> Step:
    """That member can never flip under this epoch. The revert, above all epochs, is the fence and the question."""
    why = f"the ledger is older than the estate: {event.member} knows of epoch {event.floor}"
    step = step.set(blocked=why, mixed=False, epoch=max(event.floor, step.state.epoch) + LEAP).alarm(why)
    return begin_revert(step, event.at, event.fresh_id, why)


def conclude(step: Step) -> Step:
    """With nothing in flight: a hello round that everybody answered ends, and fenced, equal members stop joining."""
    if step.state.active:
        return step
    if step.state.blocked:
        step = _adopt(step)
    state = step.state
    for name, member in state.members.items():
        equal = member.floor >= state.epoch and member.shows == state.shown
        if member.requirement is Requirement.JOINING and equal and not state.blocked:
            step = step.member(name, requirement=member.configured)
    return step


def _adopt(step: Step) -> Step:
    state = step.state
    deciding = required_members(state) or {
        n: m for n, m in state.members.items() if m.requirement is not Requirement.DETACHED
    }
    if not deciding or any(m.floor < state.epoch for m in deciding.values()):
        return step
    shown = {m.shows for m in deciding.values()}
    if len(shown) == 1:
        return step.set(shown=shown.pop(), blocked="", mixed=False)
    each = ", ".join(f"{name} shows release {m.shows}" for name, m in sorted(deciding.items()))
    return step.set(blocked=f"the ledger was restored, and the members disagree: {each}", mixed=True)


def _ask(step: Step, event: Tick | Report, name: str, at_once: bool = False) -> Step:
    """Sends a member the one command that fences it and has an answer; not again before that could have come."""
    state = step.state
    timing = state.last.timing if state.last else Timing()
    asked = state.members[name].asked_at if name in state.members else None
    if asked and not at_once and event.at - asked < timing.resend_after:
        return step
    return step.member(name, asked_at=event.at).say(_fence(state, name))


def _fence(state: Environment, name: str) -> Command:
    """Under the newest epoch: back where the newest rollout went back, on where it is online, else only closed."""
    last, settlement = state.last, state.settlement
    if last and last.state is RolloutState.REVERTED and last.revert_epoch == state.epoch:
        return revert(last, name)
    if last and _serves(state) and name in last.required | last.optional:
        return stage(state, last, name)
    if settlement and settlement.epoch == state.epoch:
        return Abandon(name, settlement.epoch, settlement.id)
    return Abandon(name, state.epoch, state.epoch_id)


def _serves(state: Environment) -> bool:
    """Whether late members may still be brought to what is online, under the very epoch that brought it there."""
    last = state.last
    return last is not None and last.state is RolloutState.ONLINE and last.epoch == state.epoch


def _astray(state: Environment, name: str) -> bool:
    """Whether asking a member helps: it may still act on an old command, or can be brought to what is online."""
    member = state.members[name]
    if member.floor < state.epoch:
        joins = member.requirement is Requirement.JOINING
        return joins or bool(state.blocked) or member.shows != state.shown
    return member.shows != state.shown and _serves(state)


def _is_older_than_the_flip(state: Environment, report: Report) -> bool:
    """Whether it is known that the member flipped after it sent this report: what it says of slots is over."""
    rollout = state.active or state.last
    if rollout is None or report.floor != rollout.epoch or answer_of(rollout, report.member).flipped_at is None:
        return False
    return not isinstance(report, Flipped) and not (isinstance(report, Hello) and report.flipped_epoch == rollout.epoch)
