"""An adapter to begin from: everything that the exam asks, and no more. docs/write-an-adapter.md walks through it.

Its store is a SQLite file in which every value is its canonical text, so that nothing distracts from the rules. Replace
sqlite3 by your store's driver, and texts by its own types; sqlite.py is this adapter grown up.

    _member           one document: the member's row, and the shapes in which tables were made
    _a_NAME, _b_NAME  the two slots of a table; NAME is a view of the one that is online
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa

from consumers.adapters import common, streaming
from consumers.adapters.base import Batch, TableSpec, Touched
from consumers.adapters.common import listed, quoted, same_key
from consumers.adapters.streaming import Row
from distributor.errors import UnreachableError
from distributor.model.certificate import TableCertificate
from distributor.rollout.member_row import MemberRow, SlotName
from distributor.settings import MemberSettings


class TemplateAdapter:
    """One member in a file of its own. Making it does not connect; every transaction has its own connection."""

    def __init__(self, settings: MemberSettings, directory: Path) -> None:
        common.refuse_options(settings)
        self._where = str(common.located(settings, "template", directory))
        self._interruption = streaming.Interruption()

    def prepare(self, environment: str, system: str, tables: Sequence[TableSpec]) -> None:
        """Creates what is missing, and leads readers to what the row says. One transaction: all of it, or nothing."""
        with self._transaction("IMMEDIATE") as db:
            if not _made(db, "_member"):
                if _made(db, common.RELEASE):
                    raise common.in_the_way(self._where, common.RELEASE)
                db.execute("CREATE TABLE _member (document)")
                _keep(db, common.Kept(row=MemberRow(environment=environment, system=system)))
            kept = _kept(db)
            common.check_owner(kept.row, environment, system, self._where)
            for table in tables:
                ours = [_view(slot, table.name, kept) for slot in common.SLOTS if table.name in kept.shapes[slot]]
                if _made(db, table.name) not in ("", *ours):
                    raise common.in_the_way(self._where, table.name)
                for slot in common.SLOTS:
                    if table.name not in kept.shapes[slot]:
                        kept = _make(db, slot, table, kept)
                    _check(db, slot, table.name, kept, self._where)
            _keep(db, kept)
            db.execute("COMMIT")

    @contextmanager
    def member(self) -> Iterator[TemplateMember]:
        """The member's row under its lock: here, the file's write lock."""
        with self._transaction("IMMEDIATE") as db:
            yield TemplateMember(db)
            db.execute("COMMIT")

    @contextmanager
    def loading(self, slot: SlotName) -> Iterator[TemplateLoading]:
        """Begins a load: one transaction, invisible until it commits, gone when it does not."""
        with self._transaction("IMMEDIATE") as db:
            yield TemplateLoading(db, slot, self._where)

    def audit(self, slot: SlotName, table: TableSpec) -> TableCertificate:
        """The certificate of everything in a slot: of what the store returns, and of nothing that is remembered."""
        with self._transaction("DEFERRED") as db:
            return streaming.audited(table, _stored(db, slot, table))

    @contextmanager
    def auditing(self) -> Iterator[streaming.StreamedAuditing]:
        """A snapshot of the row and both slots, which no writer waits for."""
        with self._transaction("DEFERRED") as db:
            yield streaming.StreamedAuditing(_kept(db).row, partial(_stored, db), self._interruption)

    def interrupt(self) -> None:
        """Ends an audit that runs."""
        self._interruption.strike()

    def read(self, slot: SlotName, table: TableSpec) -> pa.Table:
        """All rows of a slot; small tables only."""
        with self._transaction("DEFERRED") as db:
            return streaming.as_table(table, _stored(db, slot, table))

    def close(self) -> None:
        """Nothing to give back."""

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        """Rolled back unless COMMIT is executed in it. What can pass is unreachable; what cannot, altered."""
        try:
            with closing(sqlite3.connect(self._where, 60, isolation_level=None, check_same_thread=False)) as db:
                db.text_factory = streaming.decoded
                db.execute("PRAGMA journal_mode = WAL")
                db.execute(f"BEGIN {kind}")
                yield db
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF == sqlite3.SQLITE_ERROR:
                raise common.not_as_made(self._where, str(error)) from error
            raise UnreachableError(str(error), where=self._where, mend="Is the file in use?") from error


class TemplateMember:
    """The row as read under the lock."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db, self._kept = db, _kept(db)
        self.row = self._kept.row

    def save(self, row: MemberRow) -> None:
        """Writes the row, and leads readers where it says, in one commit."""
        _keep(self._db, self._kept.saying(row))


