"""How far each member's load is: only the newest word of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from distributor.ledger.tables import member_progress as table


@dataclass(frozen=True, slots=True)
class MemberProgress:
    """The newest progress of a member; `rate` in rows per second."""

    environment: str
    system: str
    rollout_id: str
    phase: str
    rows_done: int
    rows_total: int
    rate: float
    at: datetime


def put(conn: Connection, progress: MemberProgress) -> None:
    """Replaces what was known; an older word that arrives late changes nothing."""
    values = {name: getattr(progress, name) for name in MemberProgress.__dataclass_fields__}
    statement = insert(table).values(values)
    conn.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.environment, table.c.system],
            set_={name: statement.excluded[name] for name in values if name not in {"environment", "system"}},
            where=table.c.at <= statement.excluded.at,
        )
    )


def latest(conn: Connection, environment: str | None = None) -> list[MemberProgress]:
    """The newest progress of each member."""
    query = select(*(table.c[name] for name in MemberProgress.__dataclass_fields__))
    if environment is not None:
        query = query.where(table.c.environment == environment)
    return [MemberProgress(*row) for row in conn.execute(query.order_by(table.c.environment, table.c.system))]
