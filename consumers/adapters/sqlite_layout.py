"""What the adapter keeps in a system's SQLite file, and what readers see of it.

    _distributor_member    one row: the member's row as a document
    _distributor_table     the tables that were made, with their shape in each slot
    _a_NAME, _b_NAME       the two slots of the table NAME
    NAME                   a plain view of the slot that is online
    distributor_release    one row

A flip replaces all views and the row of `distributor_release` in one transaction. In WAL mode a statement, or all
statements of a read transaction, works on the file as it was at its first page: with the old views over the old slot
or with the new ones over the new slot, never with a mix, and it neither waits nor is waited for. That holds where the
slots have a table in two shapes, too: its view has the columns of the slot that is online. (A view that asks a
pointer row would flip by one UPDATE, but SQLite plans it as a scan of both slots.)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from consumers.adapters.base import TableSpec
from consumers.adapters.sqlite_text import column_type, quoted
from distributor.errors import ConfigError, SystemAlteredError
from distributor.model.dataset import DatasetSchema
from distributor.rollout.member_row import MemberRow, SlotName, other
from distributor.telemetry.logs import logger

SLOTS: tuple[SlotName, ...] = ("a", "b")
Shapes = dict[SlotName, dict[str, DatasetSchema]]
"""Slot → the tables that were made, each with the shape that it has there."""
RELEASE = "distributor_release"
_AGAIN = "its consumer makes it anew when it starts, or stages"
_BACK = "The member's consumer puts it back when it starts, or stages."
_log = logger("adapter")
_HOME_TABLES = (
    "CREATE TABLE _distributor_member (id INTEGER PRIMARY KEY CHECK (id = 1), row TEXT NOT NULL)",
    "CREATE TABLE _distributor_table (name TEXT PRIMARY KEY NOT NULL, shape TEXT NOT NULL, a TEXT, b TEXT)",
)
# `a` and `b` are the slots' own shapes, where they are not `shape`: that of the table when it was first made.
_SLOT_SHAPES = ("a", "b")
_RELEASE_TABLE = (
    "CREATE TABLE distributor_release"
    " (environment TEXT NOT NULL, system TEXT NOT NULL, release INTEGER NOT NULL, flipped_at TEXT)"
)


def slot_table(slot: SlotName, name: str) -> str:
    """A table's place in a slot, quoted."""
    return quoted(f"_{slot}_{name}")


def prepare(connection: sqlite3.Connection, where: str, row: MemberRow, tables: Sequence[TableSpec]) -> None:
    """Creates what is missing; `row` is the member's first one. All in the caller's transaction.

    Raises ConfigError when the file is another member's or names collide, SystemAlteredError when something of
    somebody else's has the name of a view or a table of ours is not as it was made.
    """
    _check_names(where, tables)
    if not _made(connection, "_distributor_member"):
        if _made(connection, RELEASE):
            raise _in_the_way(where, RELEASE)
        for statement in _HOME_TABLES:
            connection.execute(statement)
        connection.execute("INSERT INTO _distributor_member VALUES (1, ?)", (row.model_dump_json(),))
    owner = read_row(connection, where)
    if (owner.environment, owner.system) != (row.environment, row.system):
        raise ConfigError(
            f"this file is the store of {owner.system} in {owner.environment},"
            f" not of {row.system} in {row.environment}",
            where=where,
            mend="Every member needs a file of its own.",
        )
    _know_shapes(connection)
    _show(connection, where, owner)
    for table in tables:
        shapes = _shapes(connection)
        known = table.name in shapes["a"]
        views = {slot: _view(slot, table.name, shapes[slot].get(table.name, table.schema)) for slot in SLOTS}
        view = views[owner.active]
        if (there := _made(connection, table.name)) and there not in views.values():
            raise _refused(connection, where, table.name, known)
        check(connection, where, table)
        if not known:
            _create(connection, table)
        if there and there != view:
            _log.warning("readers were led elsewhere by hand, and are led back", view=table.name, slot=owner.active)
            connection.execute(f"DROP VIEW {quoted(table.name)}")
        if there != view:
            connection.execute(view)


def _know_shapes(connection: sqlite3.Connection) -> None:
    """A file of an earlier version has one shape for both slots."""
    there = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('_distributor_table')")}
    for column in _SLOT_SHAPES:
        if column not in there:
            connection.execute(f"ALTER TABLE _distributor_table ADD COLUMN {column} TEXT")


