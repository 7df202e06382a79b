"""Freezes: nobody changes over from one time to another. Each is audited in the same transaction."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine

from distributor.errors import RefusedError, UsageError
from distributor.ledger import audit, freezes
from distributor.ledger.engine import transaction
from distributor.ledger.freezes import Freeze
from distributor.requests import closures
from distributor.settings import Settings
from distributor.telemetry.clock import new_id, now

if TYPE_CHECKING:
    from collections.abc import Iterable


def freeze(
    engine: Engine,
    settings: Settings,
    *,
    environment: str | None,
    since: datetime | None,
    until: datetime,
    by: str,
    reason: str,
) -> str:
    """Closes an environment (None: every one) from `since` (None: now) until `until`; returns the freeze's id.

    Staging goes on, rollbacks too; what is flipping already is not stopped. Raises UsageError for an unknown
    environment, and for a time that is past or ends before it begins.
    """
    at = now()
    since = since or at
    if environment is not None:
        settings.environment(environment)
    if until <= at:
        raise UsageError(f"{until:%Y-%m-%d %H:%M:%S} UTC is past", where="freeze", mend="Name a time to come.")
    if until <= since:
        raise UsageError("it would end before it begins", where="freeze", mend="Name a later end.")
    placed = Freeze(new_id(), environment, since, until, reason, by, at)
    detail = {"freeze": placed.id, "since": since.isoformat(), "until": until.isoformat()}
    with transaction(engine) as conn:
        freezes.place(conn, placed)
        _tell(conn, settings, concerned(settings, environment), at)
        audit.record(conn, audit.AuditRecord(at, by, "freeze", reason, environment, detail))
    return placed.id


def end_freeze(engine: Engine, settings: Settings, freeze_id: str, *, by: str, reason: str = "") -> Freeze:
    """Ends a freeze before its time, or takes it back before it begins. Raises RefusedError when there is none such
    that stands."""
    with transaction(engine) as conn:
        at = now()
        found = freezes.freeze(conn, freeze_id)
        if found is None:
            raise RefusedError(f"there is no freeze {freeze_id}", where="ledger", mend="See `distributor freezes`.")
        if not freezes.end(conn, freeze_id, at, by):
            how = f"{found.ended_by} ended it" if found.ended_at else "its time is over"
            raise RefusedError(f"the freeze of {found.by} does not stand any more: {how}", where="ledger")
        _tell(conn, settings, concerned(settings, found.environment), at)
        detail = {"freeze": found.id, "of": found.by}
        audit.record(conn, audit.AuditRecord(at, by, "unfreeze", reason, found.environment, detail))
        ended = freezes.freeze(conn, freeze_id)
        assert ended is not None
        return ended


def concerned(settings: Settings, environment: str | None) -> list[str]:
    """The environments of a freeze, in the one order in which they are locked. The ledger may remember a freeze of one
    that the config has no more."""
    return (
        sorted(settings.environments) if environment is None else [environment] * (environment in settings.environments)
    )


def _tell(conn: Connection, settings: Settings, environments: Iterable[str], at: datetime) -> None:
    for environment in environments:
        closures.tell(conn, settings, environment, at)