class TemplateLoading:
    """A load in one transaction."""

    def __init__(self, db: sqlite3.Connection, slot: SlotName, where: str) -> None:
        self._db, self._slot, self._where, self._kept = db, slot, where, _kept(db)

    def clear(self, table: TableSpec) -> None:
        """Makes the table anew: the given shape is this slot's from now on."""
        self._db.execute(f"DROP TABLE {quoted(f'_{self._slot}_{table.name}')}")
        self._kept = _make(self._db, self._slot, table, self._kept)

    def apply(self, batch: Batch) -> Touched:
        """Both sides are read from the store: never from the batch, nor from what was read once."""
        table, place = batch.table, quoted(f"_{self._slot}_{batch.table.name}")
        if not self._kept.fits(self._slot, table):
            raise common.not_as_made(self._where, f"slot {self._slot} has {table.name} in another shape")
        _check(self._db, self._slot, table.name, self._kept, self._where)
        keys, marks = streaming.keys_of(batch), ", ".join("?" * len(table.schema.columns))
        before = streaming.audited(table, _stored(self._db, self._slot, table, keys))
        self._db.executemany(f"DELETE FROM {place} WHERE {same_key(table.schema)}", keys)
        self._db.executemany(f"INSERT INTO {place} VALUES ({marks})", streaming.upserts_of(batch))
        return Touched(before, streaming.audited(table, _stored(self._db, self._slot, table, keys)))

    def audit(self, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """What the slot holds inside this load."""
        return streaming.audited(table, _stored(self._db, self._slot, table), only)

    def commit(self, guard: Callable[[MemberRow], MemberRow | None]) -> MemberRow | None:
        """The guard judges the row under the lock that this transaction holds."""
        if (row := guard(self._kept.row)) is not None:
            _keep(self._db, self._kept.saying(row))
            self._db.execute("COMMIT")
        return row


def _kept(db: sqlite3.Connection) -> common.Kept:
    return common.Kept.model_validate_json(db.execute("SELECT document FROM _member").fetchone()[0])


def _keep(db: sqlite3.Connection, kept: common.Kept) -> None:
    """Writes the document; views and distributor_release say the same."""
    db.execute("INSERT OR REPLACE INTO _member (rowid, document) VALUES (1, ?)", (kept.model_dump_json(),))
    for name in kept.shapes[kept.row.active]:
        db.execute(f"DROP VIEW IF EXISTS {quoted(name)}")
        db.execute(_view(kept.row.active, name, kept))
    *names, flipped_at = common.told(kept.row)
    db.execute(f"DROP TABLE IF EXISTS {common.RELEASE}")
    db.execute(f"CREATE TABLE {common.RELEASE} ({', '.join(common.RELEASE_COLUMNS)})")
    db.execute(f"INSERT INTO {common.RELEASE} VALUES (?, ?, ?, ?)", (*names, flipped_at and flipped_at.isoformat(" ")))


def _make(db: sqlite3.Connection, slot: SlotName, table: TableSpec, kept: common.Kept) -> common.Kept:
    columns, key = listed(table.schema.column_names), listed(table.schema.key)
    db.execute(f"CREATE TABLE {quoted(f'_{slot}_{table.name}')} ({columns}, PRIMARY KEY ({key}))")
    return kept.having(slot, table)


def _check(db: sqlite3.Connection, slot: SlotName, name: str, kept: common.Kept, where: str) -> None:
    there = {column for (column,) in db.execute("SELECT name FROM pragma_table_info(?)", (f"_{slot}_{name}",))}
    if wrong := there ^ set(kept.shapes[slot][name].column_names):
        raise common.not_as_made(where, f"_{slot}_{name} has lost or got a column {min(wrong)}")


def _stored(db: sqlite3.Connection, slot: SlotName, table: TableSpec, keys: list[Row] | None = None) -> Iterator[Row]:
    """The rows of a slot, or those under some keys, as the store returns them."""
    query = f"SELECT {listed(table.schema.column_names)} FROM {quoted(f'_{slot}_{table.name}')}"
    one = f"{query} WHERE {same_key(table.schema)}"
    found = [db.execute(query)] if keys is None else (db.execute(one, key) for key in keys)
    return ([streaming.text_of(value) for value in row] for rows in found for row in rows)


def _made(db: sqlite3.Connection, name: str) -> str:
    return next((sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,))), "")


def _view(slot: SlotName, name: str, kept: common.Kept) -> str:
    columns = listed(kept.shapes[slot][name].column_names)
    return f"CREATE VIEW {quoted(name)} AS SELECT {columns} FROM {quoted(f'_{slot}_{name}')}"
