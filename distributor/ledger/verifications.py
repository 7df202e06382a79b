"""Verifications that were asked for, and what members answered. Answers come in parts, in any order, any number of
times."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Select, and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from distributor.ledger.tables import audit_answers, verifications
from distributor.wire.messages import AuditDepth, AuditedReport

ROUND = "."
"""Between a verification's id and the number of the round: the id of an audit, as members know it."""

Position = tuple[datetime, str]
"""A verification's place in the order of `known`: when it was asked for, and its id."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A request to compare what an environment's members store with what their releases say.

    `release` is what the environment showed then.
    """

    id: str
    environment: str
    requested_at: datetime
    by: str
    why: str
    release: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a verification ended. `detail`: what was found, per system."""

    at: datetime
    outcome: str
    detail: Mapping[str, object]


class AnswerPart(BaseModel):
    """A report as it was kept, without what it was found by. Lanes are 16 hex digits each.

    It was validated when it came: plain tuples are read six times as fast as 65,536 of the report's own values.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    slot: str = "online"
    release: int | None = None
    mapping: str = ""
    table: str = ""
    sums: dict[int, tuple[int, str, str]] = {}
    rows: tuple[tuple[tuple[str | None, ...], str, str], ...] = ()
    error: str = ""
    seconds: float = 0.0


def begin(conn: Connection, verification: Verification) -> None:
    """Remembers a request."""
    values = {name: getattr(verification, name) for name in Verification.__dataclass_fields__}
    conn.execute(insert(verifications).values(values))


def end(conn: Connection, id_: str, ended: Ended) -> None:
    """Remembers what it came to; the answers, megabytes where something differed, are of no more use."""
    conn.execute(delete(audit_answers).where(audit_answers.c.verification == id_))
    conn.execute(
        update(verifications)
        .where(verifications.c.id == id_)
        .values(ended_at=ended.at, outcome=ended.outcome, detail=dict(ended.detail))
    )


def known(
    conn: Connection, environment: str, limit: int = 50, before: Position | None = None
) -> list[tuple[Verification, Ended | None]]:
    """The newest verifications of an environment, newest first; None: not ended, or given up by whoever asked.

    `before`: those that come after that one.
    """
    table = verifications.c
    query = select(*_KNOWN).where(table.environment == environment)
    if before is not None:
        at, id_ = before
        query = query.where(or_(table.requested_at < at, and_(table.requested_at == at, table.id > id_)))
    return _read(conn, query.order_by(table.requested_at.desc(), table.id).limit(limit))


def beginning(conn: Connection, text: str) -> list[tuple[Verification, Ended | None]]:
    """The verifications whose id begins so, two at most."""
    return _read(conn, select(*_KNOWN).where(verifications.c.id.startswith(text, autoescape=True)).limit(2))


_KNOWN = [
    *(verifications.c[name] for name in Verification.__dataclass_fields__),
    *(verifications.c[name] for name in ("ended_at", "outcome", "detail")),
]


def _read(conn: Connection, query: Select[Any]) -> list[tuple[Verification, Ended | None]]:
    return [
        (Verification(*row[:-3]), Ended(row.ended_at, row.outcome, row.detail or {}) if row.ended_at else None)
        for row in conn.execute(query)
    ]


def answered(conn: Connection, report: AuditedReport, body: bytes, at: datetime) -> bool:
    """Keeps a part of an answer (`body` is its JSON), the newest of its place; False when nobody here asked for it."""
    verification = report.audit_id.partition(ROUND)[0]
    asked = select(verifications.c.id).where(
        verifications.c.id == verification, verifications.c.environment == report.environment
    )
    if conn.execute(asked).first() is None:
        return False
    values = {
        "audit_id": report.audit_id,
        "system": report.system,
        "depth": report.depth.value,
        "parts": report.parts,
        "part": report.part,
        "verification": verification,
        "at": at,
        "body": body,
    }
    statement = insert(audit_answers).values(values)
    conn.execute(
        statement.on_conflict_do_update(
            index_elements=[c.name for c in audit_answers.primary_key],
            set_={"at": statement.excluded.at, "body": statement.excluded.body},
        )
    )
    return True


def complete(conn: Connection, audit_id: str, depth: AuditDepth, systems: Collection[str]) -> set[str]:
    """Which of these systems have answered, all parts of it."""
    table = audit_answers.c
    query = (
        select(table.system)
        .where(table.audit_id == audit_id, table.depth == depth.value, table.system.in_(list(systems)))
        .group_by(table.system, table.parts)
        .having(func.count() >= table.parts)
    )
    return set(conn.execute(query).scalars())


def answer(conn: Connection, audit_id: str, depth: AuditDepth, system: str) -> list[AnswerPart]:
    """The newest complete answer of a system, its parts in order; empty when there is none."""
    table = audit_answers.c
    mine = (table.audit_id == audit_id, table.depth == depth.value, table.system == system)
    newest = (
        select(table.parts)
        .where(*mine)
        .group_by(table.parts)
        .having(func.count() >= table.parts)
        .order_by(func.max(table.at).desc())
        .limit(1)
    )
    rows = conn.execute(select(table.body).where(*mine, table.parts == newest.scalar_subquery()).order_by(table.part))
    return [AnswerPart.model_validate_json(body) for (body,) in rows]


def purge(conn: Connection, before: datetime) -> int:
    """Forgets answers that came before a time; returns how many. What a verification came to is kept."""
    return conn.execute(delete(audit_answers).where(audit_answers.c.at < before)).rowcount
