"""Redis as a member's store: a cache that shows one release, whole.

Readers call functions (redis_reading.py) with the member's prefix, or read `distributor_release`. One call, or all
calls of one MULTI, see one release. How rows lie and why a flip is one step: redis_layout.py.

Nothing here waits for a load: `member` and `loading` are in each other's way only while a row is saved.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import redis

from consumers.adapters import redis_layout as layout
from consumers.adapters import redis_reading as reading
from consumers.adapters.base import Obstacle, TableSpec
from consumers.adapters.redis_audit import RedisAuditing, snapshot, stored
from consumers.adapters.redis_line import Line, Session
from consumers.adapters.redis_load import RedisLoading, loading, sweep
from consumers.adapters.redis_member import RedisMember, holder_of, transaction
from consumers.adapters.redis_text import texts
from distributor.errors import ConfigError
from distributor.mapping.tables import TableMapping
from distributor.model.certificate import TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.rollout.member_row import MemberRow, SlotName
from distributor.settings import MemberSettings

PREFIX = "distributor"
_VALID = re.compile(r"[A-Za-z0-9_.:{}-]+")


class RedisAdapter:
    """One member under a prefix in a Redis database. Connects when it is first used."""

    def __init__(self, settings: MemberSettings, directory: Path) -> None:
        prefix = _prefix(settings)
        self._control = Line(settings.url, prefix)
        self._bulk = Line(settings.url, prefix)
        self._audits = Line(settings.url, prefix)
        self._asking = Line(settings.url, prefix)
        self._where = self._control.where
        self._interrupted = threading.Event()

    def prepare(self, environment: str, system: str, tables: Sequence[TableSpec]) -> None:
        """Creates what is missing. Raises as `redis_layout.prepare` does, or UnreachableError."""
        with self._control.session() as session:
            _keeps_everything(session, self._where)
            layout.prepare(session, self._where, MemberRow(environment=environment, system=system), tables)
            reading.prepare(session)

    @contextmanager
    def member(self) -> Iterator[RedisMember]:
        """The member's row, locked; saved on normal exit if nobody else saved it meanwhile."""
        with self._control.session() as session, transaction(session, self._where) as member:
            yield member

    @contextmanager
    def loading(self, slot: SlotName) -> Iterator[RedisLoading]:
        """Begins a load, which waits for nothing until its commit."""
        with self._bulk.session() as session, loading(self._bulk, session, slot) as begun:
            yield begun

    def audit(self, slot: SlotName, table: TableSpec) -> TableCertificate:
        """The certificate of everything that a slot holds."""
        with self._bulk.session() as session, snapshot(session, self._where, lambda: False) as auditing:
            return auditing.buckets(slot, table)

    @contextmanager
    def auditing(self) -> Iterator[RedisAuditing]:
        """A snapshot of the member's row and both slots."""
        self._interrupted.clear()
        with self._audits.session() as session:
            with snapshot(session, self._where, self._interrupted.is_set) as auditing:
                yield auditing
            sweep(session)

    def prepared(self) -> bool:
        """Whether this store was ever prepared."""
        with self._control.session() as session:
            return bool(
                session.client.exists(session.key("member"), session.key("shapes"), session.key(layout.RELEASE))
            )

    def inspect(self, tables: Sequence[tuple[TableMapping, DatasetSchema]]) -> list[str]:
        """What is not as it was made."""
        with self.auditing() as auditing:
            return auditing.altered([TableSpec(mapping, schema) for mapping, schema in tables])

    def interrupt(self) -> None:
        """Ends an audit that runs, at its next journey to the server."""
        self._interrupted.set()

    def read(self, slot: SlotName, table: TableSpec) -> pa.Table:
        """All rows of a slot as canonical texts; small tables only."""
        names = table.schema.column_names
        with self._bulk.session() as session:
            generation = session.client.hget(session.key("slot", slot, table.name), "generation") or b""
            rows = [texts(row) for _, row in stored(session, table.name, generation.decode())]
        columns = [pa.array([row[at] for row in rows], pa.string()) for at in range(len(names))]
        return pa.table(columns, schema=pa.schema([(name, pa.string()) for name in names]))

    def waits_for(self) -> Obstacle:
        """Who has the lock on the member's row, unless we do."""
        with self._asking.session() as session:
            holder, number = holder_of(session)
            if not holder or holder.partition(" ")[0] in self._owners():
                return Obstacle()
            told = session.told_of(number)
        if not told:
            # It is free by now, or will be as soon as whoever waits looks again.
            return Obstacle()
        who = f"{told.get('name') or 'without a name'} at {told.get('addr')}, idle for {told.get('idle')} s"
        what = f"the lock on the member's row, which connection {number} has ({who})"
        return Obstacle(what, f"CLIENT KILL ID {number}")

    def close(self) -> None:
        """Gives all connections back."""
        for line in (self._control, self._bulk, self._audits, self._asking):
            line.close()

    def _owners(self) -> set[str]:
        return {owner for line in (self._control, self._bulk) if (owner := line.owner)}


def _prefix(settings: MemberSettings) -> str:
    options = dict(settings.options)
    prefix = options.pop("prefix", PREFIX)
    if options:
        raise ConfigError(f"redis has no option {min(options)}", where="options", mend="Known: prefix.")
    if not isinstance(prefix, str) or not _VALID.fullmatch(prefix):
        raise ConfigError(
            f"the prefix {prefix!r} is none",
            where="options",
            mend="It is a text of letters, digits and any of _ . : { } -, such as prod.shop.",
        )
    return prefix


def _keeps_everything(session: Session, where: str) -> None:
    """A server that may drop any key when its memory is full would drop rows, and nobody would know."""
    try:
        memory = session.client.info("memory")
    except redis.ResponseError:
        return
    if str(memory.get("maxmemory_policy", "")).startswith("allkeys") and memory.get("maxmemory"):
        raise ConfigError(
            f"this Redis drops rows when its memory is full (maxmemory-policy {memory['maxmemory_policy']})",
            where=where,
            mend="CONFIG SET maxmemory-policy noeviction, or take a Redis of its own.",
        )
