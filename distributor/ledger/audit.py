"""Who did what, when and why. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from distributor.ledger.tables import audit as table


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One entry. `who` is a person, or a role of this service; `id` grows, and is given when the entry is kept."""

    at: datetime
    who: str
    what: str
    why: str
    environment: str | None = None
    detail: Mapping[str, object] | None = None
    id: int = 0


def record(conn: Connection, entry: AuditRecord) -> None:
    """Adds an entry."""
    conn.execute(
        insert(table), {name: getattr(entry, name) for name in AuditRecord.__dataclass_fields__ if name != "id"}
    )


def records(
    conn: Connection,
    environment: str | None = None,
    limit: int = 100,
    before: int | None = None,
    *,
    among: Collection[str] | None = None,
    who: str | None = None,
    what: str | None = None,
) -> list[AuditRecord]:
    """The newest entries, newest first; `before`: those of lower ids; `among`: those of these environments only."""
    query = select(*(table.c[name] for name in AuditRecord.__dataclass_fields__))
    if environment is not None:
        query = query.where(table.c.environment == environment)
    if among is not None:
        query = query.where(table.c.environment.in_(list(among)))
    if who is not None:
        query = query.where(table.c.who == who)
    if what is not None:
        query = query.where(table.c.what == what)
    if before is not None:
        query = query.where(table.c.id < before)
    return [AuditRecord(*row) for row in conn.execute(query.order_by(table.c.id.desc()).limit(limit))]
