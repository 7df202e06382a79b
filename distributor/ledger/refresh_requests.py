"""Refresh requests: what test teams ask for, in the order in which they asked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, and_, func, insert, or_, select, update

from distributor.ledger.desk_tables import refresh_requests as table


class RequestState(StrEnum):
    """Where a request is."""

    WAITING = "waiting"
    RESETTING = "resetting"
    ROLLING_OUT = "rolling-out"
    DONE = "done"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"

    @property
    def open(self) -> bool:
        """Something is still to be done for it."""
        return self in OPEN


OPEN = (RequestState.WAITING, RequestState.RESETTING, RequestState.ROLLING_OUT)


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """One request. `release`: None for the newest when it begins. `as_of` is what a release was chosen by.

    `rollout_id` is the newest rollout that was asked for because of it, `verification` the newest look at what its
    systems store (of a reset). `outcome` says how it ended, or why it waits again.
    """

    id: str
    environment: str
    by: str
    reason: str
    requested_at: datetime
    release: int | None = None
    as_of: datetime | None = None
    systems: tuple[str, ...] = ()
    reset: bool = False
    state: RequestState = RequestState.WAITING
    rollout_id: str | None = None
    verification: str | None = None
    outcome: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None


Position = tuple[datetime, str]
"""A request's place in the order of `known`: when it was made, and its id."""


def add(conn: Connection, request: RefreshRequest) -> None:
    """Adds a request."""
    values = {name: getattr(request, name) for name in RefreshRequest.__dataclass_fields__}
    conn.execute(insert(table), {**values, "systems": list(request.systems), "state": request.state.value})


def change(conn: Connection, before: RefreshRequest, after: RefreshRequest) -> bool:
    """Writes what became of a request; False, and nothing is written, when it is not as `before` any more."""
    changed = {
        name: getattr(after, name)
        for name in ("state", "rollout_id", "verification", "outcome", "started_at", "ended_at", "release")
        if getattr(after, name) != getattr(before, name)
    }
    if not changed:
        return True
    same = and_(
        table.c.id == before.id,
        table.c.state == before.state.value,
        table.c.rollout_id.is_not_distinct_from(before.rollout_id),
        table.c.verification.is_not_distinct_from(before.verification),
    )
    return bool(conn.execute(update(table).where(same).values(changed)).rowcount)


def request(conn: Connection, id_: str) -> RefreshRequest | None:
    """One request."""
    row = conn.execute(select(*_COLUMNS).where(table.c.id == id_)).one_or_none()
    return _request(row) if row else None


def beginning(conn: Connection, text: str) -> list[RefreshRequest]:
    """The requests whose id begins so, two at most."""
    query = select(*_COLUMNS).where(table.c.id.startswith(text, autoescape=True)).limit(2)
    return [_request(row) for row in conn.execute(query)]


def waiting_line(conn: Connection, environment: str) -> list[RefreshRequest]:
    """The requests of an environment for which something is still to be done, oldest first."""
    query = select(*_COLUMNS).where(table.c.environment == environment, table.c.state.in_(OPEN))
    return [_request(row) for row in conn.execute(query.order_by(table.c.requested_at, table.c.id))]


def known(
    conn: Connection,
    environments: Collection[str] | None = None,
    *,
    only_open: bool = False,
    limit: int = 50,
    before: Position | None = None,
) -> list[RefreshRequest]:
    """The newest requests, newest first. `environments`: only of these; `before`: those that come after that one."""
    query = select(*_COLUMNS).order_by(table.c.requested_at.desc(), table.c.id).limit(limit)
    if environments is not None:
        query = query.where(table.c.environment.in_(list(environments)))
    if only_open:
        query = query.where(table.c.state.in_(OPEN))
    if before is not None:
        at, id_ = before
        query = query.where(or_(table.c.requested_at < at, and_(table.c.requested_at == at, table.c.id > id_)))
    return [_request(row) for row in conn.execute(query)]


def reset_seconds(conn: Connection, environment: str, limit: int = 5) -> list[float]:
    """How long the newest resets took that came to their end, newest first."""
    query = (
        select(func.extract("epoch", table.c.ended_at - table.c.started_at))
        .where(
            table.c.environment == environment,
            table.c.reset.is_(True),
            table.c.state == RequestState.DONE.value,
            table.c.started_at.is_not(None),
        )
        .order_by(table.c.ended_at.desc())
        .limit(limit)
    )
    return [float(seconds) for seconds in conn.execute(query).scalars()]


_COLUMNS = [table.c[name] for name in RefreshRequest.__dataclass_fields__]


def _request(row: object) -> RefreshRequest:
    values = dict(row._mapping)  # type: ignore[attr-defined]
    return RefreshRequest(**{**values, "systems": tuple(values["systems"]), "state": RequestState(values["state"])})
