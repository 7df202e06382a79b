"""When an environment needs to be looked at again if nothing happens before. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from distributor.rollout.state import Environment, Rollout

BUSY = timedelta(milliseconds=250)
IDLE = timedelta(seconds=1)
SOONEST = timedelta(milliseconds=2)


def pause(environment: Environment, now: datetime) -> timedelta:
    """How long to wait before the next tick: until the next thing is due, at most BUSY or IDLE."""
    active = environment.active
    longest = BUSY if active or environment.queue else IDLE
    times = [*_times(active)] if active else []
    times += [hold.until for hold in environment.holds if hold.until]
    times += [moment for closure in environment.closures for moment in (closure.since, closure.until)]
    if environment.settlement:
        times.append(environment.settlement.due_at)
    soonest = min((time - now for time in times if time > now), default=longest)
    return max(SOONEST, min(longest, soonest))


def _times(rollout: Rollout) -> Iterator[datetime]:
    if rollout.deadline:
        yield rollout.deadline
    for answer in rollout.answers.values():
        if answer.sent_at:
            yield answer.sent_at + rollout.timing.resend_after
