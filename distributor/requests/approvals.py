"""Four eyes: others than the requester agree to a rollout, or reject it. Each is audited in the same transaction."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, Engine

from distributor.coordination.step import Step, step
from distributor.errors import RefusedError
from distributor.ledger import audit, environments, rollouts
from distributor.ledger.engine import transaction
from distributor.ledger.rollouts import INSTEAD
from distributor.rollout.events import Aborted, Approved
from distributor.rollout.state import Rollout, RolloutState
from distributor.settings import Settings
from distributor.telemetry.clock import new_id, now

_DECIDED = (RolloutState.FLIPPING, RolloutState.REVERTING)


def approve(engine: Engine, settings: Settings, rollout_id: str, *, by: str, reason: str) -> Step:
    """Agrees to a rollout; with the last approval that it needs it may flip.

    Raises RefusedError when it needs none, when its requester or somebody who has approved it already asks, and when
    it is too late.
    """
    with transaction(engine) as conn:
        environment, rollout = _pending(conn, settings, rollout_id)
        requesters = set(_requesters(conn, rollout))
        if by in requesters:
            raise RefusedError(
                f"{by} asked for rollout {rollout.id[:8]}, and nobody approves their own request",
                where=environment,
                mend="Somebody else has to approve it.",
            )
        if any(approval.by == by for approval in rollout.approvals):
            raise RefusedError(f"{by} has approved rollout {rollout.id[:8]} already", where=environment)
        done = step(conn, environment, Approved(now(), rollout.id, by, reason))
        _note(conn, "approve", environment, rollout, by, reason)
        return done


def reject(engine: Engine, settings: Settings, rollout_id: str, *, by: str, reason: str) -> Step:
    """Calls a rollout off that waits for approval; nothing has flipped then. Raises RefusedError when it needs no
    approval, or when it is too late: `abort` would flip it back."""
    with transaction(engine) as conn:
        environment, rollout = _pending(conn, settings, rollout_id)
        done = step(conn, environment, Aborted(now(), by, f"rejected: {reason}", new_id(), rollout.id))
        _note(conn, "reject", environment, rollout, by, reason)
        return done


def _pending(conn: Connection, settings: Settings, rollout_id: str) -> tuple[str, Rollout]:
    """The rollout, under its environment's lock, as long as it matters who agrees."""
    record = rollouts.rollout(conn, rollout_id)
    if record is None:
        raise RefusedError(f"there is no rollout {rollout_id}", where="ledger", mend="See `distributor rollouts`.")
    settings.environment(record.environment)
    known = rollouts.known(environments.lock(conn, record.environment))
    rollout = known.get(rollout_id, record.rollout)
    if rollout.state.ended:
        raise RefusedError(f"rollout {rollout.id[:8]} is over: it was {rollout.state.value}", where=record.environment)
    if rollout.state in _DECIDED:
        raise RefusedError(
            f"it is too late: rollout {rollout.id[:8]} was decided and is {rollout.state.value}",
            where=record.environment,
            mend=f"`distributor abort {record.environment} --reason R` flips it back.",
        )
    if not rollout.approvals_needed:
        raise RefusedError(
            f"rollout {rollout.id[:8]} needs no approval",
            where=record.environment,
            mend=f"`distributor abort {record.environment} --rollout {rollout.id[:8]} --reason R` calls it off.",
        )
    return record.environment, rollout


def _requesters(conn: Connection, rollout: Rollout) -> Iterator[str]:
    """Who asked: also for the rollout in whose place this one was asked for, without the rows that did not fit."""
    yield rollout.by
    _, instead, before = rollout.reason.rpartition(f"{INSTEAD} ")
    if instead and (record := rollouts.rollout(conn, before)) is not None:
        yield from _requesters(conn, record.rollout)


def _note(conn: Connection, what: str, environment: str, rollout: Rollout, by: str, reason: str) -> None:
    detail = {"rollout": rollout.id, "release": rollout.release, "asked by": rollout.by}
    audit.record(conn, audit.AuditRecord(now(), by, what, reason, environment, detail))
