"""What keeps an environment from its flip: who holds it, and when it is closed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from distributor.rollout.state import Environment
from distributor.telemetry import clock
from distributor.triggers.calendar import FOR_EVER, opens_at
from distributor.views.base import View
from distributor.views.environments import HoldPart
from distributor.views.status import states

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from distributor.settings import Settings


class ClosurePart(View):
    """A time in which nothing flips."""

    since: datetime
    """From when, in UTC."""
    until: datetime | None
    """Until when, in UTC; null: no end is known."""
    why: str
    """Why, in a sentence."""


class Holds(View):
    """What keeps an environment from its flip, now and in the next weeks."""

    environment: str
    """The environment."""
    at: datetime
    """The time at which this was read, in UTC."""
    holds: tuple[HoldPart, ...]
    """Who has reserved it, oldest first."""
    closed: tuple[ClosurePart, ...]
    """Why it is closed now; empty when it is open. A rollback waits for no closure."""
    opens_at: datetime | None
    """When it opens, in UTC; null when it is open, or when that is not known."""


def holds(conn: Connection, settings: Settings, environment: str) -> Holds:
    """How an environment stands. Raises UsageError for an unknown one."""
    settings.environment(environment)
    return held(states(conn, settings, [environment])[environment], clock.now())


def held(state: Environment, now: datetime) -> Holds:
    """The same, from its state."""
    closed = tuple(
        ClosurePart(since=closure.since, until=closure.until if closure.until < FOR_EVER else None, why=closure.why)
        for closure in state.closures
        if closure.since <= now < closure.until
    )
    ordered = sorted(state.holds, key=lambda hold: hold.placed_at)
    return Holds(
        environment=state.name,
        at=now,
        holds=tuple(
            HoldPart(owner=hold.owner, reason=hold.reason, placed_at=hold.placed_at, until=hold.until)
            for hold in ordered
        ),
        closed=closed,
        opens_at=opens_at(state.closures, now) if closed else None,
    )
