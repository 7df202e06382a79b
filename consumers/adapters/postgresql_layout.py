"""What the adapter keeps in a system's PostgreSQL, how it comes to be, and whether it still is as it was made.

    distributor.member       one row: the member's row as a document
    distributor.active       one row: the slot that readers see
    distributor.release      one row: what `distributor_release` shows
    distributor.slot_table   the tables that were made: one that is gone was taken away, not forgotten
    distributor_a, _b        the two slots, one table per mapped table

Readers look at one view per table. It unites both slots under a constant column and compares that with `active`: the
planner asks once and skips the other slot, a statement never sees two releases, and a flip is DML that waits for no
reader. The price is that every reader locks both slots, so nothing here ever truncates or alters them.
"""

from __future__ import annotations

from collections.abc import Sequence

from consumers.adapters.base import TableSpec
from consumers.adapters.postgresql_catalogue import columns_of, made, primary_key, relation
from consumers.adapters.postgresql_line import Transaction
from consumers.adapters.postgresql_text import column_type, listed, quoted
from distributor.errors import ConfigError, SystemAlteredError
from distributor.rollout.member_row import MemberRow, SlotName
from distributor.telemetry.logs import logger

HOME = "distributor"
SLOTS: tuple[SlotName, ...] = ("a", "b")
RELEASE_VIEW = "distributor_release"
# Room in each page keeps updates of columns without an index on the row's page (HOT): no index is written.
FILLFACTOR = 80
_log = logger("adapter")
_LONGEST_NAME = 63
_PREPARE_LOCK = 0x6469_7374
_ANEW = (
    "To have the system loaded anew, DROP SCHEMA distributor, distributor_a, distributor_b CASCADE"
    " (the readers' views and their grants go too)."
)

_HOME_TABLES = (
    "CREATE TABLE distributor.member (id int PRIMARY KEY CHECK (id = 1), row jsonb NOT NULL)",
    "CREATE TABLE distributor.active (id int PRIMARY KEY CHECK (id = 1),"
    " slot text NOT NULL CHECK (slot IN ('a', 'b')))",
    "CREATE TABLE distributor.release (id int PRIMARY KEY CHECK (id = 1), environment text NOT NULL,"
    " system text NOT NULL, release bigint NOT NULL, flipped_at timestamptz)",
    "CREATE TABLE distributor.slot_table (name text PRIMARY KEY)",
)


def slot_table(slot: SlotName, table: TableSpec) -> str:
    """A table's place in a slot, quoted."""
    return quoted(f"{HOME}_{slot}", table.name)


