"""Heartbeats: which processes of this service are up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from distributor.ledger.tables import processes as table

HEARTBEAT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process as last seen. `id` is host and process id."""

    role: str
    id: str
    last_seen: datetime
    detail: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Presence:
    """When a process of a role that has not said goodbye was last up, and when one said it last; None: never."""

    beat_at: datetime | None
    stopped_at: datetime | None

    @property
    def seen_at(self) -> datetime | None:
        """When any was last up."""
        return max(filter(None, (self.beat_at, self.stopped_at)), default=None)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a process that is up cannot do its work, and since when. It travels in a process's detail."""

    since: datetime
    why: str

    @property
    def detail(self) -> Mapping[str, object]:
        """As it stands in a detail."""
        return {"trouble": {"since": self.since.isoformat(), "why": self.why}}


_STOPPED = table.c.detail.has_key("stopped")


def beat(conn: Connection, process: Process) -> None:
    """Says that a process is up."""
    values = {name: getattr(process, name) for name in Process.__dataclass_fields__}
    conn.execute(
        insert(table)
        .values(values)
        .on_conflict_do_update(
            index_elements=[table.c.role, table.c.id],
            set_={"last_seen": process.last_seen, "detail": dict(process.detail)},
        )
    )


def seen_since(conn: Connection, since: datetime) -> list[Process]:
    """Processes that were up at some time since then, and have not said goodbye."""
    query = select(*(table.c[name] for name in Process.__dataclass_fields__)).where(
        table.c.last_seen >= since, ~_STOPPED
    )
    return [Process(*row) for row in conn.execute(query.order_by(table.c.role, table.c.id))]


def gone(conn: Connection, role: str, id_: str) -> None:
    """A process has stopped in good order. Of each role the last goodbye is remembered."""
    conn.execute(delete(table).where(table.c.role == role, _STOPPED))
    conn.execute(
        update(table)
        .where(table.c.role == role, table.c.id == id_)
        .values(last_seen=func.clock_timestamp(), detail=table.c.detail.concat({"stopped": True}))
    )


def trouble(conn: Connection, role: str, since: datetime, *, of_all: bool = False) -> Trouble | None:
    """The oldest trouble that processes of a role, seen since then, are in; None when they have none.

    `of_all`: None also when one of them has none, and does the work of the others.
    """
    told = [_trouble(process) for process in seen_since(conn, since) if process.role == role]
    if of_all and None in told:
        return None
    return min(filter(None, told), key=lambda found: found.since, default=None)


def _trouble(process: Process) -> Trouble | None:
    match process.detail.get("trouble"):
        case {"since": str(since), "why": str(why)}:
            return Trouble(datetime.fromisoformat(since), why)
        case _:
            return None


def presence(conn: Connection, role: str) -> Presence:
    """What is known of the processes of a role."""
    seen = func.max(table.c.last_seen)
    query = select(seen.filter(~_STOPPED), seen.filter(_STOPPED)).where(table.c.role == role)
    return Presence(*conn.execute(query).one())
