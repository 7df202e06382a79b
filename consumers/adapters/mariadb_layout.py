"""What the adapter keeps in a system's MariaDB, how it comes to be, and whether it still is as it was made.

    _distributor_member    one row: the member's row as a document
    _distributor_active    one row: the slot that readers see, and what `distributor_release` shows
    _distributor_slot      a row per slot, which a load into it locks
    _distributor_table, _distributor_place, _slots_NAME: see mariadb_places.py
    NAME                   what readers look at: the place of its online slot, joined with _distributor_active
    distributor_release    one row, of _distributor_active

Why both slots are one table: a view that unites two tables is materialised by MariaDB whenever it is joined, sorted or
counted. A join is merged into the reader's query; its one row of _distributor_active is read while the query is
planned, so the slot is a constant in it and the key is searched as in a table of the user's own. A flip is an UPDATE of
that row, in the transaction that writes the member's row: it waits for no reader, and kill -9 leaves all of it or
nothing. Only where a table changes its shape does a flip rename (mariadb_row.py): RENAME TABLE waits for every open
transaction that has read one of the views, and later readers wait behind it.

Making a table commits by itself. So `_distributor_place` says first what is to be made, and afterwards that it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from consumers.adapters.base import TableSpec
from consumers.adapters.mariadb_catalogue import columns_of, primary_key, relations, views
from consumers.adapters.mariadb_line import Line, Transaction
from consumers.adapters.mariadb_places import LONGEST_TABLE, SLOT_TYPE, SLOTS, TABLES, Place, Places, known
from consumers.adapters.mariadb_row import ACTIVE, MEMBER, first_rows, put_back, read_row, stray
from consumers.adapters.mariadb_row import TABLES as ROWS
from consumers.adapters.mariadb_text import COLLATION, is_text, listed, literal, quoted
from distributor.errors import ConfigError, SystemAlteredError
from distributor.rollout.member_row import MemberRow, other
from distributor.telemetry.logs import logger

RELEASE = "distributor_release"
_LONGEST_NAME = 64
_AGAIN = "its consumer makes it anew when it starts, or stages; grants have to be given again"
_BACK = "The member's consumer puts it back when it starts, or stages."
_ANEW = (
    "To have the system loaded anew, drop the tables whose names begin with _distributor_ or _slots and the readers'"
    " views (their grants go too)."
)
_log = logger("adapter")
_HOME = {
    "_distributor_table": TABLES[0],
    "_distributor_place": TABLES[1],
    "_distributor_slot": f"slot {SLOT_TYPE} PRIMARY KEY",
    **ROWS,
}
_RELEASE_QUERY = f"SELECT environment, `system`, `release`, flipped_at FROM {ACTIVE} WHERE id = 1"


class Layout:
    """The layout of one member, in the database of a line."""

    def __init__(self, line: Line) -> None:
        self._where = line.where
        self._database = line.database

    def prepare(self, statements: Transaction, row: MemberRow, tables: Sequence[TableSpec]) -> None:
        """Creates what is missing; `row` is the member's first one. Every statement commits by itself; the member's
        row is locked.

        Raises ConfigError when the database is another member's or a name cannot be one, SystemAlteredError when
        something of somebody else's has the name of a view, or when ours is not as it was made: then nothing changed.
        """
        self._check_names(tables)
        self._check_owner(statements, row)
        self.check(statements, tables)
        self._create_home(statements, row)
        owner = read_row(statements)
        for table in tables:
            self._create(statements, owner, table)
        self._sweep(statements, tables)
        if stray(statements, owner):
            put_back(statements, owner)
            _log.warning("readers were led elsewhere by hand, and are led back", slot=owner.active)

    def check(self, transaction: Transaction, tables: Sequence[TableSpec]) -> None:
        """Compares all that should be there with what was made. Raises SystemAlteredError."""
        there = known(transaction)
        for table in tables:
            for altered in self._altered_places(transaction, table.name, there):
                raise altered
        # Without tables a member is only met: it must be there to go back, whatever its readers look through.
        if tables or not there.places:
            for altered in self._altered_views(transaction, [table.name for table in tables], there):
                raise altered

    def altered(self, transaction: Transaction, row: MemberRow, tables: Sequence[TableSpec]) -> list[str]:
        """All that is not as it was made, or leads readers elsewhere than `row` says: each with its mend."""
        there = known(transaction)
        names = [table.name for table in tables if table.name in there.numbers]
        found = [error for name in names for error in self._altered_places(transaction, name, there)]
        found += self._altered_views(transaction, names, there, row)
        said = [str(SystemAlteredError(altered.what, mend=altered.mend)) for altered in found]
        return said + stray(transaction, row)

    def _check_names(self, tables: Sequence[TableSpec]) -> None:
        """MariaDB takes columns' names that differ in case for one, and on some machines tables' names too."""
        columns = [table.schema.column_names for table in tables]
        for names in ([RELEASE, *(table.name for table in tables)], *columns):
            folded = [name.lower() for name in names]
            for name in names:
                if folded.count(name.lower()) > 1:
                    raise ConfigError(f"two names are one to MariaDB: {name}", where=self._where)
                if len(name) > _LONGEST_NAME or name != name.rstrip(" ") or any(ord(sign) > 0xFFFF for sign in name):
                    raise ConfigError(f"{name!r} can be no name in MariaDB", where=self._where)
        for table in tables:
            if len(table.name) > LONGEST_TABLE:
                raise ConfigError(f"the name {table.name} is longer than {LONGEST_TABLE} characters", where=self._where)

    def _check_owner(self, statements: Transaction, row: MemberRow) -> None:
        if len(relations(statements, ROWS)) < len(ROWS) or not self._filled(statements):
            return
        owner = read_row(statements)
        if (owner.environment, owner.system) != (row.environment, row.system):
            raise ConfigError(
                f"this database is the store of {owner.system} in {owner.environment},"
                f" not of {row.system} in {row.environment}",
                where=self._where,
                mend="Every member needs a database of its own.",
            )

    def _filled(self, statements: Transaction) -> bool:
        """Whether the member's row is there. Raises SystemAlteredError when it was, and is not."""
        if statements.run(f"SELECT 1 FROM {MEMBER}"):
            return True
        if statements.run(f"SELECT 1 FROM {ACTIVE}") or statements.run("SELECT 1 FROM _distributor_place"):
            raise self._altered(f"{MEMBER} has lost its row")
        return False

    def _create_home(self, statements: Transaction, row: MemberRow) -> None:
        there = relations(statements, [*_HOME, RELEASE])
        for name, columns in _HOME.items():
            if name not in there:
                statements.run(f"CREATE TABLE {name} ({columns}) ENGINE = InnoDB")
        if not self._filled(statements):
            statements.run("START TRANSACTION")
            statements.run("INSERT IGNORE INTO _distributor_slot VALUES ('a'), ('b')")
            first_rows(statements, row)
            statements.commit()
        if RELEASE not in there or not self._sight_of_release(statements):
            statements.run(f"INSERT IGNORE INTO _distributor_place VALUES ({literal(RELEASE)}, 0, '', FALSE, '')")
            self._show(statements, RELEASE, _RELEASE_QUERY)
            self._note(statements, RELEASE, 0, self._spelled(statements, RELEASE))

    def _create(self, statements: Transaction, row: MemberRow, table: TableSpec) -> None:
        """The place of the table's shape, and its view, as far as they are missing."""
        there = known(statements)
        if there.fitting(table) is None:
            self._make(statements, there, table)
            there = known(statements)
        online = there.of(row.active, table.name)
        seen = views(statements, [table.name], self._database).get(table.name)
        if seen is None:
            _log.warning("a view was gone and is made again; its grants are not", view=table.name)
        elif seen != online.sight:
            _log.warning("readers were led elsewhere by hand, and are led back", view=table.name, slot=row.active)
        if seen != online.sight:
            self._show(statements, table.name, online.view)

    def _make(self, statements: Transaction, there: Places, table: TableSpec) -> None:
        places = there.places.get(table.name, {})
        # What was not made to the end is made again: nothing was ever loaded into it.
        number = next((n for n, place in places.items() if not place.made), max(places, default=0) + 1)
        place = Place(table.name, number, table.schema)
        shape = literal(table.schema.model_dump_json())
        statements.run(f"REPLACE INTO _distributor_place VALUES ({literal(table.name)}, {number}, {shape}, FALSE, '')")
        statements.run(f"CREATE OR REPLACE TABLE {quoted(place.table)} ({place.definition()}) ENGINE = InnoDB")
        first = table.name not in there.numbers
        spelling = table.name if first else f"_slotsnext_{table.name}"
        self._show(statements, spelling, place.view)
        sight = self._spelled(statements, spelling)
        if first:
            statements.run(f"INSERT INTO _distributor_table VALUES ({literal(table.name)}, {number}, {number})")
        else:
            statements.run(f"DROP VIEW {quoted(spelling)}")
        self._note(statements, table.name, number, sight)

    def _sweep(self, statements: Transaction, tables: Sequence[TableSpec]) -> None:
        """Takes away places that no slot is in, and none of these tables will be."""
        there = known(statements)
        for table in tables:
            numbers = there.numbers[table.name].values()
            for place in there.places[table.name].values():
                if place.number not in numbers and not place.holds(table):
                    statements.run(f"DROP TABLE IF EXISTS {quoted(place.table)}")
                    which = f"name = {literal(place.name)} AND number = {place.number}"
                    statements.run(f"DELETE FROM _distributor_place WHERE {which}")

    def _show(self, statements: Transaction, name: str, query: str) -> None:
        statements.run(f"CREATE OR REPLACE ALGORITHM = MERGE VIEW {quoted(name)} AS {query}")

    def _spelled(self, statements: Transaction, name: str) -> str:
        return views(statements, [name], self._database)[name]

    def _note(self, statements: Transaction, name: str, number: int, sight: str) -> None:
        which = f"name = {literal(name)} AND number = {number}"
        statements.run(f"UPDATE _distributor_place SET made = TRUE, sight = {literal(sight)} WHERE {which}")

    def _sight_of_release(self, transaction: Transaction) -> str:
        if not relations(transaction, ["_distributor_place"]):
            return ""
        query = f"SELECT sight FROM _distributor_place WHERE name = {literal(RELEASE)} AND number = 0"
        found = transaction.run(query)
        return found[0][0] if found else ""

    def _altered_places(self, transaction: Transaction, name: str, there: Places) -> Iterator[SystemAlteredError]:
        if name not in there.numbers:
            first = f"_slots_{name}"
            if name not in there.places and relations(transaction, [first]):
                yield self._altered(f"{first} is there, but was not made here")
            return
        for place in {there.of(slot, name).number: there.of(slot, name) for slot in SLOTS}.values():
            yield from self._altered_place(transaction, place)

    def _altered_place(self, transaction: Transaction, place: Place) -> Iterator[SystemAlteredError]:
        found, wanted = columns_of(transaction, place.table), place.columns
        if not found:
            yield self._altered(f"the table {place.table} is missing")
            return
        texts = {column.name for column in place.schema.columns if is_text(column.type)}
        for name, type_ in wanted.items():
            if name not in found:
                yield self._altered(f"{place.table} has no column {name}, of type {type_}")
            elif found[name][0] != type_:
                yield self._altered(f"the column {name} of {place.table} is of type {found[name][0]}, not {type_}")
            elif name in texts and found[name][1] != COLLATION:
                what = f"the column {name} of {place.table} is compared by {found[name][1]}, not by {COLLATION}"
                yield self._altered(what)
        if extra := found.keys() - wanted.keys():
            yield self._altered(f"{place.table} has a column {min(extra)} that was not made here")
        if (key := primary_key(transaction, place.table)) != place.key:
            first = "DROP PRIMARY KEY, " if key else ""
            yield self._altered(
                f"the primary key of {place.table} is not ({', '.join(place.key)})",
                f"Put it back: ALTER TABLE {quoted(place.table)} {first}ADD PRIMARY KEY ({listed(place.key)}).",
            )

    def _altered_views(
        self, transaction: Transaction, names: Sequence[str], there: Places, row: MemberRow | None = None
    ) -> Iterator[SystemAlteredError]:
        """Names of ours that something else has taken, and views that are of no query of ours any more; with `row`,
        those that are gone or lead to the other slot, too."""
        kinds = relations(transaction, [RELEASE, *names])
        queries = views(transaction, [RELEASE, *names], self._database)
        for name in (RELEASE, *names):
            if name not in kinds:
                if row:
                    yield SystemAlteredError(
                        f"the view {name} is gone", where=self._where, mend=f"{_AGAIN.capitalize()}."
                    )
                continue
            places = there.places.get(name, {}).values()
            sights = {self._sight_of_release(transaction)} if name == RELEASE else {p.sight for p in places}
            query = queries.get(name)
            if query is None or (not places and (name != RELEASE or not self._is_ours(transaction))):
                kind = "view" if query else kinds[name].lower().removeprefix("base ")
                yield SystemAlteredError(
                    f"{name} is already there: a {kind} that was not made here",
                    where=self._where,
                    mend="It was not touched. Rename it, or give the readers' table another name (into).",
                )
            elif query not in sights and "" not in sights:
                yield SystemAlteredError(
                    f"the view {name} was altered: readers see through it what no slot holds",
                    where=self._where,
                    mend=f"It was not touched. Rename or drop it (DROP VIEW {quoted(name)}); {_AGAIN}.",
                )
            elif row and name != RELEASE and query != there.of(row.active, name).sight:
                what = f"readers of {name} see slot {other(row.active)}, and slot {row.active} is online"
                yield SystemAlteredError(f"{what} by the member's row", mend=_BACK)

    def _is_ours(self, transaction: Transaction) -> bool:
        """Whether `distributor_release` was made here, or was being made."""
        if not relations(transaction, ["_distributor_place"]):
            return False
        return bool(transaction.run(f"SELECT 1 FROM _distributor_place WHERE name = {literal(RELEASE)}"))

    def _altered(self, what: str, mend: str = "Put it back as it was.") -> SystemAlteredError:
        return SystemAlteredError(what, where=self._where, mend=f"{mend} {_ANEW}")
