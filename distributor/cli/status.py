"""`status`: the matrix environment × system, read from the ledger alone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from distributor.cli.desk import Desk
from distributor.cli.standing import CoordinatorWord, EnvironmentStatus, Outlook, PublishingPart, Status
from distributor.rollout.state import Environment, Member
from distributor.telemetry import clock

PROCESS_SILENT = timedelta(seconds=20)
_NOBODY: dict[CoordinatorWord, str] = {
    "up": "",
    "silent": "the coordinator, which was not heard of lately",
    "stopped": "a coordinator: none is running (`distributor serve coordinator`)",
    "unheard": "a coordinator: none is running (`distributor serve coordinator`)",
}

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from distributor.ledger.processes import Presence
    from distributor.settings import Settings


def status(
    desk: Desk,
    environment: Annotated[
        str | None, typer.Argument(metavar="[ENV]", help="Only this environment.", show_default=False)
    ] = None,
) -> Status:
    """Show which release every system of every environment shows, and what is waited for.

    It asks the ledger alone, so it also answers while systems are down.
    """
    names = [desk.known_environment(environment)] if environment else sorted(desk.settings.environments)
    with desk.reading() as conn:
        return look(conn, desk.settings, names)


def look(conn: Connection, settings: Settings, names: Sequence[str]) -> Status:
    """How these environments stand at this moment."""
    from sqlalchemy import func, select

    from distributor.ledger import processes, progress, rollouts, tables

    chosen = states(conn, settings, names)
    loads = progress.latest(conn)
    newest = conn.execute(select(func.max(tables.releases.c.number))).scalar_one() or 0
    shown = {member.shows for state in chosen.values() for member in state.members.values()}
    now = clock.now()
    presence = processes.presence(conn, "coordinator")
    coordinator = _word(presence, now)
    trouble = processes.trouble(conn, "publisher", now - PROCESS_SILENT)
    outlook = Outlook(newest, _followed_at(conn, shown), now, _NOBODY[coordinator])
    letters = select(func.count()).where(tables.dead_letters.c.state == "waiting")
    return Status(
        at=now,
        newest_release=newest,
        coordinator=coordinator,
        coordinator_seen_at=presence.seen_at,
        publishing_stopped=PublishingPart(since=trouble.since, why=trouble.why) if trouble else None,
        dead_letters=conn.execute(letters).scalar_one(),
        environments=tuple(
            EnvironmentStatus.of(
                state,
                outlook,
                {load.system: load for load in loads if load.environment == name},
                ended.rollout if (ended := rollouts.newest_ended(conn, name)) else None,
            )
            for name, state in chosen.items()
        ),
    )


def _word(presence: Presence, now: datetime) -> CoordinatorWord:
    if presence.seen_at is None:
        return "unheard"
    if presence.beat_at and now - presence.beat_at < PROCESS_SILENT:
        return "up"
    return "silent" if presence.seen_at == presence.beat_at else "stopped"


def states(conn: Connection, settings: Settings, names: Sequence[str]) -> dict[str, Environment]:
    """The environments as last committed; those that no coordinator has seen yet, as the config has them."""
    from distributor.ledger import environments

    known = environments.read_all(conn)
    return {name: known.get(name) or _untouched(settings, name) for name in names}


def _untouched(settings: Settings, name: str) -> Environment:
    """An environment that no coordinator has seen yet, as the config has it."""
    requirements = settings.environment(name).requirements
    return Environment(name, members={system: Member(requirement) for system, requirement in requirements.items()})


def _followed_at(conn: Connection, releases: set[int]) -> dict[int, datetime]:
    """When the release after each of these was published; the newest has none."""
    from sqlalchemy import select

    from distributor.ledger.tables import releases as table

    wanted = [number + 1 for number in releases]
    rows = conn.execute(select(table.c.number, table.c.created_at).where(table.c.number.in_(wanted)))
    return {number - 1: at for number, at in rows}
