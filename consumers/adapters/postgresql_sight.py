"""What readers of a table look through while its slots have it in one shape, and while they have it in two.

In one shape the view unites both slots, and a flip is DML. In two no view has both: then it looks at the slot that is
online alone, and a flip makes it anew, for which it waits until no reader holds it. It waits in short turns, so that
readers who come meanwhile do not queue up behind it for long, and gives up with an error that may pass.

A slot's table that was made anew is without rows to a snapshot that is older than it. Therefore a view over such a
table asks `distributor.same_release` first, which fails for a snapshot that is older than the view itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from consumers.adapters.base import TableSpec
from consumers.adapters.postgresql_catalogue import columns_of, relation
from consumers.adapters.postgresql_line import Transaction
from consumers.adapters.postgresql_text import column_type, listed, literal, quoted
from distributor.errors import UnreachableError
from distributor.model.dataset import DatasetSchema
from distributor.rollout.member_row import SlotName

HOME = "distributor"
SLOTS: tuple[SlotName, ...] = ("a", "b")
BOTH = "both"
_TURN = "100ms"
_PAUSE_SECONDS = 0.1
_PATIENCE_SECONDS = 3.0

# NULL in `a` and `b`: made by an earlier version, whose slots have one shape.
STATE_COLUMNS = {
    "a": "jsonb",
    "b": "jsonb",
    "made_a": "int NOT NULL DEFAULT 0",
    "made_b": "int NOT NULL DEFAULT 0",
    "seen": "text NOT NULL DEFAULT 'both'",
}
STATE = ", ".join(f"{name} {definition}" for name, definition in STATE_COLUMNS.items())
_STATE = """
    SELECT name, a::text, b::text, made_a, made_b, seen FROM distributor.slot_table
"""
DIVIDED = "SELECT EXISTS (SELECT FROM distributor.slot_table WHERE seen <> 'both')"
"""Whether any view looks at one slot alone."""
_GUARD = """
    CREATE FUNCTION distributor.same_release(boolean) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
    BEGIN
        IF $1 THEN RETURN true; END IF;
        RAISE EXCEPTION 'this snapshot is older than the columns of the table: begin the transaction again'
            USING ERRCODE = 'serialization_failure';
    END $$
"""
_GRANTS = """
    SELECT CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
           string_agg(privilege_type, ', ' ORDER BY privilege_type), is_grantable
    FROM pg_class, aclexplode(relacl)
    WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND relname = %s AND grantee <> relowner
    GROUP BY grantee, is_grantable
"""
_LEANING = """
    SELECT DISTINCT c.oid::regclass::text
    FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_class c ON c.oid = r.ev_class
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(%s) AND c.oid <> d.refobjid
"""


@dataclass(frozen=True, slots=True)
class Made:
    """A table as it was made: its shape in each slot, how often it was made anew there, and what its view looks at."""

    name: str
    shapes: dict[SlotName, DatasetSchema]
    times: dict[SlotName, int]
    seen: str

    @property
    def is_one_shape(self) -> bool:
        """Whether both slots have the same columns and key."""
        return same_shape(self.shapes["a"], self.shapes["b"])

    @property
    def seen_shape(self) -> DatasetSchema:
        """The shape that readers see."""
        return self.shapes["b" if self.seen == "b" else "a"]

    def looking_at(self, active: SlotName) -> str:
        """What the view should look at."""
        return BOTH if self.is_one_shape else active


def unmade(table: TableSpec) -> Made:
    """A table before it is made."""
    return Made(table.name, {"a": table.schema, "b": table.schema}, {"a": 0, "b": 0}, BOTH)


def same_shape(one: DatasetSchema, other: DatasetSchema) -> bool:
    """Whether two shapes make the same table, but for its indexes."""
    return (one.columns, one.key) == (other.columns, other.key)


def prepare_state(transaction: Transaction) -> None:
    """What a store of an earlier version lacks."""
    known = columns_of(transaction, HOME, "slot_table")
    for name, definition in STATE_COLUMNS.items():
        if name not in known:
            transaction.run(f"ALTER TABLE distributor.slot_table ADD COLUMN {name} {definition}")
    if transaction.run("SELECT 1 WHERE to_regprocedure('distributor.same_release(boolean)') IS NULL"):
        transaction.run(_GUARD)


def made_tables(transaction: Transaction, tables: Iterable[TableSpec] = ()) -> dict[str, Made]:
    """Every table that was made, by name. One of an earlier version has the shape that `tables` gives it; without it
    is not among them."""
    given = {table.name: table.schema for table in tables}
    found = {}
    for name, a, b, made_a, made_b, seen in transaction.run(_STATE):
        shapes = [DatasetSchema.model_validate_json(text) if text else given.get(name) for text in (a, b)]
        if (first := shapes[0]) and (second := shapes[1]):
            found[name] = Made(name, {"a": first, "b": second}, {"a": made_a, "b": made_b}, seen)
    return found


def remember_shapes(transaction: Transaction, tables: Iterable[TableSpec]) -> None:
    """Notes the shape of tables that have none yet: they fit it, or were made just now."""
    for table in tables:
        shape = table.schema.model_dump_json()
        transaction.run(
            "UPDATE distributor.slot_table SET a = %s::jsonb, b = %s::jsonb WHERE name = %s AND a IS NULL",
            (shape, shape, table.name),
        )


def remember(transaction: Transaction, slot: SlotName, schema: DatasetSchema, name: str) -> None:
    """Notes that a slot's table was made anew."""
    transaction.run(
        f"UPDATE distributor.slot_table SET {slot} = %s::jsonb, made_{slot} = made_{slot} + 1 WHERE name = %s",
        (schema.model_dump_json(), name),
    )


