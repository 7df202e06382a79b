"""SQLite as a member's store: a file in WAL mode, on the machine of its consumer.

Readers look at the views, one per table, and at `distributor_release` (environment, system, release, flipped_at as
text in UTC). One statement always sees one release; several statements do inside BEGIN … COMMIT. Why: sqlite_layout.py.

SQLite has one writer at a time and a load is one transaction: `member` waits for a running load (of another process;
in the thread of the load it would wait in vain), and a load for `member`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

import pyarrow as pa

from consumers.adapters import sqlite_layout as layout
from consumers.adapters.base import Batch, Obstacle, TableSpec, Touched
from consumers.adapters.sqlite_audit import SQLiteAuditing, Touching, audited
from consumers.adapters.sqlite_file import File
from consumers.adapters.sqlite_text import Value, quoted, readers, stored
from distributor.errors import ConfigError
from distributor.mapping.tables import TableMapping
from distributor.model.certificate import TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.rollout.member_row import MemberRow, SlotName
from distributor.settings import MemberSettings

_SCHEME = "sqlite:///"


class SQLiteAdapter:
    """One member in a file of its own. Opens it when it is first used."""

    def __init__(self, settings: MemberSettings, directory: Path) -> None:
        if not settings.url.startswith(_SCHEME):
            raise ConfigError(
                "this is no SQLite URL", where=settings.url, mend="It looks like sqlite:///path/to/file.db."
            )
        path = directory / settings.url.removeprefix(_SCHEME)
        self._where = str(path)
        self._control = File(path)
        self._bulk = File(path)
        self._audits = File(path)

    def prepare(self, environment: str, system: str, tables: Sequence[TableSpec]) -> None:
        """Creates what is missing. Raises as `sqlite_layout.prepare` does, or UnreachableError."""
        with self._control.transaction("IMMEDIATE") as connection:
            layout.prepare(connection, self._where, MemberRow(environment=environment, system=system), tables)
            connection.execute("COMMIT")

    @contextmanager
    def member(self) -> Iterator[SQLiteMember]:
        """The member's row, with the file's write lock; commits on normal exit."""
        with self._control.transaction("IMMEDIATE") as connection:
            yield SQLiteMember(connection, self._where)
            connection.execute("COMMIT")

    @contextmanager
    def loading(self, slot: SlotName) -> Iterator[SQLiteLoading]:
        """Begins a load, which holds the file's write lock until it ends."""
        with self._bulk.transaction("IMMEDIATE") as connection:
            yield SQLiteLoading(connection, self._bulk, slot)

    def audit(self, slot: SlotName, table: TableSpec) -> TableCertificate:
        """The certificate of everything that SELECT returns from a slot."""
        with self._bulk.transaction("DEFERRED") as connection:
            return audited(connection, slot, table)

    @contextmanager
    def auditing(self) -> Iterator[SQLiteAuditing]:
        """A snapshot of the member's row and both slots."""
        with self._audits.transaction("DEFERRED") as connection:
            yield SQLiteAuditing(connection, self._audits)

    def prepared(self) -> bool:
        """Whether this store was ever prepared."""
        if not Path(self._where).exists():
            return False
        with self._control.transaction("DEFERRED") as connection:
            query = "SELECT 1 FROM sqlite_schema WHERE name LIKE '\\_distributor\\_%' ESCAPE '\\'"
            return connection.execute(query).fetchone() is not None

    def inspect(self, tables: Sequence[tuple[TableMapping, DatasetSchema]]) -> list[str]:
        """What is not as it was made."""
        with self.auditing() as snapshot:
            return snapshot.altered([TableSpec(mapping, schema) for mapping, schema in tables])

    def interrupt(self) -> None:
        """Ends an audit that runs."""
        self._audits.interrupt()

    def read(self, slot: SlotName, table: TableSpec) -> pa.Table:
        """All rows of a slot as canonical texts; small tables only."""
        with self._bulk.transaction("DEFERRED") as connection:
            rows = list(_texts(table.schema, connection.execute(_select(slot, table))))
        columns = [pa.array([row[i] for row in rows], pa.string()) for i in range(len(table.schema.columns))]
        return pa.table(columns, schema=pa.schema([(name, pa.string()) for name in table.schema.column_names]))

    def waits_for(self) -> Obstacle:
        """Whether somebody else has the file's write lock. SQLite does not know who."""
        files = (self._control, self._bulk)
        if any(file.in_transaction for file in files) or not self._control.locked():
            return Obstacle()
        # The lock may have become ours while it was asked for.
        if any(file.in_transaction for file in files):
            return Obstacle()
        what = f"the write lock of {self._where} (database is locked; SQLite does not know by whom)"
        return Obstacle(what, f"lsof {quote(self._where)}")

    def close(self) -> None:
        """Gives all connections back."""
        self._control.close()
        self._bulk.close()
        self._audits.close()


