"""What operators do to an environment besides asking for releases. Each is audited in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, Engine

from distributor.coordination.step import Step, step
from distributor.errors import RefusedError
from distributor.ledger import audit, environments
from distributor.ledger.engine import transaction
from distributor.rollout.events import Aborted, Detached, Event, HoldPlaced, HoldReleased
from distributor.rollout.state import RolloutState
from distributor.settings import Settings
from distributor.telemetry.clock import new_id, now


def hold(
    engine: Engine,
    settings: Settings,
    environment: str,
    *,
    owner: str,
    reason: str,
    until: datetime | None = None,
    by: str | None = None,
) -> Step:
    """Reserves an environment: staging goes on, nothing flips until the hold ends. What is flipping is not stopped.

    `by` is who acts, if that is not the hold's owner.
    """
    settings.environment(environment)
    detail: dict[str, object] = {"until": until.isoformat() if until else None}
    if by not in (None, owner):
        detail["owner"] = owner
    with transaction(engine) as conn:
        return _do(conn, environment, HoldPlaced(now(), owner, reason, until), by or owner, "hold", reason, detail)


def release_hold(
    engine: Engine,
    settings: Settings,
    environment: str,
    *,
    by: str,
    owner: str | None = None,
    reason: str = "",
    only_own: bool = False,
) -> Step:
    """Ends the holds of `owner` (None: all); those of others than `by` are noted in the audit.

    `only_own`: for who may end no hold but their own. Raises RefusedError when there is none, or when it is another's.
    """
    settings.environment(environment)
    with transaction(engine) as conn:
        state = environments.lock(conn, environment)
        ended = [held.owner for held in state.holds if owner in (None, held.owner)]
        if not ended:
            raise RefusedError("there is no hold" + (f" of {owner}" if owner else ""), where=environment)
        others = [name for name in ended if name != by]
        if only_own and others:
            raise RefusedError(
                f"the hold of {others[0]} is theirs", where=environment, mend="They can end it, or an operator."
            )
        detail: dict[str, object] = {"owner": owner}
        if others:
            detail["of others"] = others
        return _do(conn, environment, HoldReleased(now(), owner), by, "release-hold", reason, detail)


def abort(
    engine: Engine, settings: Settings, environment: str, *, by: str, reason: str, rollout_id: str | None = None
) -> Step:
    """Calls the active rollout off, or a queued one by its id. Raises RefusedError when there is nothing such."""
    settings.environment(environment)
    with transaction(engine) as conn:
        state = environments.lock(conn, environment)
        known = {r.id for r in state.queue} | ({state.active.id} if state.active else set())
        if not state.active and rollout_id is None:
            raise RefusedError("no rollout is under way", where=environment)
        if rollout_id is not None and rollout_id not in known:
            raise RefusedError(f"rollout {rollout_id} is neither queued nor under way", where=environment)
        if state.active and state.active.state is RolloutState.REVERTING and rollout_id in (None, state.active.id):
            raise RefusedError("the rollout is being flipped back already", where=environment)
        event = Aborted(now(), by, reason, new_id(), rollout_id)
        return _do(conn, environment, event, by, "abort", reason, {"rollout": rollout_id})


def detach(engine: Engine, settings: Settings, environment: str, *, member: str, by: str, reason: str) -> Step:
    """Demotes a member that cannot be reached, so that the others can go on. Raises RefusedError for an unknown one."""
    settings.environment(environment)
    with transaction(engine) as conn:
        state = environments.lock(conn, environment)
        if member not in state.members:
            known = ", ".join(state.members) or "none"
            raise RefusedError(f"{member!r} is no member; known: {known}", where=environment)
        event = Detached(now(), member, by, reason, new_id())
        return _do(conn, environment, event, by, "detach", reason, {"member": member})


def _do(
    conn: Connection, environment: str, event: Event, by: str, what: str, why: str, detail: Mapping[str, object]
) -> Step:
    done = step(conn, environment, event)
    audit.record(conn, audit.AuditRecord(event.at, by, what, why, environment, detail))
    return done
