"""Tells the rule-book when an environment may not change over: windows of the config, and freezes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from distributor.coordination.step import Step, step
from distributor.ledger import environments, freezes
from distributor.rollout.events import ClosuresTold, Event
from distributor.rollout.state import Closure, Environment
from distributor.settings import Settings
from distributor.triggers import calendar


def tell(conn: Connection, settings: Settings, environment: str, at: datetime) -> Step | None:
    """Has the environment know its closures, inside the caller's transaction; None when it knew them.

    Call it as often as you like: without news it only reads. Raises UsageError for an unknown environment.
    """
    known = environments.read(conn, environment)
    if (known.closures if known else ()) == wanted(conn, settings, environment, at):
        return None

    def told(state: Environment) -> Event | None:
        # Under the lock, since somebody may have told or ended a freeze while it was waited for.
        found = wanted(conn, settings, environment, at)
        return None if state.closures == found else ClosuresTold(at, found)

    return step(conn, environment, told)


def wanted(conn: Connection, settings: Settings, environment: str, at: datetime) -> tuple[Closure, ...]:
    """The closures that an environment should know."""
    windows = settings.environment(environment).windows
    return calendar.closures(windows, freezes.standing(conn, environment, at - calendar.LOOKBACK), at)
