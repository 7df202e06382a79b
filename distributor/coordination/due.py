"""When an environment needs to be looked at again if nothing happens before. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from distributor.rollout.state import Environment, Rollout, RolloutState

BUSY = timedelta(milliseconds=250)
IDLE = timedelta(seconds=1)
SOONEST = timedelta(milliseconds=2)


def pause(environment: Environment, now: datetime) -> timedelta:
    """How long to wait before the next tick: until the next thing is due, at most BUSY or IDLE."""
    active = environment.active
    longest = BUSY if active or environment.queue else IDLE
    times = [*_times(active)] if active else []
    times += [hold.until for hold in environment.holds if hold.until]
    if environment.settlement:
        times.append(environment.settlement.due_at)
    soonest = min((time - now for time in times if time > now), default=longest)
    return max(SOONEST, min(longest, soonest))


def _times(rollout: Rollout) -> Iterator[datetime]:
    timing = rollout.timing
    if rollout.started_at and rollout.state in {RolloutState.STAGING, RolloutState.CONVERGED}:
        yield rollout.started_at + timing.stage_deadline
    if rollout.decided_at and rollout.state is RolloutState.FLIPPING:
        yield rollout.decided_at + timing.flip_deadline
    for answer in rollout.answers.values():
        if answer.sent_at:
            yield answer.sent_at + timing.resend_after
