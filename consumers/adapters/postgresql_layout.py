"""What the adapter keeps in a system's PostgreSQL, how it comes to be, and whether it still is as it was made.

    distributor.member       one row: the member's row as a document
    distributor.active       one row: the slot that readers see
    distributor.release      one row: what `distributor_release` shows
    distributor.slot_table   the tables that were made, and how: one that is gone was taken away, not forgotten
    distributor_a, _b        the two slots, one table per mapped table

Readers look at one view per table. It unites both slots under a constant column and compares that with `active`: the
planner asks once and skips the other slot, a statement never sees two releases, and a flip is DML that waits for no
reader. The price is that every reader locks both slots, so nothing here ever truncates or alters them. Where the slots
have a table in two shapes, it is otherwise: postgresql_sight.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from consumers.adapters import postgresql_sight as sight
from consumers.adapters.base import TableSpec
from consumers.adapters.postgresql_catalogue import columns_of, is_defined_as, made, primary_key, relation
from consumers.adapters.postgresql_line import Transaction
from consumers.adapters.postgresql_row import is_stray, put_back
from consumers.adapters.postgresql_sight import HOME, SLOTS, Made
from consumers.adapters.postgresql_text import column_type, listed, quoted
from distributor.errors import ConfigError, SystemAlteredError
from distributor.model.dataset import DatasetSchema
from distributor.rollout.member_row import MemberRow, SlotName, other
from distributor.telemetry.logs import logger

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
    f"CREATE TABLE distributor.slot_table (name text PRIMARY KEY, {sight.STATE})",
)


def slot_table(slot: SlotName, table: TableSpec) -> str:
    """A table's place in a slot, quoted."""
    return quoted(f"{HOME}_{slot}", table.name)


