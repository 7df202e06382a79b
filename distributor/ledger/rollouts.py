"""Every rollout that ever was, for those who ask; written from the environment's state, never read by `decide`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from pydantic import ConfigDict, TypeAdapter
from sqlalchemy import Connection, Text, and_, bindparam, cast, column, func, or_, select, true, values
from sqlalchemy.dialects.postgresql import JSONB, insert

from distributor.ledger.tables import rollouts as table
from distributor.rollout.state import CALLED_OFF, Environment, Rollout, RolloutState

_ADAPTER = TypeAdapter(list[Rollout], config=ConfigDict(ser_json_inf_nan="strings"))
_PLAIN = [c.name for c in table.columns if c.name not in {"environment", "body"}]
_INSERT = insert(table).values(
    environment=bindparam("environment"),
    body=cast(bindparam("body", type_=Text), JSONB),
    **{name: bindparam(name) for name in _PLAIN},
)
_UPSERT = _INSERT.on_conflict_do_update(
    index_elements=[table.c.id],
    set_={c.name: _INSERT.excluded[c.name] for c in table.columns if c.name != "id"},
)

_BODY = cast(table.c.body, Text)

Position = tuple[datetime, str]
"""A rollout's place in the order of `rollouts`: when it was asked for, and its id."""


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """A rollout of the history, and whose it was."""

    environment: str
    rollout: Rollout


@dataclass(frozen=True, slots=True)
class Brought:
    """A rollout that went online: by which release, and when that was done."""

    release: int
    id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class FailedTries:
    """Rollouts of one release that came to nothing. `called_off`: an operator ended one, and did not want it."""

    count: int
    newest: datetime | None
    called_off: bool


def known(environment: Environment) -> dict[str, Rollout]:
    """The rollouts that a state holds, by id: queued, active, newest ended, ended by this step."""
    return {r.id: r for r in _held(environment)}


def project(conn: Connection, before: Environment, after: Environment) -> None:
    """Writes the rollouts that differ; ended ones first, because only one may be active."""
    old = known(before)
    changed = [r for r in known(after).values() if old.get(r.id) != r]
    for rollout in sorted(changed, key=lambda r: not r.state.ended):
        conn.execute(
            _UPSERT,
            {
                **{name: getattr(rollout, name) for name in _PLAIN},
                "environment": after.name,
                "body": _ADAPTER.dump_json([rollout])[1:-1].decode(),
            },
        )


def rollout(conn: Connection, rollout_id: str) -> RolloutRecord | None:
    """One rollout by its id."""
    row = conn.execute(select(table.c.environment, _BODY).where(table.c.id == rollout_id)).one_or_none()
    return _record(*row) if row else None


def shown_before(conn: Connection, environment: str, release: int) -> int | None:
    """The release from which an environment last came to `release`; None when the history does not tell.

    Rollouts that brought nothing new (a refresh of the very release that was shown) and those that failed do not count.
    """
    query = select(table.c.from_release).where(
        table.c.environment == environment,
        table.c.release == release,
        table.c.from_release != release,
        table.c.state == RolloutState.ONLINE.value,
    )
    return conn.execute(query.order_by(table.c.ended_at.desc()).limit(1)).scalar_one_or_none()


def was_online(conn: Connection, environment: str, release: int) -> bool:
    """Whether an environment ever changed over to a release."""
    query = select(table.c.id).where(
        table.c.environment == environment,
        table.c.release == release,
        table.c.state == RolloutState.ONLINE.value,
    )
    return conn.execute(query.limit(1)).first() is not None


def brought_online(conn: Connection, environment: str, least: int) -> list[Brought]:
    """The rollouts by which an environment came to a release of this number or a higher one, in their order."""
    query = select(table.c.release, table.c.id, table.c.ended_at).where(
        table.c.environment == environment, table.c.release >= least, table.c.state == RolloutState.ONLINE.value
    )
    return [Brought(*row) for row in conn.execute(query.order_by(table.c.ended_at, table.c.id))]


def newest_ended_of(conn: Connection, environments: Collection[str]) -> dict[str, Rollout]:
    """Environment → the newest request that has come to an end of its own, and was not merely superseded."""
    # One step into the index for each environment; DISTINCT ON would read all that ever was.
    wanted = values(column("name", Text), name="wanted").data([(name,) for name in environments])
    newest = (
        select(_BODY.label("body"))
        .where(
            table.c.environment == wanted.c.name,
            table.c.ended_at.is_not(None),
            table.c.state != RolloutState.SUPERSEDED.value,
        )
        .order_by(table.c.requested_at.desc())
        .limit(1)
        .lateral("newest")
    )
    rows = conn.execute(select(wanted.c.name, newest.c.body).join(newest, true())) if environments else ()
    return {name: _record(name, body).rollout for name, body in rows}


def failed_tries(conn: Connection, environments: Collection[str], release: int) -> dict[str, FailedTries]:
    """Environment → how often a release was tried in vain there, whoever asked for it."""
    query = select(
        table.c.environment,
        func.count(),
        func.max(table.c.ended_at),
        func.bool_or(table.c.outcome.startswith(CALLED_OFF)),
    ).where(
        table.c.environment.in_(list(environments)),
        table.c.release == release,
        table.c.ended_at.is_not(None),
        table.c.state.not_in([RolloutState.ONLINE.value, RolloutState.SUPERSEDED.value]),
    )
    found = dict.fromkeys(environments, FailedTries(0, None, called_off=False))
    for environment, count, newest, called_off in conn.execute(query.group_by(table.c.environment)):
        found[environment] = FailedTries(count, newest, bool(called_off))
    return found


def rollouts(
    conn: Connection,
    environment: str | None = None,
    limit: int = 50,
    before: Position | None = None,
    *,
    among: Collection[str] | None = None,
) -> list[RolloutRecord]:
    """The newest rollouts, newest first; of one environment, or of all. `before`: those that come after that one;
    `among`: those of these environments only."""
    query = select(table.c.environment, _BODY).order_by(table.c.requested_at.desc(), table.c.id).limit(limit)
    if environment is not None:
        query = query.where(table.c.environment == environment)
    if among is not None:
        query = query.where(table.c.environment.in_(list(among)))
    if before is not None:
        at, id_ = before
        query = query.where(or_(table.c.requested_at < at, and_(table.c.requested_at == at, table.c.id > id_)))
    return [_record(*row) for row in conn.execute(query)]


INSTEAD = "instead of rollout"


def asked_instead(conn: Connection, environment: str, rollout_id: str) -> str | None:
    """The rollout that was asked for in place of one that was given up, without the rows that it failed on."""
    reason = f"{INSTEAD} {rollout_id}"
    found = (record.rollout for record in rollouts(conn, environment, 20))
    return next((rollout.id for rollout in found if rollout.reason.endswith(reason)), None)


def _held(environment: Environment) -> Iterator[Rollout]:
    yield from environment.queue
    if environment.last:
        yield environment.last
    if environment.active:
        yield environment.active
    yield from environment.ended


def _record(environment: str, body: str) -> RolloutRecord:
    return RolloutRecord(environment, _ADAPTER.validate_json(f"[{body}]")[0])
