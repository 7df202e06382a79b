"""Commands that members do not get on with: the newest word of each, until it gets on."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from distributor.ledger.tables import member_stalls as table
from distributor.rollout.blockers import Stall

_FIELDS = tuple(Stall.__dataclass_fields__)


def put(conn: Connection, environment: str, system: str, stall: Stall) -> bool:
    """Replaces what was known, unless that is newer; whether this is the first word of the stall.

    A stall is over when it is cleared, or when the member is stuck with another command.
    """
    values = {name: getattr(stall, name) for name in _FIELDS}
    statement = insert(table).values(environment=environment, system=system, **values)
    before = (
        select(table.c.rollout_id).where(table.c.environment == environment, table.c.system == system).with_for_update()
    )
    known = conn.execute(before).scalar_one_or_none()
    conn.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.environment, table.c.system],
            set_={name: statement.excluded[name] for name in values},
            where=table.c.at <= statement.excluded.at,
        )
    )
    return known != stall.rollout_id


def clear(conn: Connection, environment: str, system: str) -> Stall | None:
    """The member gets on: what was known until then."""
    statement = delete(table).where(table.c.environment == environment, table.c.system == system)
    row = conn.execute(statement.returning(*(table.c[name] for name in _FIELDS))).one_or_none()
    return Stall(*row) if row else None


def clear_ended(conn: Connection, environment: str, rollout_ids: Collection[str]) -> None:
    """These commands are over, whoever is still stuck with them."""
    conn.execute(delete(table).where(table.c.environment == environment, table.c.rollout_id.in_(rollout_ids)))


def latest(conn: Connection, environment: str) -> dict[str, Stall]:
    """The stalls of an environment's members, by system."""
    return latest_of(conn, [environment]).get(environment, {})


def latest_of(conn: Connection, environments: Collection[str]) -> dict[str, dict[str, Stall]]:
    """The same of several environments, by environment; those without a stall are left out."""
    columns = (table.c.environment, table.c.system, *(table.c[name] for name in _FIELDS))
    found: dict[str, dict[str, Stall]] = {}
    for environment, system, *stall in conn.execute(
        select(*columns).where(table.c.environment.in_(list(environments)))
    ):
        found.setdefault(environment, {})[system] = Stall(*stall)
    return found
