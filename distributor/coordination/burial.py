"""Deliveries that nobody can process, as dead letters with the reason."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime

from aio_pika.abc import AbstractIncomingMessage

from distributor.ledger.deadletters import DeadLetter
from distributor.wire import topology

_REASONS = {
    "rejected": "its consumer rejected it",
    "expired": "it waited for too long",
    "maxlen": "the queue was full",
    "delivery_limit": f"{topology.DELIVERY_LIMIT} deliveries, and each time its consumer died or gave it back",
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
        headers={name: plain(value) for name, value in delivery.headers.items()},
        content_type=delivery.content_type,
        body=delivery.body,
        attempts=_count(delivery.headers.get("x-delivery-count")) + 1,
    )


def dead_lettered(delivery: AbstractIncomingMessage, at: datetime) -> DeadLetter:
    """A letter for a delivery that the broker took out of some queue; it says which one, and why."""
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
        headers={name: plain(value) for name, value in delivery.headers.items()},
        content_type=delivery.content_type,
        body=delivery.body,
        attempts=_count(delivery.headers.get("x-delivery-count")) + 1,
    )


def plain(value: object) -> object:
    """A header's value as JSON can hold it."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return value.isoformat()
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case Mapping():
            return {str(name): plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
