"""Why an environment does not get the newest release by itself, as the ledger knows it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from distributor.ledger import releases, rollouts, timeline, triggers
from distributor.rollout.blockers import Blocker, Reason, clock
from distributor.rollout.state import Environment
from distributor.triggers.follow import hindrance, lags
from distributor.triggers.patience import pause_after

NOT_FOLLOWED = "not-followed"
"""The kind of the timeline's entry about a request that could not even be made."""


def not_followed(conn: Connection, state: Environment, head: releases.ReleaseRecord) -> Blocker | None:
    """The reason; None when nothing lags, when the release is about to be asked for, or when all is blocked anyway."""
    deploy = f"distributor deploy {state.name} --release {head.number}"
    if state.blocked:
        return None
    if not state.follow and not state.active and not state.queue and state.shown < head.number:
        what = f'{state.name} follows no release by itself (follow = "manual"): release {head.number} is there'
        return Blocker(Reason.NOT_FOLLOWED, state.name, what, head.created_at, (deploy,))
    if not state.follow or not lags(state, head.number):
        return None

    def because(why: str, since: datetime | None = None, helps: str = deploy) -> Blocker:
        what = f"{state.name} does not follow to release {head.number}: {why}"
        return Blocker(Reason.NOT_FOLLOWED, state.name, what, since, (helps,))

    if why := hindrance(state, head.number, head.created_at):
        return because(why)
    tries = rollouts.failed_tries(conn, state.name, head.number)
    if tries.called_off:
        return because("an operator called its rollout off", tries.newest)
    told = timeline.newest(conn, state.name, NOT_FOLLOWED)
    if told and told.at > (tries.newest or head.created_at) and told.text.startswith(f"release {head.number} "):
        return because(told.text.partition(": ")[2], told.at, "distributor check")
    if tries.newest is None:
        waits = waiting(conn, state.name)
        return because(f"it {waits}", head.created_at) if waits else None
    times = "once" if tries.count == 1 else f"{tries.count} times"
    again = clock(tries.newest + pause_after(tries.count))
    return because(f"it was tried {times} in vain, and is tried again from {again} on", tries.newest)


def waiting(conn: Connection, environment: str) -> str:
    """What the environment's triggers wait for before they ask, as in `waits for quiet until 14:02:15 UTC`."""
    found = [str(row.detail.get("waits") or "") for row in triggers.rows(conn, environment).values()]
    return "; ".join(waits for waits in found if waits.startswith("waits "))