class Layout:
    """The layout of one member. `where` names its database, `schema` the one in which readers look."""

    def __init__(self, where: str, schema: str) -> None:
        self._where = where
        self._schema = schema

    def sight(self, transaction: Transaction, tables: Sequence[TableSpec]) -> frozenset[tuple[object, ...]]:
        """The views of these tables, and `distributor_release`, as they stand: equal for as long as nobody touched
        them. One look into the catalogue."""
        return made(transaction, self._schema, [RELEASE_VIEW, *(table.name for table in tables)])

    def prepare(self, transaction: Transaction, row: MemberRow, tables: Sequence[TableSpec]) -> None:
        """Creates what is missing; `row` is the member's first one.

        Raises ConfigError when the database is another member's or a name cannot be one, SystemAlteredError when a
        relation of somebody else's has the name of a view, or when ours is not as it was made. Then nothing changed.
        """
        self._check_names(tables)
        transaction.run(f"SELECT pg_advisory_xact_lock({_PREPARE_LOCK})")
        for schema in (HOME, *(f"{HOME}_{slot}" for slot in SLOTS), self._schema):
            # IF NOT EXISTS would ask for the right to create even where there is nothing to create.
            if not transaction.run("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)):
                transaction.run(f"CREATE SCHEMA {quoted(schema)}")
        if transaction.run("SELECT 1 WHERE to_regclass('distributor.member') IS NULL"):
            self._create_home(transaction, row)
        self._check_owner(transaction, row)
        self.check(transaction, tables)
        known = self._known(transaction)
        for table in tables:
            if table.name not in known:
                self._create_slots(transaction, table)
        self._create_views(transaction, tables, known)

    def check(self, transaction: Transaction, tables: Sequence[TableSpec]) -> None:
        """Compares every slot table and view that should be there with its shape. Raises SystemAlteredError."""
        known = self._known(transaction)
        for table in tables:
            for slot in SLOTS:
                found = columns_of(transaction, f"{HOME}_{slot}", table.name)
                if found and table.name not in known:
                    raise self._altered(f"{HOME}_{slot}.{table.name} is there, but was not made here")
                if table.name in known:
                    self._compare(f"{HOME}_{slot}.{table.name}", found, table)
                    self._check_key(transaction, slot, table)
            self._check_view(transaction, table.name, {(f"{HOME}_{slot}", table.name) for slot in SLOTS}, "active")
            if found := columns_of(transaction, self._schema, table.name):
                self._compare(f"{self._schema}.{table.name}", found, table)
        self._check_view(transaction, RELEASE_VIEW, set(), "release")

    def _check_names(self, tables: Sequence[TableSpec]) -> None:
        names = [table.name for table in tables]
        for name in (*names, *(column for table in tables for column in table.schema.column_names)):
            if len(name.encode()) > _LONGEST_NAME:
                raise ConfigError(f"the name {name} is longer than {_LONGEST_NAME} octets", where=self._where)
        if len(set(names)) < len(names) or RELEASE_VIEW in names:
            raise ConfigError("two tables have the same name", where=self._where, mend=f"Among: {', '.join(names)}.")

    def _create_home(self, transaction: Transaction, row: MemberRow) -> None:
        for statement in _HOME_TABLES:
            transaction.run(statement)
        transaction.run("INSERT INTO distributor.member VALUES (1, %s::jsonb)", (row.model_dump_json(),))
        transaction.run("INSERT INTO distributor.active VALUES (1, %s)", (row.active,))
        transaction.run("INSERT INTO distributor.release VALUES (1, %s, %s, 0, NULL)", (row.environment, row.system))

    def _check_owner(self, transaction: Transaction, row: MemberRow) -> None:
        found = transaction.run("SELECT row->>'environment', row->>'system' FROM distributor.member")
        if not found:
            raise self._altered("distributor.member has lost its row")
        if found[0] != (row.environment, row.system):
            raise ConfigError(
                f"this database is the store of {found[0][1]} in {found[0][0]},"
                f" not of {row.system} in {row.environment}",
                where=self._where,
                mend="Every member needs a database of its own.",
            )

    def _known(self, transaction: Transaction) -> set[str]:
        return {name for (name,) in transaction.run("SELECT name FROM distributor.slot_table")}

    def _create_slots(self, transaction: Transaction, table: TableSpec) -> None:
        columns = [
            f"{quoted(column.name)} {column_type(column.type)}{'' if column.nullable else ' NOT NULL'}"
            for column in table.schema.columns
        ]
        for slot in SLOTS:
            place = slot_table(slot, table)
            transaction.run(
                f"CREATE TABLE {place} ({', '.join(columns)}, PRIMARY KEY ({listed(table.schema.key)}))"
                f" WITH (fillfactor = {FILLFACTOR}, autovacuum_vacuum_scale_factor = 0.05,"
                f" autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02)"
            )
            # Never unique: two rows that swap a value would fail halfway, and the master has checked it already.
            for index in table.schema.indexes:
                transaction.run(f"CREATE INDEX ON {place} ({listed(index.columns)})")
        transaction.run("INSERT INTO distributor.slot_table VALUES (%s)", (table.name,))

    def _create_views(self, transaction: Transaction, tables: Sequence[TableSpec], known: set[str]) -> None:
        for table in tables:
            if not columns_of(transaction, self._schema, table.name):
                if table.name in known:
                    _log.warning(
                        "a view was gone and is made again; its grants are not", view=f"{self._schema}.{table.name}"
                    )
                transaction.run(f"CREATE VIEW {quoted(self._schema, table.name)} AS {_view(table)}")
        if not columns_of(transaction, self._schema, RELEASE_VIEW):
            transaction.run(
                f"CREATE VIEW {quoted(self._schema, RELEASE_VIEW)} AS"
                " SELECT environment, system, release, flipped_at FROM distributor.release"
            )

    def _check_view(self, transaction: Transaction, name: str, sources: set[tuple[str, str]], pointer: str) -> None:
        """A view is ours when it reads exactly what ours read."""
        found = relation(transaction, self._schema, name)
        if found and (found.kind != "view" or found.reads != sources | {(HOME, pointer)}):
            raise SystemAlteredError(
                f"{self._schema}.{name} is already there: a {found.kind} that was not made here",
                where=self._where,
                mend="It was not touched. Rename it, or give the readers' tables another name (into) or schema.",
            )

    def _check_key(self, transaction: Transaction, slot: SlotName, table: TableSpec) -> None:
        if primary_key(transaction, slot_table(slot, table)) != set(table.schema.key):
            raise self._altered(f"the primary key of {HOME}_{slot}.{table.name} is not ({', '.join(table.schema.key)})")

    def _compare(self, place: str, found: dict[str, str], table: TableSpec) -> None:
        if not found:
            raise self._altered(f"the table {place} is missing")
        wanted = {column.name: column_type(column.type) for column in table.schema.columns}
        for name, type_ in wanted.items():
            if name not in found:
                raise self._altered(f"{place} has no column {name}, of type {type_}")
            if found[name] != type_:
                raise self._altered(f"the column {name} of {place} is of type {found[name]}, not {type_}")
        if extra := found.keys() - wanted.keys():
            raise self._altered(f"{place} has a column {min(extra)} that was not made here")

    def _altered(self, what: str) -> SystemAlteredError:
        return SystemAlteredError(what, where=self._where, mend=f"Put it back as it was. {_ANEW}")


def _view(table: TableSpec) -> str:
    names = table.schema.column_names
    mark = "_slot"
    while mark in names:
        mark += "_"
    branches = (
        f"SELECT '{slot}'::text AS {quoted(mark)}, {listed(names)} FROM {slot_table(slot, table)}" for slot in SLOTS
    )
    return (
        f"SELECT {listed(names)} FROM ({' UNION ALL '.join(branches)}) AS both_slots"
        f" WHERE {quoted(mark)} = (SELECT slot FROM distributor.active)"
    )