def _show(connection: sqlite3.Connection, where: str, row: MemberRow) -> None:
    """Makes `distributor_release` and its row, if somebody took them away or altered them."""
    made = _made(connection, RELEASE)
    if made not in ("", _RELEASE_TABLE):
        raise _in_the_way(where, RELEASE)
    if not made:
        connection.execute(_RELEASE_TABLE)
    told = (row.environment, row.system, *_shown(row))
    if _told(connection) != [told[:3]]:
        connection.execute(f"DELETE FROM {RELEASE}")
        connection.execute(f"INSERT INTO {RELEASE} VALUES (?, ?, ?, ?)", told)


def check(connection: sqlite3.Connection, where: str, table: TableSpec) -> None:
    """Compares a table's slots with the shapes in which they were made, if they were. Raises SystemAlteredError."""
    for what in _altered_slots(connection, table.name, _shapes(connection)):
        raise _altered(where, what)


def make(connection: sqlite3.Connection, slot: SlotName, table: TableSpec) -> bool:
    """Makes the table anew in one slot, empty, if it has another shape there; whether it had."""
    if is_of_shape(connection, slot, table):
        return False
    connection.execute(f"DROP TABLE {slot_table(slot, table.name)}")
    _create_slot(connection, slot, table)
    shape = table.schema.model_dump_json()
    connection.execute(f"UPDATE _distributor_table SET {slot} = ? WHERE name = ?", (shape, table.name))
    return True


def is_of_shape(connection: sqlite3.Connection, slot: SlotName, table: TableSpec) -> bool:
    """Whether a slot has the table with these columns and this key."""
    made = _shapes(connection)[slot][table.name]
    return (made.columns, made.key) == (table.schema.columns, table.schema.key)


def wrong_shape(where: str, slot: SlotName, table: TableSpec) -> SystemAlteredError:
    """For a load that would write into a table of another shape."""
    return _altered(where, f"_{slot}_{table.name} has another shape than what is loaded")


def altered(connection: sqlite3.Connection, row: MemberRow, tables: Sequence[TableSpec]) -> list[str]:
    """All that is not as it was made, or leads readers elsewhere than `row` says: each with its mend."""
    shapes = _shapes(connection)
    held = [table for table in tables if table.name in shapes["a"]]
    found = [str(_altered("", what)) for table in held for what in _altered_slots(connection, table.name, shapes)]
    for table in held:
        there = _made(connection, table.name)
        right, wrong = (_view(slot, table.name, shapes[slot][table.name]) for slot in (row.active, other(row.active)))
        if not there:
            found.append(f"the view {table.name} is gone. {_AGAIN.capitalize()}.")
        elif there == wrong:
            what = f"readers of {table.name} see slot {other(row.active)}, and slot {row.active} is online"
            found.append(f"{what} by the member's row. {_BACK}")
        elif there != right:
            found.append(str(_refused(connection, "", table.name, known=True)))
    if (made := _made(connection, RELEASE)) not in ("", _RELEASE_TABLE):
        found.append(str(_in_the_way("", RELEASE)))
    elif (told := _told(connection) if made else []) != [(row.environment, row.system, _shown(row)[0])]:
        what = ", ".join(f"release {release} of {system} in {environment}" for environment, system, release in told)
        found.append(f"{RELEASE} tells readers {what or 'nothing'}, and not release {_shown(row)[0]}. {_BACK}")
    return found


def _altered_slots(connection: sqlite3.Connection, name: str, shapes: Shapes) -> Iterator[str]:
    for slot in SLOTS:
        place = f"_{slot}_{name}"
        schema = shapes[slot].get(name)
        columns = connection.execute("SELECT name, type, pk FROM pragma_table_info(?)", (place,)).fetchall()
        found = {name: type_ for name, type_, _ in columns}
        if schema is None:
            if found:
                yield f"{place} is there, but was not made here"
            continue
        if not found:
            yield f"the table {place} is missing"
            continue
        for column in schema.columns:
            wanted = column_type(column.type)
            if column.name not in found:
                yield f"{place} has no column {column.name}, of type {wanted}"
            elif found[column.name] != wanted:
                yield f"the column {column.name} of {place} is {found[column.name]}, not {wanted}"
        if extra := found.keys() - set(schema.column_names):
            yield f"{place} has a column {min(extra)} that was not made here"
        if {name for name, _, place_in_key in columns if place_in_key} != set(schema.key):
            yield f"the primary key of {place} is not ({', '.join(schema.key)})"


def read_row(connection: sqlite3.Connection, where: str) -> MemberRow:
    """The member's row. Raises SystemAlteredError when it is not there."""
    found = connection.execute("SELECT row FROM _distributor_member").fetchone()
    if found is None:
        raise _altered(where, "_distributor_member has lost its row")
    return MemberRow.model_validate_json(found[0])


