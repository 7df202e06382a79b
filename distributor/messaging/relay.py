"""From the outbox to the broker: what was committed leaves, in order, until the broker has confirmed it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine

from distributor.errors import UnreachableError
from distributor.ledger import audit, outbox
from distributor.ledger.engine import clear_errors, first_line
from distributor.messaging.amqp import Broker, Parcel
from distributor.messaging.finishing import finishing
from distributor.settings import lines
from distributor.telemetry import attributes as name
from distributor.telemetry.clock import now
from distributor.telemetry.faults import Point, point
from distributor.telemetry.logs import logger
from distributor.telemetry.tracing import AttributeValue, span
from distributor.wire.envelope import seal

POLL_SECONDS = 1.0
_HELD_BACK_SECONDS = 0.01
_BATCH = 200
_log = logger("relay")


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did."""

    sent: int
    refused: int
    held_back: bool


class Relay:
    """One of any number of relays over the same outbox. `wake` cuts its waiting short."""

    def __init__(self, engine: Engine, broker: Broker, source: str, wake: asyncio.Event) -> None:
        self._engine = engine
        self._broker = broker
        self._source = source
        self._wake = wake

    async def run(self) -> None:
        """Relays until cancelled. Raises UnreachableError when ledger or broker are away."""
        while True:
            done = await self.round()
            if done.sent:
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(_HELD_BACK_SECONDS if done.held_back else POLL_SECONDS):
                    await self._wake.wait()
            self._wake.clear()

    async def round(self) -> Round:
        """Claims one batch, publishes it, and keeps what was confirmed as sent. Not cut by a cancellation."""
        return await finishing(self._round())

    async def _round(self) -> Round:
        with clear_errors(self._engine.url):
            conn, claim = await asyncio.to_thread(self._claim)
            try:
                return await self._relay(conn, claim) if claim.messages else Round(0, 0, claim.held_back)
            finally:
                # Without a commit this gives the claimed messages free again.
                await asyncio.to_thread(conn.close)

    def _claim(self) -> tuple[Connection, outbox.Claim]:
        conn = self._engine.connect()
        try:
            return conn, outbox.claim(conn, now(), _BATCH)
        except BaseException:
            conn.close()
            raise

    async def _relay(self, conn: Connection, claim: outbox.Claim) -> Round:
        attributes: dict[str, AttributeValue] = {name.BATCH_SIZE: len(claim.messages)}
        point(Point.RELAY_BEFORE_SEND)
        with span("relay", attributes, links=(c.message.traceparent for c in claim.messages)):
            receipts = await self._broker.publish([self._parcel(c.message) for c in claim.messages])
        point(Point.RELAY_AFTER_SEND)
        outcome = list(zip(claim.messages, receipts, strict=True))
        sent = [claimed.id for claimed, receipt in outcome if receipt.confirmed]
        refused = [(claimed, receipt.refusal) for claimed, receipt in outcome if receipt.refusal]
        await asyncio.to_thread(_settle, conn, sent, refused)
        return Round(len(sent), len(refused), claim.held_back)

    def _parcel(self, message: outbox.OutgoingMessage) -> Parcel:
        envelope = seal(
            message.type,
            message.body,
            id=message.message_id,
            source=self._source,
            time=message.created_at,
            subject=message.subject,
            traceparent=message.traceparent,
            sent_at=now(),
        )
        return Parcel(message.exchange, message.routing_key, envelope)


def _settle(conn: Connection, sent: list[int], refused: list[tuple[outbox.Claimed, str]]) -> None:
    at = now()
    if sent:
        outbox.mark_sent(conn, sent, at)
    for claimed, reason in refused:
        due = outbox.mark_failed(conn, claimed, reason, at)
        message = claimed.message
        _log.error(
            "message not taken", type=message.type, routing_key=message.routing_key, reason=reason, again=str(due)
        )
        if claimed.attempts == 0:
            what = f"{message.type} to {message.exchange}/{message.routing_key} was not taken by the broker"
            audit.record(conn, audit.AuditRecord(at, "relay", what, reason, detail={"message_id": message.message_id}))
    point(Point.RELAY_BEFORE_COMMIT)
    conn.commit()
    point(Point.RELAY_AFTER_COMMIT)


async def listen(engine: Engine, wakes: Mapping[str, asyncio.Event]) -> None:
    """Sets an event at every commit that notified its channel, from whatever process, until cancelled.

    All are set once at the start. Raises UnreachableError when the connection is lost; notifications are lost then,
    so that they may only be hints.
    """
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        async with await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=5, **lines.CLIENT
        ) as conn:
            for channel, wake in wakes.items():
                await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                wake.set()
            async for notification in conn.notifies():
                wakes[notification.channel].set()
    except psycopg.OperationalError as error:
        raise UnreachableError(f"listening for messages failed: {first_line(error)}", where="ledger") from error
