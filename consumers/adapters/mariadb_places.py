"""Where the slots of tables lie: a *place* is a table that holds both slots of one table, as long as these have one
shape; a table that changes its shape gets another place, and each slot says in which of them it is.

    _distributor_table     per table the numbers of the places of slot a and of slot b; changed by loads
    _distributor_place     per place its shape, and its view as the server spells it; made by `prepare`
    _slots_NAME            the first place of the table NAME; _slots2_NAME, _slots3_NAME, … its others

In a place the slot is the first column of the key.
"""

from __future__ import annotations

from dataclasses import dataclass

from consumers.adapters.base import TableSpec
from consumers.adapters.mariadb_catalogue import relations
from consumers.adapters.mariadb_line import Transaction
from consumers.adapters.mariadb_text import TEXT, column_types, is_text, listed, literal, quoted
from distributor.errors import SystemAlteredError
from distributor.model.dataset import DatasetSchema
from distributor.model.types import Kind
from distributor.rollout.member_row import SlotName

SLOTS: tuple[SlotName, ...] = ("a", "b")
SLOT_TYPE = "CHAR(1) CHARACTER SET ascii COLLATE ascii_bin NOT NULL"
LONGEST_TABLE = 52
TABLES = (
    f"name VARCHAR(64) {TEXT} NOT NULL PRIMARY KEY, a INT NOT NULL, b INT NOT NULL",
    f"name VARCHAR(64) {TEXT} NOT NULL, number INT NOT NULL, shape LONGTEXT {TEXT} NOT NULL, made BOOLEAN NOT NULL,"
    f" sight LONGTEXT {TEXT} NOT NULL, PRIMARY KEY (name, number)",
)
_PREFIX_OF_TEXT = 191
_INDEX_OCTETS = 3000


@dataclass(frozen=True, slots=True)
class Place:
    """One place of the table `name`. `made` is false while it is being made; `sight` is its view's query."""

    name: str
    number: int
    schema: DatasetSchema
    made: bool = True
    sight: str = ""

    @property
    def table(self) -> str:
        """The name of its table."""
        return f"_slots{self.number if self.number > 1 else ''}_{self.name}"

    @property
    def source(self) -> str:
        """Its rows, under the alias `t`, as SQL."""
        return f"{quoted(self.table)} AS t"

    @property
    def mark(self) -> str:
        """The column that says of which slot a row is: no name of the table's own."""
        folded = {name.lower() for name in self.schema.column_names}
        name = "_slot"
        while name in folded:
            name += "_"
        return name

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of its primary key."""
        return self.mark, *self.schema.key

    @property
    def columns(self) -> dict[str, str]:
        """Name → type of all columns."""
        return {self.mark: "char(1)", **column_types(self.schema)}

    @property
    def view(self) -> str:
        """The query through which readers look at the slot that is online."""
        columns = ", ".join(f"{quoted('s', name)} AS {quoted(name)}" for name in self.schema.column_names)
        same = f"{quoted('s', self.mark)} = a.slot"
        return f"SELECT {columns} FROM _distributor_active AS a JOIN {quoted(self.table)} AS s ON {same} WHERE a.id = 1"

    def holds(self, table: TableSpec) -> bool:
        """Whether it is of the table's shape."""
        return (self.schema.columns, self.schema.key) == (table.schema.columns, table.schema.key)

    def in_slot(self, slot: SlotName) -> str:
        """Whether the row `t` is in a slot, as SQL."""
        return f"{quoted('t', self.mark)} = '{slot}'"

    def definition(self) -> str:
        """Columns, keys and checks, as CREATE TABLE has them."""
        schema, types = self.schema, column_types(self.schema)
        lines = [f"{quoted(self.mark)} {SLOT_TYPE}"]
        for column in schema.columns:
            collated = f" {TEXT}" if is_text(column.type) else ""
            null = "" if column.nullable and column.name not in schema.key else " NOT NULL"
            check = f" CHECK (JSON_VALID({quoted(column.name)}))" if column.type.kind is Kind.JSON else ""
            lines.append(f"{quoted(column.name)} {types[column.name]}{collated}{null}{check}")
        lines.append(f"PRIMARY KEY ({listed(self.key)})")
        # Never unique: two rows that swap a value would fail halfway, and the master has checked it already.
        for number, index in enumerate(schema.indexes):
            parts = (_indexed(name, types[name], len(index.columns)) for name in index.columns)
            lines.append(f"KEY {quoted(f'distributor_{number}')} ({quoted(self.mark)}, {', '.join(parts)})")
        return ", ".join(lines)


@dataclass(frozen=True, slots=True)
class Places:
    """All of them: name → number → place, and name → slot → the number of its place."""

    places: dict[str, dict[int, Place]]
    numbers: dict[str, dict[SlotName, int]]

    def of(self, slot: SlotName, name: str) -> Place:
        """Where a slot has a table. Raises SystemAlteredError when it was never made."""
        try:
            return self.places[name][self.numbers[name][slot]]
        except KeyError:
            raise SystemAlteredError(f"the table {name} was never made", mend="Was the adapter prepared?") from None

    def fitting(self, table: TableSpec) -> Place | None:
        """The place of the table's shape that is made."""
        return next((p for p in self.places.get(table.name, {}).values() if p.made and p.holds(table)), None)

    def read(self, slot: SlotName, table: TableSpec) -> Place:
        """Where a slot has a table of this shape. Raises SystemAlteredError when it has another one."""
        place = self.of(slot, table.name)
        if not place.holds(table):
            raise SystemAlteredError(
                f"{place.table} has another shape in slot {slot} than what was asked for",
                mend="The next load that clears the table gives it its new shape.",
            )
        return place


def known(transaction: Transaction) -> Places:
    """What was made, as the transaction sees it."""
    places: dict[str, dict[int, Place]] = {}
    if len(relations(transaction, ["_distributor_table", "_distributor_place"])) < len(TABLES):
        return Places({}, {})
    for name, number, shape, made, sight in transaction.run("SELECT * FROM _distributor_place WHERE number > 0"):
        schema = DatasetSchema.model_validate_json(shape)
        places.setdefault(name, {})[number] = Place(name, number, schema, bool(made), sight)
    slots = transaction.run("SELECT name, a, b FROM _distributor_table")
    return Places(places, {name: {"a": a, "b": b} for name, a, b in slots})


def move(transaction: Transaction, slot: SlotName, place: Place) -> None:
    """The slot has its table there from the commit on."""
    transaction.run(f"UPDATE _distributor_table SET {slot} = {place.number} WHERE name = {literal(place.name)}")


def _indexed(name: str, type_: str, columns: int) -> str:
    """An index has the begin of a text only: long ones have no room in it."""
    if not type_.startswith(("varchar", "varbinary", "long")):
        return quoted(name)
    fair = min(_PREFIX_OF_TEXT, _INDEX_OCTETS // 4 // columns)
    declared = type_.partition("(")[2].rstrip(")")
    return f"{quoted(name)}({min(fair, int(declared)) if declared else fair})"
