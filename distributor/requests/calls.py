"""Calls of triggers, by a message or by the API: noted and audited; a coordinator takes them at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, Engine

from distributor.errors import NotThereError, RefusedError
from distributor.ledger import audit, triggers
from distributor.ledger.engine import transaction
from distributor.settings import Settings
from distributor.settings.desk import Trigger
from distributor.telemetry.clock import new_id, now

CALL = "call trigger"
"""What the audit says of a call; what it came to is an entry of its own."""


def call_trigger(engine: Engine, settings: Settings, environment: str, name: str, *, by: str, reason: str) -> str:
    """Calls a trigger that is on = "message"; returns the call's id.

    Raises UsageError for an unknown environment, NotThereError when it has no such trigger, RefusedError when that
    cannot be called.
    """
    with transaction(engine) as conn:
        return note_call(conn, settings, environment, name, by=by, reason=reason, at=now())


def note_call(
    conn: Connection,
    settings: Settings,
    environment: str,
    name: str,
    *,
    by: str,
    reason: str,
    at: datetime,
    detail: Mapping[str, object] | None = None,
) -> str:
    """`call_trigger` inside the caller's transaction; `detail` goes into the audit."""
    callable_trigger(settings, environment, name)
    call = triggers.CallRow(new_id(), environment, name, by, reason, at)
    triggers.call(conn, call)
    noted = {"trigger": name, "call": call.id, **(detail or {})}
    audit.record(conn, audit.AuditRecord(at, by, CALL, reason, environment, noted))
    return call.id


def callable_trigger(settings: Settings, environment: str, name: str) -> Trigger:
    """The trigger of this name. Raises UsageError and RefusedError as `call_trigger`."""
    known = settings.environment(environment).triggers
    can_be = ", ".join(rule.name for rule in known if rule.on == "message") or "none"
    mend = f'Triggers with on = "message" can be called; {environment} has: {can_be}.'
    rule = next((rule for rule in known if rule.name == name), None)
    if rule is None:
        raise NotThereError(f"there is no trigger {name!r} in {environment}", where=environment, mend=mend)
    if rule.on != "message":
        raise RefusedError(f"the trigger {name} is on {rule.on}, and cannot be called", where=environment, mend=mend)
    return rule
