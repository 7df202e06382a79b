"""Answers to writes, kept with the writes themselves: whoever asks again with the same key is told the same again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from distributor.ledger.desk_tables import idempotency_keys as table

KEPT = timedelta(hours=24)
_PURGED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it was sent. `fingerprint` is that of the request."""

    fingerprint: str
    status: int
    headers: Mapping[str, str]
    body: bytes


def reserve(conn: Connection, principal: str, key: str) -> bool:
    """Keeps others away from this key until the transaction ends; False when another one is at it."""
    number = func.hashtextextended(f"idempotency {principal} {key}", 0)
    return bool(conn.execute(select(func.pg_try_advisory_xact_lock(number))).scalar_one())


def kept(conn: Connection, principal: str, key: str, at: datetime) -> KeptAnswer | None:
    """The answer that was given under this key in the last 24 hours."""
    query = select(table.c.fingerprint, table.c.status, table.c.headers, table.c.body).where(
        table.c.principal == principal, table.c.key == key, table.c.at > at - KEPT
    )
    row = conn.execute(query).one_or_none()
    return KeptAnswer(row.fingerprint, row.status, row.headers, bytes(row.body)) if row else None


def keep(conn: Connection, principal: str, key: str, at: datetime, answer: KeptAnswer) -> None:
    """Keeps an answer, in the transaction of the write that it answers; forgets some that are too old."""
    values = {name: getattr(answer, name) for name in KeptAnswer.__dataclass_fields__}
    given = insert(table).values(principal=principal, key=key, at=at, **{**values, "headers": dict(answer.headers)})
    conn.execute(
        given.on_conflict_do_update(
            index_elements=[table.c.principal, table.c.key],
            set_={name: given.excluded[name] for name in ("at", *values)},
        )
    )
    old = select(table.c.principal, table.c.key).where(table.c.at <= at - KEPT).limit(_PURGED_AT_ONCE)
    for row in conn.execute(old.with_for_update(skip_locked=True)).all():
        conn.execute(delete(table).where(table.c.principal == row.principal, table.c.key == row.key))
