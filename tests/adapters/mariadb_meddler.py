"""Somebody in a member's MariaDB who alters rows at once, or from within the writer's connection. The adapter's code
is not used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql
import pytest

from consumers.adapters.base import TableSpec
from consumers.conformance.alterations import SPELLED
from consumers.conformance.edits import Drop, Edit, Odd, Oddity, Put
from consumers.conformance.mutations import PROOF
from consumers.conformance.samples import Row
from distributor.rollout.member_row import SlotName
from tests.services.mariadb import connected

_STRANGE = (
    # Column, canonical text, SQL, what. A column takes more than its logical type has.
    ("flag", "true", "2", "number that is neither"),
    ("flag", "false", "-1", "negative number"),
    ("day", "2026-03-04", "'0000-00-00'", "day zero"),
    ("moment", "2026-02-28 12:00:00", "'0000-00-00'", "moment zero"),
    ("clock", "08:30:00", "'-08:30:00'", "negative time"),
    ("clock", "08:30:00", "'80:30:00'", "more than a day"),
    ("title", "Lamp", "CONCAT('Lamp', CHAR(0))", "text that ends in a zero octet"),
    ("document", '{"a": 1, "bc": [1, 2]}', """'{"a": 1, "bc": [1, 2]} '""", "a space after it"),
)
# Texts and documents are kept as they are spelled; all other types hold values.
_KEPT = {"text", "json", "decimal"}


class MariaDBMeddler:
    oddities: Sequence[Oddity] = tuple(Oddity(*odd) for odd in _STRANGE)
    equal = frozenset(
        (str(column.type), what)
        for column in PROOF.columns
        if str(column.type) not in _KEPT
        for what, *_ in SPELLED.get(column.name, ())
    )

    def __init__(self, url: str) -> None:
        self._connection = connected(url)
        self._connection.query("SET sql_mode = 'ALLOW_INVALID_DATES'")

    def alter(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> None:
        self._connection.begin()
        for statement in _statements(slot, table, edits):
            self._connection.query(statement)
        self._connection.commit()

    @contextmanager
    def altering(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> Iterator[None]:
        """A hand in the driver: a trigger of MariaDB's cannot write to the table that it is on."""
        run = pymysql.Connection.query
        place, statements = _place(table), _statements(slot, table, edits)

        def query(self: pymysql.Connection, sql: str, unbuffered: bool = False) -> int:
            affected = run(self, sql, unbuffered)
            if place in sql and sql.split(None, 1)[0] in ("INSERT", "DELETE", "UPDATE", "REPLACE"):
                # What the writer's cursor is about to read is of its own statement.
                kept: Any = self._result  # type: ignore[attr-defined]
                run(self, "SET @mode = @@sql_mode, sql_mode = 'ALLOW_INVALID_DATES'")
                for statement in statements:
                    run(self, statement)
                run(self, "SET sql_mode = @mode")
                self._result = kept  # type: ignore[attr-defined]
            return affected

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pymysql.Connection, "query", query)
            yield

    def close(self) -> None:
        self._connection.close()


def _statements(slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> list[str]:
    return [_statement(slot, table, edit) for edit in edits]


def _place(table: TableSpec) -> str:
    return f"`_slots_{table.name}`"


def _statement(slot: SlotName, table: TableSpec, edit: Edit) -> str:
    place, schema = _place(table), table.schema
    match edit:
        case Put(row):
            kinds = (column.type.kind.value for column in schema.columns)
            names = ", ".join(f"`{name}`" for name in ("_slot", *schema.column_names))
            values = ", ".join([f"'{slot}'", *map(_value, kinds, row)])
            return f"REPLACE INTO {place} ({names}) VALUES ({values})"
        case Drop(key):
            return f"DELETE FROM {place} WHERE {_same(slot, table, key)}"
        case Odd(key, column, value):
            return f"UPDATE {place} SET `{column}` = {value} WHERE {_same(slot, table, key)}"


def _same(slot: SlotName, table: TableSpec, key: Row) -> str:
    row = zip(table.schema.key, key, strict=True)
    return " AND ".join([f"_slot = '{slot}'", *(f"`{name}` = {_value('text', text)}" for name, text in row)])


def _value(kind: str, text: str | None) -> str:
    if text is None:
        return "NULL"
    match kind:
        case "boolean":
            return "1" if text.startswith(("t", "y")) else "0"
        case "bytes":
            return f"x'{text[2:]}'"
        case "timestamptz" if text.endswith("+01"):
            return f"CONVERT_TZ('{text[:-3]}', '+01:00', '+00:00')"
        case "timestamptz":
            return f"'{text.removesuffix('+00').removesuffix('Z')}'"
    return f"CONVERT(x'{text.encode().hex()}' USING utf8mb4)"
