"""Freezes: times in which one environment, or every one, may not change over."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, or_, select, update

from distributor.ledger.desk_tables import freezes as table


@dataclass(frozen=True, slots=True)
class Freeze:
    """One freeze. `environment`: None for all. `ended_at` is set when somebody ended it before its time."""

    id: str
    environment: str | None
    since: datetime
    until: datetime
    reason: str
    by: str
    placed_at: datetime
    ended_at: datetime | None = None
    ended_by: str | None = None

    def stands(self, at: datetime) -> bool:
        """Whether it holds, or will."""
        return self.ended_at is None and at < self.until


Position = tuple[datetime, str]
"""A freeze's place in the order of `known`: when it was placed, and its id."""


def place(conn: Connection, freeze: Freeze) -> None:
    """Adds a freeze."""
    conn.execute(insert(table), {name: getattr(freeze, name) for name in Freeze.__dataclass_fields__})


def end(conn: Connection, id_: str, at: datetime, by: str) -> bool:
    """Ends a freeze; False when it is over, or was ended before."""
    ended = conn.execute(
        update(table)
        .where(table.c.id == id_, table.c.ended_at.is_(None), table.c.until > at)
        .values(ended_at=at, ended_by=by)
    )
    return bool(ended.rowcount)


def freeze(conn: Connection, id_: str) -> Freeze | None:
    """One freeze."""
    row = conn.execute(select(*_COLUMNS).where(table.c.id == id_)).one_or_none()
    return Freeze(*row) if row else None


def beginning(conn: Connection, text: str) -> list[Freeze]:
    """The freezes whose id begins so, two at most."""
    query = select(*_COLUMNS).where(table.c.id.startswith(text, autoescape=True)).limit(2)
    return [Freeze(*row) for row in conn.execute(query)]


def standing(conn: Connection, environment: str, after: datetime) -> list[Freeze]:
    """Those of an environment, its own and everybody's, that nobody ended and that last beyond a time; by beginning."""
    query = (
        select(*_COLUMNS)
        .where(
            or_(table.c.environment == environment, table.c.environment.is_(None)),
            table.c.ended_at.is_(None),
            table.c.until > after,
        )
        .order_by(table.c.since, table.c.id)
    )
    return [Freeze(*row) for row in conn.execute(query)]


def known(
    conn: Connection,
    environment: str | None = None,
    *,
    standing_at: datetime | None = None,
    limit: int = 50,
    before: Position | None = None,
    among: Collection[str] | None = None,
) -> list[Freeze]:
    """The newest freezes, newest first. `environment`: its own and everybody's; `standing_at`: only those that hold
    then, or will; `before`: those that come after that one; `among`: those of these, and everybody's."""
    query = select(*_COLUMNS).order_by(table.c.placed_at.desc(), table.c.id).limit(limit)
    if environment is not None:
        query = query.where(or_(table.c.environment == environment, table.c.environment.is_(None)))
    if among is not None:
        query = query.where(or_(table.c.environment.in_(list(among)), table.c.environment.is_(None)))
    if standing_at is not None:
        query = query.where(table.c.ended_at.is_(None), table.c.until > standing_at)
    if before is not None:
        at, id_ = before
        query = query.where(or_(table.c.placed_at < at, (table.c.placed_at == at) & (table.c.id > id_)))
    return [Freeze(*row) for row in conn.execute(query)]


_COLUMNS = [table.c[name] for name in Freeze.__dataclass_fields__]
