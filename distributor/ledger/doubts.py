"""Slots that an audit found altered, as their members told: only the newest word of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from distributor.ledger.tables import member_doubts as table

ONLINE, SHADOW = "online", "shadow"


@dataclass(frozen=True, slots=True)
class Doubt:
    """`since` is the coordinator's time of the first word, `seen_at` the member's own of the newest."""

    environment: str
    system: str
    slot: str
    table: str
    release: int | None
    text: str
    since: datetime
    seen_at: datetime


_COLUMNS = [table.c[name] for name in Doubt.__dataclass_fields__]


def note(conn: Connection, doubt: Doubt) -> bool:
    """Keeps a finding, under the environment's lock; whether it is news: nobody said these words of the slot yet."""
    slot = (
        table.c.environment == doubt.environment,
        table.c.system == doubt.system,
        table.c.slot == doubt.slot,
    )
    known = dict(conn.execute(select(table.c.table, table.c.text).where(*slot)).all())
    news = doubt.text not in known.values()
    if known.get(doubt.table) == doubt.text:
        conn.execute(update(table).where(*slot, table.c.table == doubt.table).values(seen_at=doubt.seen_at))
        return news
    conn.execute(delete(table).where(*slot, table.c.table == doubt.table))
    conn.execute(insert(table), {name: getattr(doubt, name) for name in Doubt.__dataclass_fields__})
    return news


def clear(
    conn: Connection, environment: str, system: str, slot: str, until: datetime, *, of_table: str | None = None
) -> int:
    """A slot (or one table of it) was found well at `until`, the member's time; returns how many doubts that ends."""
    query = delete(table).where(
        table.c.environment == environment,
        table.c.system == system,
        table.c.slot == slot,
        table.c.seen_at <= until,
    )
    if of_table is not None:
        query = query.where(table.c.table == of_table)
    return conn.execute(query).rowcount


def flipped(conn: Connection, environment: str, system: str, at: datetime) -> None:
    """What is online since `at` (the member's time) was whole then; what was online before is the shadow now."""
    mine = (table.c.environment == environment, table.c.system == system, table.c.seen_at < at)
    conn.execute(delete(table).where(*mine, table.c.slot == SHADOW))
    before = conn.execute(delete(table).where(*mine, table.c.slot == ONLINE).returning(*_COLUMNS)).all()
    if before:
        moved = [{**row._mapping, "slot": SHADOW, "seen_at": at} for row in before]
        conn.execute(insert(table).on_conflict_do_nothing(), moved)


def doubts(conn: Connection, environment: str | None = None) -> list[Doubt]:
    """All that is known, online slots first."""
    query = select(*_COLUMNS)
    if environment is not None:
        query = query.where(table.c.environment == environment)
    ordered = query.order_by(table.c.environment, table.c.system, table.c.slot, table.c.table)
    return [Doubt(*row) for row in conn.execute(ordered)]