def create_slot(transaction: Transaction, slot: SlotName, table: TableSpec) -> None:
    """Makes a table in one slot, empty."""
    columns = [
        f"{quoted(column.name)} {column_type(column.type)}{'' if column.nullable else ' NOT NULL'}"
        for column in table.schema.columns
    ]
    place = slot_table(slot, table)
    transaction.run(
        f"CREATE TABLE {place} ({', '.join(columns)}, PRIMARY KEY ({listed(table.schema.key)}))"
        f" WITH (fillfactor = {FILLFACTOR}, autovacuum_vacuum_scale_factor = 0.05,"
        f" autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02)"
    )
    # Never unique: two rows that swap a value would fail halfway, and the master has checked it already.
    for index in table.schema.indexes:
        transaction.run(f"CREATE INDEX ON {place} ({listed(index.columns)})")


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

    def prepare(self, transaction: Transaction, row: MemberRow, tables: Sequence[TableSpec]) -> dict[str, Made]:
        """Creates what is missing; `row` is the member's first one. Returns the tables that were made, by name.

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
        sight.prepare_state(transaction)
        known = self.check(transaction, tables)
        # Without tables a member is only met: it must be there to go back, whatever its readers look through.
        for altered in self._altered_views(transaction, tables, known) if tables else ():
            raise altered
        if is_stray(transaction):
            right = put_back(transaction)
            _log.warning("readers were led elsewhere by hand, and are led back", slot=right.active)
        for table in tables:
            if table.name not in known:
                for slot in SLOTS:
                    create_slot(transaction, slot, table)
                transaction.run("INSERT INTO distributor.slot_table (name) VALUES (%s)", (table.name,))
        sight.remember_shapes(transaction, tables)
        self._create_views(transaction, tables, known)
        return self._lead_views(transaction, tables)

    def follow(self, transaction: Transaction, active: SlotName) -> None:
        """Makes the views anew whose columns change when a slot goes online. Raises UnreachableError."""
        if wanted := sight.views_to_follow(transaction, active):
            sight.replace_views(transaction, self._where, self._schema, wanted)

    def check(self, transaction: Transaction, tables: Sequence[TableSpec]) -> dict[str, Made]:
        """Compares every slot table and view that should be there with the shape in which it was made. Returns what
        was made. Raises SystemAlteredError.

        Reads the catalogue only: it may be asked while another transaction of this thread has tables locked.
        """
        known = sight.made_tables(transaction, tables)
        for table in tables:
            made = known.get(table.name) or sight.unmade(table)
            for altered in self._altered_slots(transaction, made, table.name in known):
                raise altered
            self._check_view(transaction, table.name, sight.reads(made, made.seen), made=table.name in known)
            if found := columns_of(transaction, self._schema, table.name):
                for altered in self._compare(f"{self._schema}.{table.name}", found, made.seen_shape, table.name):
                    raise altered
        self._check_view(transaction, RELEASE_VIEW, {(HOME, "release")}, made=False)
        return known

    def altered(self, transaction: Transaction, tables: Sequence[TableSpec]) -> list[str]:
        """All that is not as it was made, slots and views, each with its mend."""
        known = sight.made_tables(transaction, tables)
        found: list[SystemAlteredError] = []
        fitting: list[TableSpec] = []
        for table in tables:
            if made := known.get(table.name):
                found += self._altered_slots(transaction, made, known=True)
                # Over other columns the query of its view would be refused, not compared.
                fits = all(
                    columns_of(transaction, f"{HOME}_{slot}", table.name) == _columns(made.shapes[slot])
                    for slot in SLOTS
                )
                fitting += [table] if fits else []
        found += self._altered_views(transaction, fitting, known, gone=True)
        return [str(SystemAlteredError(altered.what, mend=altered.mend)) for altered in found]

    def _altered_slots(self, transaction: Transaction, made: Made, known: bool) -> Iterator[SystemAlteredError]:
        for slot in SLOTS:
            place, schema = f"{HOME}_{slot}.{made.name}", made.shapes[slot]
            quoted_place = quoted(f"{HOME}_{slot}", made.name)
            found = columns_of(transaction, f"{HOME}_{slot}", made.name)
            if found and not known:
                yield self._altered(f"{place} is there, but was not made here")
            if known:
                yield from self._compare(place, found, schema, made.name)
                if found and (key := primary_key(transaction, quoted_place)) != set(schema.key):
                    wanted = listed(schema.key)
                    first = "drop the one that is there, and " if key else ""
                    yield self._altered(
                        f"the primary key of {place} is not ({', '.join(schema.key)})",
                        f"Put it back: {first}ALTER TABLE {quoted_place} ADD PRIMARY KEY ({wanted}).",
                    )

    def _altered_views(
        self, transaction: Transaction, tables: Sequence[TableSpec], known: dict[str, Made], *, gone: bool = False
    ) -> Iterator[SystemAlteredError]:
        """Views of ours that are not of our query any more; with `gone`, those that are not there too."""
        wanted = {made.name: sight.query(made, made.seen) for table in tables if (made := known.get(table.name))}
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

    def _create_views(self, transaction: Transaction, tables: Sequence[TableSpec], known: dict[str, Made]) -> None:
        made = sight.made_tables(transaction)
        active = _active(transaction)
        for table in tables:
            if not columns_of(transaction, self._schema, table.name):
                if table.name in known:
                    _log.warning(
                        "a view was gone and is made again; its grants are not", view=f"{self._schema}.{table.name}"
                    )
                seen = made[table.name].looking_at(active)
                transaction.run(
                    f"CREATE VIEW {quoted(self._schema, table.name)} AS {sight.query(made[table.name], seen)}"
                )
                sight.remember_seen(transaction, table.name, seen)
        if not columns_of(transaction, self._schema, RELEASE_VIEW):
            transaction.run(f"CREATE VIEW {quoted(self._schema, RELEASE_VIEW)} AS {_RELEASE_QUERY}")

    def _lead_views(self, transaction: Transaction, tables: Sequence[TableSpec]) -> dict[str, Made]:
        """Away from slots whose table will be made anew, and back to both when these have one shape again."""
        known = sight.made_tables(transaction)
        active = _active(transaction)
        wanted: dict[str, tuple[Made, str]] = {}
        for table in tables:
            made = known[table.name]
            if sight.same_shape(made.shapes[other(active)], table.schema):
                seen = made.looking_at(active)
            else:
                seen = active
                if not sight.same_shape(made.shapes[active], table.schema):
                    self._check_leaning(transaction, table.name)
            if seen != made.seen:
                wanted[table.name] = made, seen
        if not wanted:
            return known
        sight.replace_views(transaction, self._where, self._schema, wanted)
        return sight.made_tables(transaction)

    def _check_leaning(self, transaction: Transaction, name: str) -> None:
        if found := sight.leaning(transaction, self._schema, name):
            raise SystemAlteredError(
                f"the columns of {self._schema}.{name} change, and {', '.join(found)} is built upon it",
                where=self._where,
                mend="Drop that, and make it again when the release is online.",
            )

    def _check_view(self, transaction: Transaction, name: str, sources: set[tuple[str, str]], *, made: bool) -> None:
        """A view is ours when it reads exactly what ours read."""
        found = relation(transaction, self._schema, name)
        if found and (found.kind != "view" or found.reads != sources):
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

    def _compare(
        self, place: str, found: dict[str, str], schema: DatasetSchema, table: str
    ) -> Iterator[SystemAlteredError]:
        if not found:
            yield self._altered(f"the table {place} is missing")
            return
        wanted = _columns(schema)
        view = quoted(self._schema, table)
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


def _columns(schema: DatasetSchema) -> dict[str, str]:
    return {column.name: column_type(column.type) for column in schema.columns}


def _active(transaction: Transaction) -> SlotName:
    ((active,),) = transaction.run("SELECT row->>'active' FROM distributor.member")
    return "b" if active == "b" else "a"
