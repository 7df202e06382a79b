"""The feed: what happened, numbered without a gap in the order of commits. A trigger writes it, nobody else does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from distributor.ledger.desk_tables import events as table

EVENTS_CHANNEL = "distributor_events"
RELEASE, AUDIT = "release", "audit"
"""The kinds of the feed's own; all others are those of the timeline."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One thing that happened. Whoever reads up to `seq` has seen all that was committed before it."""

    seq: int
    at: datetime
    kind: str
    environment: str | None
    rollout_id: str | None
    member: str | None
    text: str
    detail: Mapping[str, object] | None


def since(conn: Connection, seq: int, limit: int = 500) -> list[EventRecord]:
    """The oldest events that are kept and come after `seq`, in order."""
    query = select(*(table.c[name] for name in EventRecord.__dataclass_fields__)).where(table.c.seq > seq)
    return [EventRecord(*row) for row in conn.execute(query.order_by(table.c.seq).limit(limit))]


def newest(conn: Connection) -> int:
    """The number of the newest event; 0 when there never was one."""
    return conn.execute(select(table.c.seq).order_by(table.c.seq.desc()).limit(1)).scalar() or 0


def purge(conn: Connection, before: datetime) -> int:
    """Forgets events of before a time; returns how many.

    What is kept has no gap, though times do not follow the order of commits. The newest stays: numbers go on from it.
    """
    first_kept = select(func.coalesce(func.min(table.c.seq).filter(table.c.at >= before), func.max(table.c.seq)))
    return conn.execute(delete(table).where(table.c.seq < first_kept.scalar_subquery())).rowcount
