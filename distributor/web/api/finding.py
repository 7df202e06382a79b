"""Which environment a thing of the ledger belongs to: the first question about whatever a path names by an id."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Table, select

from distributor.errors import UsageError
from distributor.ledger import desk_tables, tables
from distributor.web.security.needs import Of


def _of(table: Table) -> Callable[[Connection, str], str | None]:
    def find(conn: Connection, beginning: str) -> str | None:
        ids = table.c.id.startswith(beginning, autoescape=True)
        found = conn.execute(select(table.c.environment).where(ids).limit(2)).scalars().all()
        if not found:
            raise LookupError
        if len(found) > 1:
            raise UsageError(f"more than one id begins with {beginning!r}", where="path", mend="Give all of it.")
        environment: str | None = found[0]
        return environment

    return find


ROLLOUT = Of("rollout", _of(tables.rollouts))
REQUEST = Of("request", _of(desk_tables.refresh_requests))
FREEZE = Of("freeze", _of(desk_tables.freezes))
VERIFICATION = Of("verification", _of(tables.verifications))
CALL = Of("call", _of(desk_tables.trigger_calls))
