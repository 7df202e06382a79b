"""What of the store is needed, and by whom: read from the ledger alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, or_, select

from distributor.errors import RefusedError
from distributor.ledger import environments, rollouts
from distributor.ledger.tables import quarantine, releases, verifications
from distributor.ledger.tables import rollouts as history
from distributor.model.manifest import ZERO
from distributor.rollout.state import Cause, Environment, Rollout


@dataclass(frozen=True, slots=True)
class Need:
    """A release that must be there, and what for."""

    release: int
    why: str


@dataclass(frozen=True, slots=True)
class Needs:
    """Releases, the oldest first, and repair lists by their sha256."""

    releases: tuple[Need, ...]
    repairs: frozenset[str]

    @property
    def oldest(self) -> Need | None:
        """The oldest release that must be there; None when there is no release at all."""
        return self.releases[0] if self.releases else None


def needs(conn: Connection, keep: timedelta, at: datetime) -> Needs:
    """Everything that an environment, somebody who goes back, or a verification may ask for.

    `keep`: for how long one can go back. Raises RefusedError while the ledger knows less than its members do.
    """
    states = environments.read_all(conn)
    for name, state in states.items():
        if state.blocked:
            raise RefusedError(
                f"{name} is blocked ({state.blocked}): what its members hold may be unknown to the ledger",
                where="ledger",
                mend=f"`distributor status {name}` says how to end that; collect afterwards.",
            )
    since = at - keep
    found = {*_published(conn, since), *_rolled_out(conn, since), *_verified(conn, since), *_held_back(conn)}
    for state in states.values():
        found.update(_of_environment(conn, state, since))
    known = {need for need in found if need.release != ZERO}
    ordered = sorted(known, key=lambda need: (need.release, need.why))
    return Needs(tuple(ordered), frozenset(_repairs(conn, states, since)))


def _published(conn: Connection, since: datetime) -> Iterator[Need]:
    newest = select(releases.c.number).order_by(releases.c.number.desc()).limit(1)
    if (head := conn.execute(newest).scalar_one_or_none()) is not None:
        yield Need(head, "it is the newest")
    young = select(releases.c.number).where(releases.c.created_at >= since).order_by(releases.c.number).limit(1)
    if (first := conn.execute(young).scalar_one_or_none()) is not None:
        yield Need(first, "it was published within `store.keep`")


def _rolled_out(conn: Connection, since: datetime) -> Iterator[Need]:
    table = history.c
    query = select(table.environment, table.release, table.from_release).where(
        or_(table.ended_at.is_(None), table.ended_at >= since)
    )
    for environment, release, from_release in conn.execute(query.distinct()):
        for number in {release, from_release}:
            yield Need(number, f"{environment} was taken to it or from it within `store.keep`")


def _verified(conn: Connection, since: datetime) -> Iterator[Need]:
    table = verifications.c
    query = select(table.environment, table.release).where(table.ended_at.is_(None), table.requested_at >= since)
    for environment, release in conn.execute(query.distinct()):
        yield Need(release, f"{environment} is being verified against it")


def _held_back(conn: Connection) -> Iterator[Need]:
    """Whether the master has changed such a row is looked up from the release on in which it did not fit."""
    table = quarantine.c
    for environment, release in conn.execute(select(table.environment, table.release).distinct()):
        yield Need(release, f"rows of it are held back from {environment or 'every environment'}")


def _of_environment(conn: Connection, state: Environment, since: datetime) -> Iterator[Need]:
    name = state.name
    yield Need(state.shown, f"{name} shows it")
    if (before := rollouts.shown_before(conn, name, state.shown)) is not None:
        yield Need(before, f"{name} showed it before")
    if state.settlement:
        yield Need(state.settlement.release, f"{name} is brought level with it")
    for rollout in _rollouts(state):
        for number in {rollout.release, rollout.from_release}:
            yield Need(number, f"a rollout of {name} goes from it or to it")
    for system, member in state.members.items():
        # One that was not heard for so long loads everything anew when it is back.
        if member.heard_at is not None and member.heard_at >= since:
            for slot in {member.shows, member.shadow}:
                if slot is not None:
                    yield Need(slot, f"{system} in {name} holds it")


def _rollouts(state: Environment) -> Iterator[Rollout]:
    yield from state.queue
    if state.active:
        yield state.active
    if state.last:
        yield state.last


def _repairs(conn: Connection, states: dict[str, Environment], since: datetime) -> Iterator[str]:
    for state in states.values():
        for rollout in _rollouts(state):
            yield from rollout.repairs.values()
    table = history.c
    query = select(table.id).where(
        table.cause == Cause.REPAIR.value, or_(table.ended_at.is_(None), table.ended_at >= since)
    )
    for id_ in conn.execute(query).scalars().all():
        record = rollouts.rollout(conn, id_)
        if record is not None:
            yield from record.rollout.repairs.values()
