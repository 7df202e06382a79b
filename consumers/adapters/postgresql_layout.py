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

from collections.abc import Iterator, Sequence

from consumers.adapters.base import TableSpec
from consumers.adapters.postgresql_catalogue import columns_of, is_defined_as, made, primary_key, relation
from consumers.adapters.postgresql_line import Transaction
from consumers.adapters.postgresql_row import is_stray, put_back
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
_AGAIN = "its consumer makes it anew when it starts, or stages; grants have to be given again"
_RELEASE_QUERY = "SELECT environment, system, release, flipped_at FROM distributor.release"
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
        """The views of these tables, and `distributor_release`, as they stand, and whether their pointer strays: equal
        for as long as nobody touched them."""
        stray: frozenset[tuple[object, ...]] = frozenset({("stray",)} if is_stray(transaction) else ())
        return made(transaction, self._schema, [RELEASE_VIEW, *(table.name for table in tables)]) | stray

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
        # Without tables a member is only met: it must be there to go back, whatever its readers look through.
        for altered in self._altered_views(transaction, tables, known) if tables else ():
            raise altered
        if is_stray(transaction):
            right = put_back(transaction)
            _log.warning("readers were led elsewhere by hand, and are led back", slot=right.active)
        for table in tables:
            if table.name not in known:
                self._create_slots(transaction, table)
        self._create_views(transaction, tables, known)

    def check(self, transaction: Transaction, tables: Sequence[TableSpec]) -> None:
        """Compares every slot table and view that should be there with its shape. Raises SystemAlteredError.

        Reads the catalogue only: it may be asked while another transaction of this thread has tables locked.
        """
        known = self._known(transaction)
        for table in tables:
            for altered in self._altered_slots(transaction, table, table.name in known):
                raise altered
            sources = {(f"{HOME}_{slot}", table.name) for slot in SLOTS}
            self._check_view(transaction, table.name, sources, "active", made=table.name in known)
            if found := columns_of(transaction, self._schema, table.name):
                for altered in self._compare(f"{self._schema}.{table.name}", found, table):
                    raise altered
        self._check_view(transaction, RELEASE_VIEW, set(), "release", made=False)

    def altered(self, transaction: Transaction, tables: Sequence[TableSpec]) -> list[str]:
        """All that is not as it was made, slots and views, each with its mend."""
        known = self._known(transaction)
        found: list[SystemAlteredError] = []
        fitting: list[TableSpec] = []
        for table in tables:
            if table.name in known:
                shapes = [columns_of(transaction, f"{HOME}_{slot}", table.name) for slot in SLOTS]
                found += self._altered_slots(transaction, table, known=True)
                # Over other columns the query of its view would be refused, not compared.
                fitting += [table] if shapes == [_columns(table)] * len(SLOTS) else []
        found += self._altered_views(transaction, fitting, known, gone=True)
        return [str(SystemAlteredError(altered.what, mend=altered.mend)) for altered in found]

    def _altered_slots(self, transaction: Transaction, table: TableSpec, known: bool) -> Iterator[SystemAlteredError]:
        for slot in SLOTS:
            place = f"{HOME}_{slot}.{table.name}"
            found = columns_of(transaction, f"{HOME}_{slot}", table.name)
            if found and not known:
                yield self._altered(f"{place} is there, but was not made here")
            if known:
                yield from self._compare(place, found, table)
                if found and (key := primary_key(transaction, slot_table(slot, table))) != set(table.schema.key):
                    wanted = listed(table.schema.key)
                    first = "drop the one that is there, and " if key else ""
                    yield self._altered(
                        f"the primary key of {place} is not ({', '.join(table.schema.key)})",
                        f"Put it back: {first}ALTER TABLE {slot_table(slot, table)} ADD PRIMARY KEY ({wanted}).",
                    )

    def _altered_views(
        self, transaction: Transaction, tables: Sequence[TableSpec], known: set[str], *, gone: bool = False
    ) -> Iterator[SystemAlteredError]:
        """Views of ours that are not of our query any more; with `gone`, those that are not there too."""
        wanted = {table.name: _view(table) for table in tables if table.name in known}
        for name, query in {**wanted, RELEASE_VIEW: _RELEASE_QUERY}.items():
            there = relation(transaction, self._schema, name)
            if there is None:
                if gone:
                    yield SystemAlteredError(
                        f"the view {self._schema}.{name} is gone", where=self._where, mend=f"{_AGAIN.capitalize()}."
                    )
            elif there.kind != "view":
                yield self._in_the_way(name, there.kind)
            elif not is_defined_as(transaction, self._schema, name, query):
                yield self._altered_view(name)

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
            transaction.run(f"CREATE VIEW {quoted(self._schema, RELEASE_VIEW)} AS {_RELEASE_QUERY}")

    def _check_view(
        self, transaction: Transaction, name: str, sources: set[tuple[str, str]], pointer: str, *, made: bool
    ) -> None:
        """A view is ours when it reads exactly what ours read."""
        found = relation(transaction, self._schema, name)
        if found and (found.kind != "view" or found.reads != sources | {(HOME, pointer)}):
            raise self._altered_view(name) if found.kind == "view" and made else self._in_the_way(name, found.kind)

    def _in_the_way(self, name: str, kind: str) -> SystemAlteredError:
        return SystemAlteredError(
            f"{self._schema}.{name} is already there: a {kind} that was not made here",
            where=self._where,
            mend="It was not touched. Rename it, or give the readers' tables another name (into) or schema.",
        )

    def _altered_view(self, name: str) -> SystemAlteredError:
        return SystemAlteredError(
            f"the view {self._schema}.{name} was altered: readers see through it what no slot holds",
            where=self._where,
            mend=f"It was not touched. Rename or drop it (DROP VIEW {quoted(self._schema, name)}); {_AGAIN}.",
        )

    def _compare(self, place: str, found: dict[str, str], table: TableSpec) -> Iterator[SystemAlteredError]:
        if not found:
            yield self._altered(f"the table {place} is missing")
            return
        wanted = _columns(table)
        view = quoted(self._schema, table.name)
        for name, type_ in wanted.items():
            if name not in found:
                yield self._altered(f"{place} has no column {name}, of type {type_}")
            elif found[name] != type_:
                yield self._altered(
                    f"the column {name} of {place} is of type {found[name]}, not {type_}",
                    f"Put it back: DROP VIEW IF EXISTS {view};"
                    f" ALTER TABLE {quoted(*place.split('.', 1))} ALTER COLUMN {quoted(name)} TYPE {type_};"
                    " its consumer makes the view again, without its grants.",
                )
        if extra := found.keys() - wanted.keys():
            yield self._altered(f"{place} has a column {min(extra)} that was not made here")

    def _altered(self, what: str, mend: str = "Put it back as it was.") -> SystemAlteredError:
        return SystemAlteredError(what, where=self._where, mend=f"{mend} {_ANEW}")


def _columns(table: TableSpec) -> dict[str, str]:
    return {column.name: column_type(column.type) for column in table.schema.columns}


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
