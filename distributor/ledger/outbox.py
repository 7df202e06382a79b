"""Messages that were decided on in a transaction and leave after its commit.

The order per destination (exchange and routing key) is the order of ids: a message is never claimed while an earlier
one of its destination waits, whoever holds that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, bindparam, exists, func, insert, select, text, tuple_, update

from distributor.ledger.tables import OUTBOX_CHANNEL, outbox

_RETRY_FIRST = 0.25
_RETRY_MOST = 30.0
_RETRY_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """What is to be sent; `body` is the JSON of the message's data."""

    message_id: str
    exchange: str
    routing_key: str
    type: str
    subject: str
    body: bytes
    traceparent: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message locked by this transaction."""

    id: int
    attempts: int
    message: OutgoingMessage


@dataclass(frozen=True, slots=True)
class Claim:
    """A batch, in order. `held_back`: more is due, but another relay is sending an earlier one to its destination."""

    messages: tuple[Claimed, ...]
    held_back: bool


_COLUMNS = [outbox.c[name] for name in OutgoingMessage.__dataclass_fields__]


def enqueue(conn: Connection, messages: Sequence[OutgoingMessage]) -> None:
    """Puts messages into the outbox; relays are woken when the transaction commits."""
    if not messages:
        return
    conn.execute(
        insert(outbox),
        [{**{c.name: getattr(m, c.name) for c in _COLUMNS}, "due_at": m.created_at} for m in messages],
    )
    conn.execute(_NOTIFY)


_NOTIFY = text(f"NOTIFY {OUTBOX_CHANNEL}")

_earlier = outbox.alias("earlier")
_CLAIM = (
    select(outbox.c.id, outbox.c.attempts, *_COLUMNS)
    .where(
        outbox.c.sent_at.is_(None),
        outbox.c.due_at <= bindparam("now"),
        # Behind a message that waits for its next attempt, its whole destination waits, without filling the batch.
        ~exists().where(
            _earlier.c.sent_at.is_(None),
            _earlier.c.due_at > bindparam("now"),
            _earlier.c.exchange == outbox.c.exchange,
            _earlier.c.routing_key == outbox.c.routing_key,
            _earlier.c.id < outbox.c.id,
        ),
    )
    .order_by(outbox.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, of=outbox)
)


def claim(conn: Connection, now: datetime, most: int = 200) -> Claim:
    """Locks up to `most` due messages that nobody else is sending."""
    rows = conn.execute(_CLAIM, {"now": now, "most": most}).all()
    if not rows:
        return Claim((), held_back=False)
    claimed = [Claimed(row.id, row.attempts, OutgoingMessage(*row[2:])) for row in rows]
    first = _first_elsewhere(conn, claimed)
    ready = tuple(
        c for c in claimed if c.id < first.get((c.message.exchange, c.message.routing_key), claimed[-1].id + 1)
    )
    return Claim(ready, held_back=len(ready) < len(claimed))


def _first_elsewhere(conn: Connection, claimed: Sequence[Claimed]) -> dict[tuple[str, str], int]:
    """Per destination, the earliest waiting message that is not among the claimed ones."""
    destinations = {(c.message.exchange, c.message.routing_key) for c in claimed}
    rows = conn.execute(
        select(outbox.c.exchange, outbox.c.routing_key, func.min(outbox.c.id))
        .where(
            and_(
                outbox.c.sent_at.is_(None),
                outbox.c.id < claimed[-1].id,
                outbox.c.id.not_in([c.id for c in claimed]),
                tuple_(outbox.c.exchange, outbox.c.routing_key).in_(destinations),
            )
        )
        .group_by(outbox.c.exchange, outbox.c.routing_key)
    )
    return {(exchange, key): first for exchange, key, first in rows}


def mark_sent(conn: Connection, ids: Iterable[int], at: datetime) -> None:
    """The broker has confirmed these."""
    conn.execute(update(outbox).where(outbox.c.id.in_(list(ids))).values(sent_at=at, error=None))


def mark_failed(conn: Connection, claimed: Claimed, reason: str, now: datetime) -> datetime:
    """The broker has not taken this one: when it is due again (doubling from 0.25 s up to 30 s)."""
    wait = min(_RETRY_MOST, _RETRY_FIRST * 2 ** min(claimed.attempts, _RETRY_DOUBLINGS))
    due = now + timedelta(seconds=wait)
    conn.execute(
        update(outbox).where(outbox.c.id == claimed.id).values(attempts=claimed.attempts + 1, due_at=due, error=reason)
    )
    return due


def purge(conn: Connection, before: datetime) -> int:
    """Forgets messages that were sent before a time; returns how many."""
    return conn.execute(outbox.delete().where(outbox.c.sent_at < before)).rowcount


def waiting(conn: Connection) -> int:
    """How many messages have not been sent."""
    return int(conn.execute(select(func.count()).where(outbox.c.sent_at.is_(None))).scalar_one())