def remember_seen(transaction: Transaction, name: str, seen: str) -> None:
    """Notes what a view looks at."""
    transaction.run("UPDATE distributor.slot_table SET seen = %s WHERE name = %s", (seen, name))


def query(made: Made, seen: str) -> str:
    """The query of a table's view, looking at `seen`."""
    slots = SLOTS if seen == BOTH else tuple(slot for slot in SLOTS if slot == seen)
    names = made.shapes[slots[0]].column_names
    places = {slot: quoted(f"{HOME}_{slot}", made.name) for slot in slots}
    if seen != BOTH:
        return f"SELECT {listed(names)} FROM {places[slots[0]]} WHERE {_guard(made, slots)}"
    mark = "_slot"
    while mark in names:
        mark += "_"
    branches = (f"SELECT '{slot}'::text AS {quoted(mark)}, {listed(names)} FROM {places[slot]}" for slot in slots)
    guard = f" AND {_guard(made, slots)}" if any(made.times.values()) else ""
    return (
        f"SELECT {listed(names)} FROM ({' UNION ALL '.join(branches)}) AS both_slots"
        f" WHERE {quoted(mark)} = (SELECT slot FROM distributor.active){guard}"
    )


def reads(made: Made, seen: str) -> set[tuple[str, str]]:
    """The relations that this query reads."""
    slots = {(f"{HOME}_{slot}", made.name) for slot in SLOTS if seen in (BOTH, slot)}
    guarded = {(HOME, "slot_table")} if seen != BOTH or any(made.times.values()) else set()
    return slots | {(HOME, "active")} | guarded


def leaning(transaction: Transaction, schema: str, name: str) -> list[str]:
    """What was built upon a view, and keeps it from being made anew with other columns."""
    return sorted(row[0] for row in transaction.run(_LEANING, (quoted(schema, name),)))


def replace_views(transaction: Transaction, where: str, schema: str, wanted: dict[str, tuple[Made, str]]) -> None:
    """Makes views anew, all or none: name → the table and what its view shall look at. Grants of whole views stay.

    Raises UnreachableError when readers hold one of them for seconds.
    """
    ends = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with transaction.savepoint():
                transaction.run(f"SET LOCAL lock_timeout = '{_TURN}'")
                for name, (made, seen) in wanted.items():
                    _replace(transaction, schema, name, made, seen)
                transaction.run("SET LOCAL lock_timeout TO DEFAULT")
            return
        except psycopg.errors.LockNotAvailable as error:
            if time.monotonic() > ends:
                raise UnreachableError(
                    f"readers hold {' or '.join(wanted)}, whose columns change",
                    where=where,
                    mend="A long transaction is reading there: it goes on when that has ended.",
                ) from error
        time.sleep(_PAUSE_SECONDS)


def views_to_follow(transaction: Transaction, active: SlotName) -> dict[str, tuple[Made, str]]:
    """Views that must be made anew when a slot goes online."""
    found = made_tables(transaction)
    return {
        name: (made, made.looking_at(active))
        for name, made in found.items()
        if made.seen != BOTH and made.seen != made.looking_at(active)
    }


def _replace(transaction: Transaction, schema: str, name: str, made: Made, seen: str) -> None:
    place, text = quoted(schema, name), query(made, seen)
    shape = replace(made, seen=seen).seen_shape
    there = relation(transaction, schema, name)
    if there is None:
        transaction.run(f"CREATE VIEW {place} AS {text}")
    elif _has_columns(transaction, schema, name, shape):
        transaction.run(f"CREATE OR REPLACE VIEW {place} AS {text}")
    else:
        grants = transaction.run(_GRANTS, (schema, name))
        transaction.run(f"DROP VIEW {place}")
        transaction.run(f"CREATE VIEW {place} AS {text}")
        for grantee, rights, grantable in grants:
            more = " WITH GRANT OPTION" if grantable else ""
            transaction.run(f"GRANT {rights} ON {place} TO {grantee}{more}")
    remember_seen(transaction, name, seen)


def _has_columns(transaction: Transaction, schema: str, name: str, shape: DatasetSchema) -> bool:
    wanted: list[tuple[Any, ...]] = [(column.name, column_type(column.type)) for column in shape.columns]
    return list(columns_of(transaction, schema, name).items()) == wanted


def _guard(made: Made, slots: tuple[SlotName, ...]) -> str:
    cases = " ".join(f"WHEN '{slot}' THEN t.made_{slot} = {made.times[slot]}" for slot in slots)
    return (
        f"distributor.same_release((SELECT CASE s.slot {cases} END FROM distributor.active AS s,"
        f" distributor.slot_table AS t WHERE t.name = {literal(made.name)}))"
    )
