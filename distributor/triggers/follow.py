"""Which releases an environment takes by itself. Pure."""

from __future__ import annotations

from distributor.rollout.state import Environment


def wanted(environment: Environment, head: int) -> int | None:
    """The release that automation should ask for; None when there is nothing to ask for.

    An environment follows only the newest release: not one that was reverted here (barred), not while it is pinned by
    a rollback, and not twice.
    """
    if not environment.follow or environment.pinned or environment.blocked or head in environment.barred:
        return None
    on_its_way = [r.release for r in environment.queue]
    if environment.active:
        on_its_way.append(environment.active.release)
    return head if head > max([environment.shown, *on_its_way]) else None
