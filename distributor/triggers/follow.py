"""Which releases an environment takes by itself. Pure."""

from __future__ import annotations

from datetime import datetime

from distributor.rollout.state import Cause, Environment, RolloutState


def wanted(environment: Environment, head: int, made_at: datetime) -> int | None:
    """The release that automation should ask for; None when there is nothing to ask for. `made_at`: when it was made.

    An environment follows only the newest release: not one that was reverted here (barred), not while it is pinned by
    a rollback, not twice, and not one that an operator passed over by deploying an older one.
    """
    return head if lags(environment, head) and not hindrance(environment, head, made_at) else None


def lags(environment: Environment, head: int) -> bool:
    """Whether it follows, and the newest release is neither shown nor on its way."""
    on_its_way = [r.release for r in environment.queue]
    if environment.active:
        on_its_way.append(environment.active.release)
    return environment.follow and head > max([environment.shown, *on_its_way])


def hindrance(environment: Environment, head: int, made_at: datetime) -> str:
    """Why automation may not ask for the newest release here, in a sentence; empty when it may."""
    if environment.blocked or environment.pinned:
        return environment.blocked or environment.pinned
    if head in environment.barred:
        return f"release {head} was flipped back here"
    last = environment.last
    if last and last.cause is Cause.OPERATOR and last.state is RolloutState.ONLINE and last.requested_at >= made_at:
        return f"{last.by} deployed release {last.release} when release {head} was there already"
    return ""
