"""Messages that could not be processed, kept with the reason until somebody retries or discards them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, insert, select, update

from distributor.errors import NotThereError, RefusedError
from distributor.ledger import storable
from distributor.ledger.outbox import OutgoingMessage, enqueue
from distributor.ledger.tables import dead_letters as table
from distributor.telemetry.clock import new_id


class LetterState(StrEnum):
    """What became of it."""

    WAITING = "waiting"
    RETRIED = "retried"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message as it was delivered. `origin` is the queue that could not do with it; `attempts` its deliveries."""

    at: datetime
    origin: str
    exchange: str
    routing_key: str
    type: str | None
    reason: str
    headers: Mapping[str, object]
    content_type: str | None
    body: bytes
    attempts: int
    state: LetterState = LetterState.WAITING
    id: int = 0


def put(conn: Connection, letter: DeadLetter) -> int:
    """Keeps a letter; returns its id. What PostgreSQL cannot hold is escaped (`ledger.storable`), the body is not."""
    values = {name: getattr(letter, name) for name in DeadLetter.__dataclass_fields__ if name != "id"}
    for name, value in values.items():
        if isinstance(value, str):
            values[name] = storable.text(value)
    values["headers"] = storable.json(letter.headers)
    values["attempts"] = max(0, min(letter.attempts, storable.MOST_ATTEMPTS))
    return int(conn.execute(insert(table).values(values).returning(table.c.id)).scalar_one())


def letters(
    conn: Connection, state: LetterState | None = LetterState.WAITING, limit: int = 100, before: int | None = None
) -> list[DeadLetter]:
    """The newest letters, newest first; `state` None means all, `before` those of lower ids."""
    query = select(*_COLUMNS).order_by(table.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(table.c.state == state.value)
    if before is not None:
        query = query.where(table.c.id < before)
    return [_letter(row) for row in conn.execute(query)]


def letter(conn: Connection, id_: int) -> DeadLetter:
    """One letter. Raises NotThereError when there is none of that number."""
    row = conn.execute(select(*_COLUMNS).where(table.c.id == id_)).one_or_none()
    if row is None:
        raise NotThereError(f"there is no dead letter {id_}", where="ledger", mend="See `distributor deadletter list`.")
    return _letter(row)


def retry(conn: Connection, id_: int, at: datetime) -> None:
    """Sends the message once more where it was sent first.

    Raises RefusedError when it is no message of ours, or no longer waits.
    """
    dead = letter(conn, id_)
    if dead.type is None or not dead.exchange:
        raise RefusedError(f"dead letter {id_} cannot be sent again: {dead.reason}", where="ledger", mend="Discard it.")
    enqueue(
        conn,
        [
            OutgoingMessage(
                message_id=new_id(),
                exchange=dead.exchange,
                routing_key=dead.routing_key,
                type=dead.type,
                subject=str(dead.headers.get("ce-subject") or ""),
                body=dead.body,
                traceparent=str(dead.headers["ce-traceparent"]) if "ce-traceparent" in dead.headers else None,
                created_at=at,
            )
        ],
    )
    _become(conn, id_, LetterState.RETRIED)


def discard(conn: Connection, id_: int) -> None:
    """Gives a letter up; it stays readable. Raises RefusedError when there is none such, or it no longer waits."""
    letter(conn, id_)
    _become(conn, id_, LetterState.DISCARDED)


_COLUMNS = [table.c[name] for name in DeadLetter.__dataclass_fields__]


def _become(conn: Connection, id_: int, state: LetterState) -> None:
    still = (table.c.id == id_) & (table.c.state == LetterState.WAITING.value)
    if not conn.execute(update(table).where(still).values(state=state.value)).rowcount:
        raise RefusedError(f"dead letter {id_} was {letter(conn, id_).state.value} already", where="ledger")


def _letter(row: Row[tuple[object, ...]]) -> DeadLetter:
    values = dict(row._mapping)
    return DeadLetter(**{**values, "state": LetterState(values["state"])})
