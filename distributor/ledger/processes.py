"""Heartbeats: which processes of this service are up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from distributor.ledger.tables import processes as table

HEARTBEAT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process as last seen. `id` is host and process id."""

    role: str
    id: str
    last_seen: datetime
    detail: Mapping[str, object]


def beat(conn: Connection, process: Process) -> None:
    """Says that a process is up."""
    values = {name: getattr(process, name) for name in Process.__dataclass_fields__}
    conn.execute(
        insert(table)
        .values(values)
        .on_conflict_do_update(
            index_elements=[table.c.role, table.c.id],
            set_={"last_seen": process.last_seen, "detail": dict(process.detail)},
        )
    )


def seen_since(conn: Connection, since: datetime) -> list[Process]:
    """Processes that were up at some time since then."""
    query = select(*(table.c[name] for name in Process.__dataclass_fields__)).where(table.c.last_seen >= since)
    return [Process(*row) for row in conn.execute(query.order_by(table.c.role, table.c.id))]


def gone(conn: Connection, role: str, id_: str) -> None:
    """A process has stopped in good order."""
    conn.execute(delete(table).where(table.c.role == role, table.c.id == id_))
