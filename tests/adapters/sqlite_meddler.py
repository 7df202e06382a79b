"""Somebody in a member's SQLite file who alters rows at once, or by triggers. The adapter's code is not used."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from consumers.adapters.base import TableSpec
from consumers.conformance.edits import Drop, Edit, Odd, Oddity, Put
from consumers.conformance.samples import Row
from distributor.rollout.member_row import SlotName

_NEVER_SAME = (
    # Column, canonical text, SQL, what. A column takes whatever its affinity cannot convert.
    ("title", "Lamp", "x'4c616d70'", "blob of the same characters"),
    ("title", "b'Lamp'", "x'4c616d70'", "blob that a driver shows as the same text"),
    ("title", "Müller é", "CAST(x'4dfc6c6c657220e9' AS TEXT)", "text that is no UTF-8"),
    ("title", "Lamp", "CAST(x'4c616d7000' AS TEXT)", "text that ends in a zero octet"),
    ("amount", "12", "12.5", "fraction"),
    ("amount", "12", "x'3132'", "blob of the digits"),
    ("amount", "12", "'12 pieces'", "text"),
    ("amount", None, "''", "empty text for NULL"),
    ("amount", "9223372036854775807", "9223372036854775807.0", "double that is not it"),
    ("flag", "true", "'true'", "text"),
    ("flag", "false", "'false'", "text"),
    ("flag", "true", "2", "number that is neither"),
    ("flag", "true", "'on'", "another text"),
    ("flag", "false", "x'00'", "blob"),
    ("flag", "false", "''", "empty text"),
    ("price", "19.99", "x'31392e3939'", "blob of the digits"),
    ("price", "19.99", "'19,99'", "comma for the point"),
    ("price", "19.99", "'19.99 EUR'", "text"),
    ("price", "NaN", "x'4e614e'", "blob"),
    ("small", "0.1", "x'302e31'", "blob of the digits"),
    ("exact", "0.1", "x'302e31'", "blob of the digits"),
    ("exact", "NaN", "x'4e614e'", "blob"),
    ("ratio", "Infinity", "'Infinity'", "text"),
    ("ratio", "-Infinity", "'-Infinity'", "text"),
    ("ratio", "NaN", "x'4e614e'", "blob"),
    ("ratio", "-0", "'minus nothing'", "text"),
    ("ratio", "0.1", "x'302e31'", "blob of the digits"),
    ("day", "2026-03-04", "x'323032362d30332d3034'", "blob of the characters"),
    ("day", "2026-03-04", "20260304", "number"),
    ("clock", "08:30:00", "0.354166666666667", "part of a day"),
    ("moment", "2026-02-28 12:00:00", "1772280000", "seconds since 1970"),
    ("instant", "2026-02-28 11:00:00+00", "'2026-02-28 11:00:00'", "without its zone"),
    ("guid", "09a3f61e-39c4-4eb3-96e8-28c7b8d344d2", "x'09a3f61e39c44eb396e828c7b8d344d2'", "its sixteen octets"),
    ("raw", "\\x00ff", "'\\x00ff'", "hex as text"),
    ("raw", "\\x", "'\\x'", "hex as text"),
    ("raw", "\\x31", "'1'", "text of the same octets"),
    ("raw", "\\x31", "1", "number"),
    ("document", "true", "1", "number"),
    ("document", "[1]", "x'5b315d'", "blob of the characters"),
)
_SAME = (
    # What an affinity converts before it is stored: the file holds nothing else than it should.
    ("amount", "12", "'12'", "text of the digits"),
    ("amount", "12", "12.0", "double"),
    ("price", "19.99", "'19.99'", "text of the digits"),
    ("price", "100", "100.0", "double"),
    ("ratio", "0.1", "'0.1'", "text of the digits"),
    ("ratio", "0", "0", "integer"),
    ("flag", "true", "1.0", "double"),
    ("flag", "true", "'1'", "text of the digit"),
    ("document", "100", "100", "number of the same digits"),
)


class SQLiteMeddler:
    oddities: Sequence[Oddity] = tuple(Oddity(*odd) for odd in (*_NEVER_SAME, *_SAME))
    # Columns of numbers and bytes hold values; all others hold canonical text, and any other text is another one.
    equal = frozenset(
        {
            ("integer", "leading zeros"),
            ("integer", "plus sign"),
            ("decimal(12,2)", "trailing zeros"),
            ("decimal(12,2)", "leading zeros"),
            ("decimal(12,2)", "exponent"),
            ("double", "trailing zeros"),
            ("double", "exponent"),
            ("double", "more digits"),
            ("bytes", "upper-case hex"),
            ("integer", "text of the digits"),
            ("integer", "double"),
            ("decimal(12,2)", "text of the digits"),
            ("decimal(12,2)", "double"),
            ("double", "text of the digits"),
            ("double", "integer"),
            ("boolean", "double"),
            ("boolean", "text of the digit"),
            ("json", "number of the same digits"),
        }
    )

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA synchronous = OFF")

    def alter(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> None:
        self._connection.executescript(f"BEGIN; {_statements(slot, table, edits)} COMMIT")

    @contextmanager
    def altering(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> Iterator[None]:
        events = ("INSERT", "UPDATE", "DELETE")
        place = _place(slot, table)
        # The edits must not set the triggers off once more, of which SQLite itself prevents only a part.
        triggers = "".join(
            f"CREATE TRIGGER meddle_{event} AFTER {event} ON {place} WHEN (SELECT busy FROM meddling) = 0 BEGIN"
            f" UPDATE meddling SET busy = 1; {_statements(slot, table, edits)} UPDATE meddling SET busy = 0; END;"
            for event in events
        )
        self._connection.executescript(f"BEGIN; CREATE TABLE meddling AS SELECT 0 AS busy; {triggers} COMMIT")
        try:
            yield
        finally:
            drops = "".join(f"DROP TRIGGER meddle_{event};" for event in events)
            self._connection.executescript(f"BEGIN; {drops} DROP TABLE meddling; COMMIT")

    def close(self) -> None:
        self._connection.close()


def _statements(slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> str:
    return "".join(f"{_statement(_place(slot, table), table, edit)};" for edit in edits)


def _place(slot: SlotName, table: TableSpec) -> str:
    return f'"_{slot}_{table.name}"'


def _statement(place: str, table: TableSpec, edit: Edit) -> str:
    schema = table.schema
    match edit:
        case Put(row):
            kinds = (column.type.kind.value for column in schema.columns)
            values = ", ".join(map(_value, kinds, row))
            news = ", ".join(f'"{name}" = excluded."{name}"' for name in schema.column_names)
            key = ", ".join(schema.key)
            # WHERE true: without it SQLite takes ON for a join's.
            return f"INSERT INTO {place} SELECT {values} WHERE true ON CONFLICT ({key}) DO UPDATE SET {news}"
        case Drop(key):
            return f"DELETE FROM {place} WHERE {_same(table, key)}"
        case Odd(key, column, value):
            return f'UPDATE {place} SET "{column}" = {value} WHERE {_same(table, key)}'


def _same(table: TableSpec, key: Row) -> str:
    return " AND ".join(f'"{name}" = {_value("text", text)}' for name, text in zip(table.schema.key, key, strict=True))


def _value(kind: str, text: str | None) -> str:
    """What the column's affinity makes of the text is what is stored; four values are not reached that way."""
    if text is None:
        return "NULL"
    match kind, text:
        case "boolean", "true" | "false":
            return "1" if text == "true" else "0"
        case "bytes", _:
            return f"x'{text[2:]}'"
        case "double", "Infinity" | "-Infinity":
            return text.replace("Infinity", "9e999")
        case "double", "-0":
            return "x'2d30'"
    return f"CAST(x'{text.encode().hex()}' AS TEXT)"
