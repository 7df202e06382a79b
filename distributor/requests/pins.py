"""Pins: automation is off in an environment until somebody says otherwise. Each is audited in the same transaction."""

from __future__ import annotations

from sqlalchemy import Connection, Engine

from distributor.coordination.step import Step, step
from distributor.errors import RefusedError
from distributor.ledger import audit
from distributor.ledger.engine import transaction
from distributor.requests.rollouts import configured
from distributor.rollout.events import Event, Pinned, Unpinned
from distributor.settings import Settings
from distributor.telemetry.clock import now


def pin(engine: Engine, settings: Settings, environment: str, *, by: str, reason: str) -> Step:
    """Keeps an environment at what it shows, as far as nobody asks: neither new releases nor triggers move it.

    Raises RefusedError where nothing comes by itself anyway.
    """
    with transaction(engine) as conn:
        configured(conn, settings, environment)
        _refuse_manual(settings, environment)
        return _do(conn, environment, Pinned(now(), by, reason), by, "pin", reason)


def follow(engine: Engine, settings: Settings, environment: str, *, by: str, reason: str = "") -> Step:
    """Ends the pin of an environment. Raises RefusedError where the config says manual, and where there is no pin."""
    with transaction(engine) as conn:
        state = configured(conn, settings, environment)
        _refuse_manual(settings, environment)
        if not state.pinned:
            raise RefusedError("it is not pinned: it follows already", where=environment)
        return _do(conn, environment, Unpinned(now(), by), by, "follow", reason)


def _refuse_manual(settings: Settings, environment: str) -> None:
    config = settings.environment(environment)
    if config.follow == "manual" and not config.triggers:
        raise RefusedError(
            'it takes releases only when somebody asks: the config says follow = "manual"',
            where=environment,
            mend=f'Write follow = "auto" in [environments.{environment}], or give it a trigger.',
        )


def _do(conn: Connection, environment: str, event: Event, by: str, what: str, why: str) -> Step:
    done = step(conn, environment, event)
    detail = {"shown": done.after.shown, "pinned before": done.before.pinned}
    audit.record(conn, audit.AuditRecord(event.at, by, what, why, environment, detail))
    return done
