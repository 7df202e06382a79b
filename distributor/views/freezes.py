"""Freezes, and the windows of the config: when environments may not change over."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from distributor.errors import UsageError
from distributor.ledger.freezes import Freeze, Position
from distributor.telemetry import clock
from distributor.triggers import calendar
from distributor.views.base import View

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from distributor.settings import Settings


class FreezePart(View):
    """A time in which one environment, or every one, may not change over."""

    id: str
    """Its id; verbs that ask for one take any unambiguous beginning of it."""
    environment: str | None
    """The environment; null: all."""
    since: datetime
    """From when, in UTC."""
    until: datetime
    """Until when, in UTC."""
    reason: str
    """Why."""
    by: str
    """Who placed it."""
    placed_at: datetime
    """When it was placed, in UTC."""
    ended_at: datetime | None
    """When somebody ended it before its time; null when nobody did."""
    ended_by: str | None
    """Who."""
    stands: bool
    """Whether it holds now, or will."""

    @classmethod
    def of(cls, freeze: Freeze, now: datetime) -> FreezePart:
        """As the ledger has it."""
        names = Freeze.__dataclass_fields__
        return cls(**{name: getattr(freeze, name) for name in names}, stands=freeze.stands(now))


class WindowPart(View):
    """When an environment may change over, as the config has it."""

    environment: str
    """The environment."""
    cron: str
    """When it opens: minute, hour, day, month, weekday."""
    lasts_seconds: float
    """How long it stays open."""
    timezone: str
    """The time zone of `cron`."""
    open: bool
    """Whether it is open now. A freeze may close the environment all the same."""
    opens_at: datetime | None
    """When it opens next, in UTC, or opened, if it is open; null: never again."""
    closes_at: datetime | None
    """When it closes then, in UTC."""


class Freezes(View):
    """Freezes, and the windows of the config."""

    at: datetime
    """The time at which this was read, in UTC."""
    freezes: tuple[FreezePart, ...]
    """Freezes, newest first."""
    windows: tuple[WindowPart, ...]
    """The windows of the environments that have some."""


def freezes(
    conn: Connection,
    settings: Settings,
    environment: str | None = None,
    *,
    every: bool = False,
    limit: int = 50,
    before: Position | None = None,
    among: Collection[str] | None = None,
) -> Freezes:
    """The freezes that stand, newest first; `every`: also those that are over. `environment`: its own and everybody's.
    `before`: those that come after that one; `among`: those of these environments, and everybody's, only."""
    from distributor.ledger.freezes import known

    now = clock.now()
    found = known(conn, environment, standing_at=None if every else now, limit=limit, before=before, among=among)
    names = [environment] if environment else list(settings.environments if among is None else among)
    return Freezes(
        at=now,
        freezes=tuple(FreezePart.of(freeze, now) for freeze in found),
        windows=tuple(part for name in names for part in _windows(settings, name, now)),
    )


def find(conn: Connection, beginning: str) -> Freeze:
    """The freeze whose id begins so, as the ledger has it. Raises UsageError when none does, or more than one."""
    from distributor.ledger import freezes as ledger

    match ledger.beginning(conn, beginning):
        case [only]:
            return only
        case []:
            raise UsageError(f"there is no freeze {beginning!r}", where="ledger", mend="See `distributor freezes`.")
        case _:
            raise UsageError(
                f"more than one freeze begins with {beginning!r}", where="ledger", mend="Give more of its digits."
            )


def freeze(conn: Connection, id_: str) -> FreezePart:
    """One freeze, by its id or an unambiguous beginning of it. Raises UsageError."""
    return FreezePart.of(find(conn, id_), clock.now())


def _windows(settings: Settings, environment: str, now: datetime) -> list[WindowPart]:
    found = []
    for window in settings.environment(environment).windows:
        opens, closes = next(calendar.openings(window, now), (None, None))
        found.append(
            WindowPart(
                environment=environment,
                cron=window.cron,
                lasts_seconds=window.lasts.total_seconds(),
                timezone=window.timezone,
                open=bool(opens and opens <= now),
                opens_at=opens,
                closes_at=closes,
            )
        )
    return found
