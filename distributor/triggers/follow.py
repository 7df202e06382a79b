"""Which releases an environment takes by itself. Pure."""

from __future__ import annotations

from datetime import datetime

from distributor.rollout.state import Cause, Environment, RolloutState


def wanted(environment: Environment, head: int, made_at: datetime) -> int | None:
    """The release that automation should ask for; None when there is nothing to ask for. `made_at`: when it was made.

    An environment follows only the newest release: not one that was reverted here (barred), not while it is pinned by
    a rollback, not twice, and not one that an operator passed over by deploying an older one.
    """
    if not environment.follow or environment.pinned or environment.blocked or head in environment.barred:
        return None
    last = environment.last
    if last and last.cause is Cause.OPERATOR and last.state is RolloutState.ONLINE and last.requested_at >= made_at:
        return None
    on_its_way = [r.release for r in environment.queue]
    if environment.active:
        on_its_way.append(environment.active.release)
    return head if head > max([environment.shown, *on_its_way]) else None
