"""The HTTP API: one router per resource."""

from distributor.web.api import (
    audit,
    freezes,
    judging,
    keys,
    letters,
    me,
    quarantine,
    refreshes,
    releases,
    rollouts,
    status,
    steering,
    triggers,
    verifications,
)

ROUTERS = tuple(
    module.router
    for module in (
        status,
        rollouts,
        judging,
        steering,
        refreshes,
        freezes,
        triggers,
        releases,
        verifications,
        quarantine,
        letters,
        audit,
        keys,
        me,
    )
)
"""All of them; their paths are under /v1."""