def save_row(connection: sqlite3.Connection, read: MemberRow, row: MemberRow) -> None:
    """Writes the row; what readers see follows when it says so."""
    connection.execute("UPDATE _distributor_member SET row = ?", (row.model_dump_json(),))
    if row.active != read.active:
        for name, schema in _shapes(connection)[row.active].items():
            connection.execute(f"DROP VIEW IF EXISTS {quoted(name)}")
            connection.execute(_view(row.active, name, schema))
    if _shown(row) != _shown(read):
        connection.execute("UPDATE distributor_release SET release = ?, flipped_at = ?", _shown(row))


def _shown(row: MemberRow) -> tuple[int, str | None]:
    release = row.online.identity.release if row.online.identity else 0
    return release, row.flipped_at.isoformat(" ") if row.flipped_at else None


def _check_names(where: str, tables: Sequence[TableSpec]) -> None:
    """SQLite takes names that differ in case for one."""
    for names in ([RELEASE, *(table.name for table in tables)], *(table.schema.column_names for table in tables)):
        folded = [name.lower() for name in names]
        for name in names:
            if folded.count(name.lower()) > 1:
                raise ConfigError(f"two names are one to SQLite: {name}", where=where)


def _made(connection: sqlite3.Connection, name: str) -> str:
    """The statement that made a relation; empty when there is none."""
    found = connection.execute(
        "SELECT coalesce(sql, 'of SQLite itself') FROM sqlite_schema WHERE name = ? COLLATE NOCASE", (name,)
    ).fetchone()
    return found[0] if found else ""


def _told(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT environment, system, release FROM {RELEASE}").fetchall()


def _shapes(connection: sqlite3.Connection) -> Shapes:
    found = connection.execute("SELECT name, coalesce(a, shape), coalesce(b, shape) FROM _distributor_table").fetchall()
    return {
        slot: {name: DatasetSchema.model_validate_json(shapes[at]) for name, *shapes in found}
        for at, slot in enumerate(SLOTS)
    }


def _create(connection: sqlite3.Connection, table: TableSpec) -> None:
    for slot in SLOTS:
        _create_slot(connection, slot, table)
    shape = table.schema.model_dump_json()
    connection.execute("INSERT INTO _distributor_table (name, shape) VALUES (?, ?)", (table.name, shape))


def _create_slot(connection: sqlite3.Connection, slot: SlotName, table: TableSpec) -> None:
    schema = table.schema
    columns = [
        f"{quoted(c.name)} {column_type(c.type)}{'' if c.nullable and c.name not in schema.key else ' NOT NULL'}"
        for c in schema.columns
    ]
    key = ", ".join(map(quoted, schema.key))
    place = slot_table(slot, table.name)
    connection.execute(f"CREATE TABLE {place} ({', '.join(columns)}, PRIMARY KEY ({key}))")
    # Never unique: two rows that swap a value would fail halfway, and the master has checked it already.
    for number, index in enumerate(schema.indexes):
        indexed = ", ".join(map(quoted, index.columns))
        connection.execute(f"CREATE INDEX {quoted(f'_{slot}_{table.name}_{number}')} ON {place} ({indexed})")


def _view(slot: SlotName, name: str, schema: DatasetSchema) -> str:
    columns = ", ".join(map(quoted, schema.column_names))
    return f"CREATE VIEW {quoted(name)} AS SELECT {columns} FROM {slot_table(slot, name)}"


def _refused(connection: sqlite3.Connection, where: str, name: str, known: bool) -> SystemAlteredError:
    """A view of ours that somebody altered, or something of somebody else's."""
    query = "SELECT 1 FROM sqlite_schema WHERE type = 'view' AND name = ? COLLATE NOCASE"
    if not known or not connection.execute(query, (name,)).fetchone():
        return _in_the_way(where, name)
    return SystemAlteredError(
        f"the view {name} was altered: readers see through it what no slot holds",
        where=where,
        mend=f"It was not touched. Drop it (DROP VIEW {quoted(name)}); {_AGAIN}.",
    )


def _in_the_way(where: str, name: str) -> SystemAlteredError:
    return SystemAlteredError(
        f"{name} is already there, and was not made here",
        where=where,
        mend="It was not touched. Rename it, or give the readers' table another name (into).",
    )


def _altered(where: str, what: str) -> SystemAlteredError:
    return SystemAlteredError(
        what, where=where, mend="Put it back as it was, or move the file away to have the system loaded anew."
    )
