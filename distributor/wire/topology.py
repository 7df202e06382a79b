"""Exchanges and queues, as data; both edges declare the very same ones.

No alternate exchange anywhere: with one, an unroutable message is confirmed and its return never comes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

COMMANDS = "pd.commands"
REPORTS = "pd.reports"
RELEASES = "pd.releases"
TRIGGERS = "pd.triggers"
DEAD = "pd.dead"

COORDINATOR_QUEUE = "pd.coordinator"
TRIGGER_QUEUE = "pd.trigger-calls"
TRIGGER_KEY = "call"
DEAD_QUEUE = "pd.dead-letters"
DEAD_REASON = "x-reason"
DEAD_ORIGIN = "x-origin"
"""Headers of what a consumer put among the dead letters itself: why, and the queue it lay in."""
STALE = "stale epoch"
"""How the reason begins when a command only came too late."""
DELIVERY_LIMIT = 20
HEARTBEAT_SECONDS = 3
"""A line that went silent is given up after three to five of these, by either driver; the broker takes two."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable quorum queue with its bindings (exchange, routing key)."""

    name: str
    bindings: tuple[tuple[str, str], ...]
    arguments: dict[str, str | int | bool] = field(default_factory=dict)


EXCHANGES: tuple[tuple[str, str], ...] = (
    (COMMANDS, "direct"),
    (REPORTS, "direct"),
    (RELEASES, "fanout"),
    (TRIGGERS, "direct"),
    (DEAD, "fanout"),
)

_MEMBER = "pd.member."
_QUORUM: dict[str, str | int | bool] = {
    "x-queue-type": "quorum",
    "x-delivery-limit": DELIVERY_LIMIT,
    "x-dead-letter-exchange": DEAD,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


def command_key(environment: str, system: str) -> str:
    """Routing key of a member's commands."""
    return f"{environment}.{system}"


def member_queue(environment: str, system: str) -> Queue:
    """A member's commands; one consumer at a time, the next one takes over when its line drops."""
    return Queue(
        _MEMBER + command_key(environment, system),
        ((COMMANDS, command_key(environment, system)),),
        {**_QUORUM, "x-single-active-consumer": True},
    )


def command_queue_binding(queue: str) -> tuple[str, str] | None:
    """The exchange and key by which commands get into a member's queue; None when it is none."""
    key = queue.removeprefix(_MEMBER)
    return (COMMANDS, key) if key != queue else None


def coordinator_queue() -> Queue:
    """Reports of all members and announcements of releases; any number of coordinators share it."""
    return Queue(COORDINATOR_QUEUE, ((REPORTS, "report"), (RELEASES, "")), dict(_QUORUM))


def trigger_queue() -> Queue:
    """Calls of triggers, from whoever may publish; any number of coordinators share it."""
    return Queue(TRIGGER_QUEUE, ((TRIGGERS, TRIGGER_KEY),), dict(_QUORUM))


def dead_queue() -> Queue:
    """What could not be processed."""
    return Queue(DEAD_QUEUE, ((DEAD, ""),), {"x-queue-type": "quorum"})
