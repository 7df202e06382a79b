"""`status`: the matrix environment × system, read from the ledger alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from distributor.cli.desk import Desk
from distributor.cli.environments import EnvironmentStatus, Facts, Outlook
from distributor.cli.members import Releases
from distributor.cli.presence import PROCESS_SILENT, absence, word
from distributor.cli.standing import Status, TroublePart
from distributor.rollout.state import Environment, Member
from distributor.telemetry import clock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from distributor.ledger.processes import Trouble
    from distributor.ledger.releases import ReleaseRecord
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

    from distributor.ledger import processes, releases, tables

    chosen = states(conn, settings, names)
    head = releases.head(conn)
    shown = {member.shows for state in chosen.values() for member in state.members.values()}
    now = clock.now()
    presence = processes.presence(conn, "coordinator")
    lately = now - PROCESS_SILENT
    cut_off = processes.trouble(conn, "coordinator", lately, of_all=True)
    outlook = Outlook(
        now, Releases(head.number if head else 0, _followed_at(conn, shown)), absence(presence, cut_off, now)
    )
    letters = select(func.count()).where(tables.dead_letters.c.state == "waiting")
    return Status(
        at=now,
        newest_release=outlook.releases.newest,
        coordinator=word(presence, now),
        coordinator_seen_at=presence.seen_at,
        coordinator_trouble=_trouble(cut_off),
        publishing_stopped=_trouble(processes.trouble(conn, "publisher", lately)),
        dead_letters=conn.execute(letters).scalar_one(),
        environments=tuple(
            EnvironmentStatus.of(state, outlook, _facts(conn, state, head)) for state in chosen.values()
        ),
    )


def _facts(conn: Connection, state: Environment, head: ReleaseRecord | None) -> Facts:
    from distributor.ledger import doubts, progress, rollouts, stalls, variants
    from distributor.triggers.lagging import not_followed

    ended = rollouts.newest_ended(conn, state.name)
    found = doubts.doubts(conn, state.name)
    return Facts(
        loads={load.system: load for load in progress.latest(conn, state.name)},
        stalls=stalls.latest(conn, state.name),
        doubts={name: [doubt for doubt in found if doubt.system == name] for name in state.members},
        not_followed=not_followed(conn, state, head) if head else None,
        last_ended=ended.rollout if ended else None,
        held_back=variants.held_back(conn, state.name).get(state.shown, 0),
    )


def _trouble(found: Trouble | None) -> TroublePart | None:
    return TroublePart(since=found.since, why=found.why) if found else None


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