class SQLiteMember:
    """The row as read under the lock."""

    def __init__(self, connection: sqlite3.Connection, where: str) -> None:
        self._connection = connection
        self.row = layout.read_row(connection, where)

    def save(self, row: MemberRow) -> None:
        """Writes the row; a flip replaces all views with it."""
        layout.save_row(self._connection, self.row, row)


class SQLiteLoading:
    """A load in one transaction."""

    def __init__(self, connection: sqlite3.Connection, file: File, slot: SlotName) -> None:
        self._connection = connection
        self._file = file
        self._slot = slot
        self._checked: set[str] = set()

    def clear(self, table: TableSpec) -> None:
        """Empties the table's slot, or makes it anew in another shape."""
        with self._fitting(table, cleared=True):
            if not layout.make(self._connection, self._slot, table):
                self._connection.execute(f"DELETE FROM {layout.slot_table(self._slot, table.name)}")

    def apply(self, batch: Batch) -> Touched:
        """Writes one batch and reads the touched rows back."""
        table, schema = batch.table, batch.table.schema
        with self._fitting(table):
            gone = _values(batch.deletes, schema, schema.key)
            keys = [*gone, *_values(batch.upserts, schema, schema.key)]
            touching = Touching(self._connection, self._slot, table, keys)
            before = touching.certificate()
            where = _where(schema)
            self._connection.executemany(f"DELETE FROM {layout.slot_table(self._slot, table.name)} WHERE {where}", gone)
            self._connection.executemany(
                _upsert(self._slot, table), _values(batch.upserts, schema, schema.column_names)
            )
            return Touched(before, touching.certificate())

    def audit(self, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything that the slot holds by now."""
        with self._fitting(table):
            return audited(self._connection, self._slot, table, only)

    def commit(self, guard: Callable[[MemberRow], MemberRow | None]) -> MemberRow | None:
        """Asks the guard under the write lock that the load holds anyway, and commits."""
        read = layout.read_row(self._connection, str(self._file.path))
        row = guard(read)
        if row is None:
            self._connection.execute("ROLLBACK")
        else:
            layout.save_row(self._connection, read, row)
            self._connection.execute("COMMIT")
        return row

    @contextmanager
    def _fitting(self, table: TableSpec, *, cleared: bool = False) -> Iterator[None]:
        """SQLite takes any value in any column: whether a table is as it was made must be asked, once per load."""
        where = str(self._file.path)
        try:
            if table.name not in self._checked:
                layout.check(self._connection, where, table)
                if not cleared and not layout.is_of_shape(self._connection, self._slot, table):
                    raise layout.wrong_shape(where, self._slot, table)
                self._checked.add(table.name)
            yield
        except sqlite3.Error as error:
            raise self._file.translate(error) from error


def _select(slot: SlotName, table: TableSpec) -> str:
    return f"SELECT {', '.join(map(quoted, table.schema.column_names))} FROM {layout.slot_table(slot, table.name)}"


def _where(schema: DatasetSchema) -> str:
    return " AND ".join(f"{quoted(name)} = ?" for name in schema.key)


def _upsert(slot: SlotName, table: TableSpec) -> str:
    names, key = table.schema.column_names, ", ".join(map(quoted, table.schema.key))
    rest = [quoted(name) for name in names if name not in table.schema.key]
    action = f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in rest)}" if rest else "NOTHING"
    return (
        f"INSERT INTO {layout.slot_table(slot, table.name)} ({', '.join(map(quoted, names))})"
        f" VALUES ({', '.join('?' for _ in names)}) ON CONFLICT ({key}) DO {action}"
    )


def _values(rows: pa.Table, schema: DatasetSchema, names: Sequence[str]) -> list[tuple[Value, ...]]:
    types = {column.name: column.type for column in schema.columns}
    return list(zip(*(stored(rows[name], types[name]) for name in names), strict=True))


def _texts(schema: DatasetSchema, rows: Iterable[tuple[Value, ...]]) -> Iterator[list[str | None]]:
    convert = readers(tuple(column.type for column in schema.columns))
    for row in rows:
        yield [reader(value) for reader, value in zip(convert, row, strict=True)]
