"""Environments: read under their row's lock, saved whole together with what others read (rollouts, timeline)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from pydantic import ConfigDict, TypeAdapter
from sqlalchemy import Connection, Text, bindparam, cast, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert

from distributor.ledger import rollouts, timeline
from distributor.ledger.tables import environments as table
from distributor.rollout.state import Environment

# A dataclass takes no config of its own here; in a list of one it does. JSON knows no infinity (an unmeasured clock).
_ADAPTER = TypeAdapter(list[Environment], config=ConfigDict(ser_json_inf_nan="strings"))

_STATE = cast(table.c.state, Text)
_LOCK = select(_STATE).where(table.c.name == bindparam("wanted")).with_for_update()
_SAVE = (
    update(table)
    .where(table.c.name == bindparam("wanted"))
    .values(
        state=cast(bindparam("new_state", type_=Text), JSONB),
        version=table.c.version + 1,
        updated_at=bindparam("at"),
    )
)


def dump(environment: Environment) -> str:
    """An environment as JSON."""
    return _ADAPTER.dump_json([environment])[1:-1].decode()


def load(text: str) -> Environment:
    """The inverse of `dump`."""
    return _ADAPTER.validate_json(f"[{text}]")[0]


def lock(conn: Connection, name: str) -> Environment:
    """The environment, locked until the transaction ends; its row is made when it is missing."""
    state = conn.execute(_LOCK, {"wanted": name}).scalar_one_or_none()
    if state is None:
        fresh = dump(Environment(name))
        conn.execute(
            insert(table)
            .values(name=name, state=cast(literal(fresh, Text), JSONB), version=0)
            .on_conflict_do_nothing(index_elements=[table.c.name])
        )
        state = conn.execute(_LOCK, {"wanted": name}).scalar_one()
    return load(state)


def read(conn: Connection, name: str) -> Environment | None:
    """The environment as last committed, without waiting for anybody; None before its first step."""
    state = conn.execute(select(_STATE).where(table.c.name == name)).scalar_one_or_none()
    return load(state) if state is not None else None


def version(conn: Connection, name: str) -> int:
    """How often the environment was saved; 0 before its first step. It never goes back."""
    return conn.execute(select(table.c.version).where(table.c.name == name)).scalar_one_or_none() or 0


def read_all(conn: Connection, names: Collection[str] | None = None) -> dict[str, Environment]:
    """Every environment that has had a step, by name; with `names` only those of them."""
    query = select(table.c.name, _STATE).order_by(table.c.name)
    if names is not None:
        query = query.where(table.c.name.in_(list(names)))
    return {name: load(state) for name, state in conn.execute(query)}


def save(
    conn: Connection,
    before: Environment,
    after: Environment,
    *,
    at: datetime,
    between: Sequence[Environment] = (),
    traceparent: str | None = None,
    note: timeline.MemberNote | None = None,
) -> None:
    """Writes what a step changed: the row, the rollouts it touched, and one timeline entry per transition.

    `between` are the states that it passed through, when it was several decisions in one.
    """
    if after == before and not after.ended:
        return
    kept = replace(after, ended=())
    conn.execute(_SAVE, {"wanted": after.name, "new_state": dump(kept), "at": at})
    rollouts.project(conn, before, after)
    passed = [before, *between, after]
    entries = [entry for old, new in pairwise(passed) for entry in timeline.transitions(old, new)]
    timeline.write(conn, after.name, at, entries, traceparent, note)
