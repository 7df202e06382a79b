"""One step of the rule-book in the making: the state so far, and what is to be said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from distributor.rollout.commands import Abandon, Alarm, Command, Flip, Output, Revert, Stage
from distributor.rollout.state import Answer, Environment, Member, Requirement, Rollout, RolloutState


@dataclass(frozen=True, slots=True)
class Step:
    """A value: every method gives a new step."""

    state: Environment
    outputs: tuple[Output, ...] = ()

    @property
    def active(self) -> Rollout:
        """The active rollout, where there must be one."""
        assert self.state.active is not None
        return self.state.active

    def set(self, **changes: Any) -> Step:
        """Fields of the environment."""
        return replace(self, state=replace(self.state, **changes))

    def rollout(self, **changes: Any) -> Step:
        """Fields of the active rollout."""
        return self.set(active=replace(self.active, **changes))

    def note(self, member: str, **changes: Any) -> Step:
        """Fields of a member's answer in the active rollout."""
        return self.rollout(answers=_noted(self.active, member, **changes))

    def note_late(self, member: str, **changes: Any) -> Step:
        """Fields of a member's answer in the newest rollout that ended."""
        assert self.state.last is not None
        return self.set(last=replace(self.state.last, answers=_noted(self.state.last, member, **changes)))

    def member(self, name: str, **changes: Any) -> Step:
        """Fields of a member of the environment, when it is one."""
        if name not in self.state.members:
            return self
        return self.set(members={**self.state.members, name: replace(self.state.members[name], **changes)})

    def new_epoch(self, id: str, above: int = 0) -> Step:
        """Hands out the next epoch, higher than every one known."""
        return self.set(epoch=max(self.state.epoch, above) + 1, epoch_id=id)

    def alarm(self, text: str) -> Step:
        """Something that an operator must see."""
        return replace(self, outputs=(*self.outputs, Alarm(text)))

    def say(self, *commands: Command) -> Step:
        """Commands outside of a rollout."""
        return replace(self, outputs=(*self.outputs, *commands))

    def send(self, at: datetime, *commands: Command) -> Step:
        """Commands of the active rollout, noted as sent."""
        step = self
        for command in commands:
            step = step.note(command.member, sent_at=at)
        return step.say(*commands)

    def end(self, state: RolloutState, at: datetime, outcome: str) -> Step:
        """The active rollout ends."""
        over = replace(self.active, state=state, ended_at=at, deadline=None, outcome=outcome)
        return self.set(active=None, last=over, ended=(*self.state.ended, over))

    def end_queued(self, rollout: Rollout, state: RolloutState, at: datetime, outcome: str) -> Step:
        """A rollout ends that never had an epoch."""
        over = replace(rollout, state=state, ended_at=at, outcome=outcome)
        queue = tuple(waiting for waiting in self.state.queue if waiting.id != rollout.id)
        return self.set(queue=queue, ended=(*self.state.ended, over))


def answer_of(rollout: Rollout, member: str) -> Answer:
    """What a member has answered so far."""
    return rollout.answers.get(member, Answer())


def everyone(rollout: Rollout) -> list[str]:
    """The members that a rollout speaks to."""
    return sorted(rollout.required | rollout.optional)


def attached(state: Environment, rollout: Rollout) -> list[str]:
    """Those of them that no operator has given up: what is said again and again is said to these."""
    return [
        name
        for name in everyone(rollout)
        if name not in state.members or state.members[name].requirement is not Requirement.DETACHED
    ]


def required_members(state: Environment) -> dict[str, Member]:
    """The members that decide, as of now."""
    return {n: m for n, m in sorted(state.members.items()) if m.requirement is Requirement.REQUIRED}


def stage(state: Environment, rollout: Rollout, member: str) -> Stage:
    """The stage command of a rollout; it carries the reverted epochs that the member may have missed."""
    repair = rollout.repairs.get(member, "")
    return Stage(member, rollout.epoch, rollout.id, rollout.release, rollout.from_release, state.void, repair)


def flip(state: Environment, rollout: Rollout, member: str, at: datetime) -> Flip:
    """The flip command of a rollout, with times that fit `at`: never before, and not after the deadline."""
    not_after = rollout.deadline or at + rollout.timing.flip_deadline
    return Flip(member, rollout.epoch, rollout.id, rollout.release, flip_time(state, rollout, at), not_after)


def flip_time(state: Environment, rollout: Rollout, at: datetime) -> datetime:
    """A lead ahead, so that all flip together; at once where the clocks are not known well enough for that."""
    half = rollout.timing.flip_lead.total_seconds() / 2
    clocks = [state.members[name].clock for name in rollout.required if name in state.members]
    if any(clock.uncertainty > half for clock in clocks):
        return at
    return at + rollout.timing.flip_lead


def revert(rollout: Rollout, member: str) -> Revert:
    """The revert command of a rollout: under its own epoch, naming the one that is taken back."""
    assert rollout.revert_epoch is not None
    assert rollout.revert_id is not None
    return Revert(member, rollout.revert_epoch, rollout.revert_id, rollout.epoch)


def abandon(rollout: Rollout, member: str) -> Abandon:
    """Closes the rollout's epoch."""
    return Abandon(member, rollout.epoch, rollout.id)


def _noted(rollout: Rollout, member: str, **changes: Any) -> dict[str, Answer]:
    return {**rollout.answers, member: replace(answer_of(rollout, member), **changes)}
