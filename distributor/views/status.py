"""How environments stand, read from the ledger alone."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from distributor.rollout.state import Environment, Member
from distributor.telemetry import clock
from distributor.views.base import View
from distributor.views.environments import EnvironmentStatus, Facts, Outlook
from distributor.views.members import Releases
from distributor.views.presence import PROCESS_SILENT, CoordinatorWord, absence, word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from distributor.ledger.doubts import Doubt
    from distributor.ledger.processes import Trouble
    from distributor.ledger.progress import MemberProgress
    from distributor.ledger.releases import ReleaseRecord
    from distributor.settings import Settings


_NOT_TOLD = "why is for keys of environments that are not masked: it may name rows in clear"


class TroublePart(View):
    """A process that is up cannot do its work."""

    since: datetime
    """Since when, in UTC."""
    why: str
    """What stops it, and how to mend it."""


class Status(View):
    """How the environments stand."""

    at: datetime
    """The time at which this was read, in UTC."""
    newest_release: int
    """The newest release; 0 when there is none yet."""
    coordinator: CoordinatorWord
    """Whether a coordinator is at work; `silent`: it should be, and was not heard of lately."""
    coordinator_seen_at: datetime | None
    """When a coordinator was last up; null when none was ever heard of."""
    coordinator_trouble: TroublePart | None
    """Why the coordinators that are up can do nothing, such as a broker that is away; null when one can."""
    publishing_stopped: TroublePart | None
    """Why the publisher that is up cannot publish; null when it can, or none is up."""
    dead_letters: int
    """How many dead letters wait for somebody."""
    environments: tuple[EnvironmentStatus, ...]
    """The environments."""

    @property
    def without_rows(self) -> Status:
        """For whoever reads no rows in clear: a rule that stops the publisher names the rows that fail it."""
        if self.publishing_stopped is None:
            return self
        told = TroublePart(since=self.publishing_stopped.since, why=_NOT_TOLD)
        return self.model_copy(update={"publishing_stopped": told})


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
            EnvironmentStatus.of(chosen[name], outlook, facts) for name, facts in _facts(conn, chosen, head).items()
        ),
    )


def _facts(conn: Connection, chosen: Mapping[str, Environment], head: ReleaseRecord | None) -> dict[str, Facts]:
    """What the ledger knows of these environments; so many questions for all of them, not for each."""
    from distributor.ledger import doubts, progress, rollouts, stalls, variants
    from distributor.triggers.lagging import not_followed

    only = next(iter(chosen)) if len(chosen) == 1 else None
    loads: dict[str, dict[str, MemberProgress]] = {name: {} for name in chosen}
    for load in progress.latest(conn, only):
        loads.get(load.environment, {})[load.system] = load
    found: dict[str, dict[str, list[Doubt]]] = {name: {s: [] for s in state.members} for name, state in chosen.items()}
    for doubt in doubts.doubts(conn, only):
        found.get(doubt.environment, {}).get(doubt.system, []).append(doubt)
    stalled = stalls.latest_of(conn, chosen)
    ended = rollouts.newest_ended_of(conn, chosen)
    lagging = not_followed(conn, chosen.values(), head) if head else {}
    held = variants.held_back_of(conn, {name: state.shown for name, state in chosen.items()})
    return {
        name: Facts(
            loads=loads[name],
            stalls=stalled.get(name, {}),
            doubts=found[name],
            not_followed=lagging.get(name),
            last_ended=ended.get(name),
            held_back=held.get(name, 0),
        )
        for name, state in chosen.items()
    }


def _trouble(found: Trouble | None) -> TroublePart | None:
    return TroublePart(since=found.since, why=found.why) if found else None


def states(conn: Connection, settings: Settings, names: Sequence[str]) -> dict[str, Environment]:
    """The environments as last committed; those that no coordinator has seen yet, as the config has them."""
    from distributor.ledger import environments

    known = environments.read_all(conn, names)
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
