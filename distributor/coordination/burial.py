"""Deliveries that nobody can process, as dead letters with the reason."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from aio_pika.abc import AbstractIncomingMessage

from distributor.ledger.deadletters import DeadLetter
from distributor.wire import topology

_DELIVERIES = topology.DELIVERY_LIMIT + 1
_REASONS = {
    "rejected": "its consumer rejected it",
    "expired": "it waited for too long",
    "maxlen": "the queue was full",
    "delivery_limit": f"{_DELIVERIES} deliveries, and each time its consumer died or gave it back",
}


def refused_here(delivery: AbstractIncomingMessage, origin: str, reason: str, at: datetime) -> DeadLetter:
    """A letter for a delivery that this process refuses."""
    return DeadLetter(
        at=at,
        origin=origin,
        exchange=delivery.exchange or "",
        routing_key=delivery.routing_key or "",
        type=_text(delivery.headers.get("ce-type")),
        reason=reason,
        headers=delivery.headers,
        content_type=delivery.content_type,
        body=delivery.body,
        attempts=_count(delivery.headers.get("x-delivery-count")) + 1,
    )


def dead_lettered(delivery: AbstractIncomingMessage, at: datetime) -> DeadLetter:
    """A letter for a delivery of the dead-letter queue: put there by a consumer, or by the broker."""
    reason, origin = (_text(delivery.headers.get(name)) for name in (topology.DEAD_REASON, topology.DEAD_ORIGIN))
    if reason and origin:
        exchange, routing_key = topology.command_queue_binding(origin) or ("", "")
        return replace(refused_here(delivery, origin, reason, at), exchange=exchange, routing_key=routing_key)
    return _taken_out(delivery, at)


def bare(delivery: AbstractIncomingMessage, origin: str, reason: str, at: datetime) -> DeadLetter:
    """The letter of last resort: nothing in it depends on what the delivery says of itself. It cannot be retried."""
    headers = repr(delivery.headers).encode("utf-8", "backslashreplace")
    return DeadLetter(
        at=at,
        origin=origin,
        exchange="",
        routing_key="",
        type=None,
        reason=reason,
        headers={"base64": base64.b64encode(headers).decode()},
        content_type=None,
        body=delivery.body,
        attempts=1,
    )


def is_late(letter: DeadLetter) -> bool:
    """Whether it is a command that only came too late: nothing is wrong, and nothing is to be done."""
    return letter.reason.startswith(topology.STALE)


def _taken_out(delivery: AbstractIncomingMessage, at: datetime) -> DeadLetter:
    """What the broker took out says itself from which queue, and why."""
    deaths = delivery.headers.get("x-death")
    death = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], Mapping) else {}
    keys = death.get("routing-keys")
    cause = _text(death.get("reason")) or _text(delivery.headers.get("x-first-death-reason")) or "unknown"
    return DeadLetter(
        at=at,
        origin=_text(death.get("queue")) or _text(delivery.headers.get("x-first-death-queue")) or "unknown",
        exchange=_text(death.get("exchange")) or "",
        routing_key=(_text(keys[0]) if isinstance(keys, list) and keys else None) or "",
        type=_text(delivery.headers.get("ce-type")),
        reason=_REASONS.get(cause, f"the broker took it out: {cause}"),
        headers=delivery.headers,
        content_type=delivery.content_type,
        body=delivery.body,
        attempts=_DELIVERIES if cause == "delivery_limit" else _count(delivery.headers.get("x-delivery-count")) + 1,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
