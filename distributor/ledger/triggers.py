"""What triggers remember between two looks, and the calls that nobody has taken yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert

from distributor.ledger.desk_tables import trigger_calls as calls
from distributor.ledger.desk_tables import trigger_rules as rules
from distributor.ledger.storable import text as storable

CHANNEL = "distributor_triggers"
"""Notified when a trigger was called."""
_NOTIFY = text(f"NOTIFY {CHANNEL}")


@dataclass(frozen=True, slots=True)
class RuleRow:
    """What is remembered of one rule; `detail` is the engine's own."""

    environment: str
    name: str
    decision: str
    decided_at: datetime | None
    fired_at: datetime | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CallRow:
    """Somebody called a trigger. `taken_at` is None until a coordinator has; `outcome` says what became of it."""

    id: str
    environment: str
    name: str
    by: str
    reason: str
    at: datetime
    taken_at: datetime | None = None
    outcome: str = ""


def rows(conn: Connection, environment: str) -> dict[str, RuleRow]:
    """What is remembered of an environment's rules, by name."""
    found = conn.execute(select(rules).where(rules.c.environment == environment))
    return {
        row.name: RuleRow(row.environment, row.name, row.decision, row.decided_at, row.fired_at, row.detail or {})
        for row in found
    }


def waits(conn: Connection, environments: Collection[str]) -> dict[str, str]:
    """Environment → what its rules wait for before they ask, as in `waits for quiet until 14:02:15 UTC`."""
    told = rules.c.detail["waits"].astext
    query = select(rules.c.environment, told).where(
        rules.c.environment.in_(list(environments)), told.startswith("waits ")
    )
    found: dict[str, list[str]] = {}
    for environment, wait in conn.execute(query.order_by(rules.c.environment, rules.c.name)):
        found.setdefault(environment, []).append(wait)
    return {environment: "; ".join(all_) for environment, all_ in found.items()}


def put(conn: Connection, row: RuleRow) -> None:
    """Remembers what a rule decided."""
    values = {name: getattr(row, name) for name in RuleRow.__dataclass_fields__}
    given = insert(rules).values({**values, "detail": dict(row.detail)})
    changed = {name: given.excluded[name] for name in values if name not in ("environment", "name")}
    conn.execute(given.on_conflict_do_update(index_elements=[rules.c.environment, rules.c.name], set_=changed))


def forget_others(conn: Connection, environment: str, names: Collection[str]) -> None:
    """Forgets all rules of an environment but these: one that comes back some day begins anew."""
    conn.execute(delete(rules).where(rules.c.environment == environment, rules.c.name.not_in(list(names))))


def call(conn: Connection, row: CallRow) -> None:
    """Notes a call; coordinators hear of it when the transaction commits."""
    values = {name: getattr(row, name) for name in CallRow.__dataclass_fields__}
    conn.execute(insert(calls).values({**values, "by": storable(row.by), "reason": storable(row.reason)}))
    conn.execute(_NOTIFY)


def waiting(conn: Connection, environment: str) -> list[CallRow]:
    """The calls that nobody has taken yet, oldest first."""
    query = select(*_CALL).where(calls.c.environment == environment, calls.c.taken_at.is_(None))
    return [CallRow(*row) for row in conn.execute(query.order_by(calls.c.at, calls.c.id))]


def take(conn: Connection, call_id: str, at: datetime, outcome: str) -> None:
    """A call has been answered."""
    conn.execute(update(calls).where(calls.c.id == call_id).values(taken_at=at, outcome=outcome))


def called(conn: Connection, call_id: str) -> CallRow | None:
    """One call by its id."""
    row = conn.execute(select(*_CALL).where(calls.c.id == call_id)).one_or_none()
    return CallRow(*row) if row else None


def purge(conn: Connection, before: datetime) -> int:
    """Forgets calls of before a time; returns how many. The audit has what became of them."""
    return conn.execute(delete(calls).where(calls.c.at < before)).rowcount


_CALL = [calls.c[name] for name in CallRow.__dataclass_fields__]
