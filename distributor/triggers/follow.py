"""Which release automation may ask for. Pure."""

from __future__ import annotations

from datetime import datetime

from distributor.rollout.state import Cause, Environment, RolloutState


def on_its_way(environment: Environment) -> int:
    """The newest release that is shown, under way or queued."""
    known = [environment.shown, *(r.release for r in environment.queue)]
    if environment.active:
        known.append(environment.active.release)
    return max(known)


def lags(environment: Environment, head: int) -> bool:
    """Whether the newest release is neither shown nor on its way."""
    return head > on_its_way(environment)


def hindrance(environment: Environment, head: int, made_at: datetime) -> str:
    """Why automation may not ask for the newest release here, in a sentence; empty when it may.

    Not one that was reverted here (barred), not while the environment is pinned by a rollback, and not one that an
    operator passed over by deploying an older one. `made_at`: when the release was made.
    """
    if environment.blocked or environment.pinned:
        return environment.blocked or environment.pinned
    if head in environment.barred:
        return f"release {head} was flipped back here"
    last = environment.last
    if last and last.cause is Cause.OPERATOR and last.state is RolloutState.ONLINE and last.requested_at >= made_at:
        return f"{last.by} deployed release {last.release} when release {head} was there already"
    return ""
