"""When releases were made."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select

from distributor.ledger.tables import releases as table


def published(conn: Connection, numbers: Collection[int]) -> dict[int, datetime]:
    """Release → when it was published; those that the ledger does not know are missing."""
    query = select(table.c.number, table.c.created_at).where(table.c.number.in_(numbers))
    return {row.number: row.created_at for row in conn.execute(query)}
