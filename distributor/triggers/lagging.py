"""Why an environment does not get the newest release by itself, as the ledger knows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from distributor.ledger import releases, rollouts, timeline, triggers
from distributor.rollout.blockers import Blocker, Reason, clock
from distributor.rollout.state import Environment
from distributor.triggers.follow import hindrance, lags
from distributor.triggers.patience import pause_after

NOT_FOLLOWED = "not-followed"
"""The kind of the timeline's entry about a request that could not even be made."""


def not_followed(conn: Connection, states: Iterable[Environment], head: releases.ReleaseRecord) -> dict[str, Blocker]:
    """Environment → the reason; those are left out that lag not, that are about to ask for the release, or in which all
    is blocked anyway."""
    found: dict[str, Blocker] = {}
    open_: list[Environment] = []
    for state in states:
        if state.blocked:
            continue
        if not state.follow and not state.active and not state.queue and state.shown < head.number:
            what = f'{state.name} follows no release by itself (follow = "manual"): release {head.number} is there'
            found[state.name] = Blocker(Reason.NOT_FOLLOWED, state.name, what, head.created_at, (_deploy(state, head),))
        elif state.follow and lags(state, head.number):
            if why := hindrance(state, head.number, head.created_at):
                found[state.name] = _because(state, head, why)
            else:
                open_.append(state)
    return found | (_tried(conn, open_, head) if open_ else {})


def _tried(conn: Connection, states: Sequence[Environment], head: releases.ReleaseRecord) -> dict[str, Blocker]:
    names = [state.name for state in states]
    tried = rollouts.failed_tries(conn, names, head.number)
    told = timeline.newest(conn, names, NOT_FOLLOWED)
    waits = triggers.waits(conn, names)
    found = {
        state.name: _judged(state, head, tried[state.name], told.get(state.name), waits.get(state.name, ""))
        for state in states
    }
    return {name: blocker for name, blocker in found.items() if blocker is not None}


def _judged(
    state: Environment,
    head: releases.ReleaseRecord,
    tries: rollouts.FailedTries,
    told: timeline.TimelineRecord | None,
    waits: str,
) -> Blocker | None:
    if tries.called_off:
        return _because(state, head, "an operator called its rollout off", tries.newest)
    if told and told.at > (tries.newest or head.created_at) and told.text.startswith(f"release {head.number} "):
        return _because(state, head, told.text.partition(": ")[2], told.at, "distributor check")
    if tries.newest is None:
        return _because(state, head, f"it {waits}", head.created_at) if waits else None
    times = "once" if tries.count == 1 else f"{tries.count} times"
    again = clock(tries.newest + pause_after(tries.count))
    why = f"it was tried {times} in vain, and is tried again from {again} on"
    return _because(state, head, why, tries.newest)


def _because(
    state: Environment, head: releases.ReleaseRecord, why: str, since: datetime | None = None, helps: str = ""
) -> Blocker:
    what = f"{state.name} does not follow to release {head.number}: {why}"
    return Blocker(Reason.NOT_FOLLOWED, state.name, what, since, (helps or _deploy(state, head),))


def _deploy(state: Environment, head: releases.ReleaseRecord) -> str:
    return f"distributor deploy {state.name} --release {head.number}"
