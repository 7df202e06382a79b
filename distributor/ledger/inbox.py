"""Which messages have been worked on: the row is written in the transaction of the work itself."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete
from sqlalchemy.dialects.postgresql import insert

from distributor.ledger.tables import inbox


def first_time(conn: Connection, message_id: str, type_: str, at: datetime, traceparent: str | None = None) -> bool:
    """Notes a message; False when it was noted before. Waits for another transaction that is at the same message."""
    noted = conn.execute(
        insert(inbox)
        .values(message_id=message_id, received_at=at, type=type_, traceparent=traceparent)
        .on_conflict_do_nothing(index_elements=[inbox.c.message_id])
        .returning(inbox.c.message_id)
    )
    return noted.first() is not None


def purge(conn: Connection, before: datetime) -> int:
    """Forgets messages received before a time; returns how many. A repetition later than that does no harm."""
    return conn.execute(delete(inbox).where(inbox.c.received_at < before)).rowcount
