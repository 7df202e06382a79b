"""Somebody in a member's directory who alters Parquet files where they lie. The adapter's code is not used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import duckdb

from consumers.adapters.base import TableSpec
from consumers.conformance.edits import Drop, Edit, Odd, Oddity, Put
from distributor.rollout.member_row import SlotName

_ODD = (
    # Column, canonical text, SQL, what. Files hold it, and `unfit` refuses it.
    ("day", "2026-03-04", "'infinity'::DATE", "infinite date"),
    ("day", "2026-03-04", "'-infinity'::DATE", "infinite date, before"),
    ("moment", "2026-02-28 12:00:00", "'infinity'::TIMESTAMP", "infinite time"),
    ("instant", "2026-02-28 11:00:00+00", "'-infinity'::TIMESTAMPTZ", "infinite time, before"),
    ("clock", "08:30:00", "'24:00:00'::TIME", "end of the day"),
    ("title", "Lamp", "'Lamp' || chr(0)", "text that ends in a zero octet"),
    ("title", "Lamp", "chr(0) || 'Lamp'", "text that begins with a zero octet"),
    ("document", "[1]", "'[1'", "text that is no JSON"),
    ("exact", "0.1", "'a tenth'", "text that is no number"),
)
_ALIKE = ("integer", "boolean", "decimal(12,2)", "double", "date", "time", "timestamp", "timestamptz", "uuid", "bytes")
_SPELLINGS = (
    "leading zeros", "plus sign", "t for true", "yes for true", "trailing zeros", "exponent", "more digits",
    "without hyphens", "with slashes", "without seconds", "T for the space", "another zone", "Z for the zone",
    "upper case", "upper-case hex",
)  # fmt: skip


class ParquetMeddler:
    oddities: Sequence[Oddity] = tuple(Oddity(*odd) for odd in _ODD)
    # Native types hold values. Text, json and decimals without a width hold canonical text: any other is another one.
    equal = frozenset((type_, what) for type_ in _ALIKE for what in _SPELLINGS)

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._connection = duckdb.connect(config={"threads": 1, "enable_external_file_cache": False})
        self._connection.execute("SET TimeZone = 'UTC'")

    def alter(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> None:
        (file,) = files_of(self._directory, slot, table.name)
        self._connection.execute("CREATE OR REPLACE TABLE held AS FROM read_parquet(?)", [str(file)])
        for edit in edits:
            match edit:
                case Put(row):
                    key = tuple(row[at] for at in table.schema.key_positions)
                    self._connection.execute(f"DELETE FROM held WHERE {_same(table, key)}")
                    kinds = [column.type.kind.value for column in table.schema.columns]
                    self._connection.execute(f"INSERT INTO held VALUES ({', '.join(map(_value, kinds, row))})")
                case Drop(key):
                    self._connection.execute(f"DELETE FROM held WHERE {_same(table, key)}")
                case Odd(key, column, value):
                    self._connection.execute(f'UPDATE held SET "{column}" = {value} WHERE {_same(table, key)}')
        replaced(self._connection, "held", file)

    def altering(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> None:
        return None

    def close(self) -> None:
        self._connection.close()


def files_of(directory: Path, slot: SlotName, name: str) -> list[Path]:
    """The files of a table in a slot, by what the version in force says."""
    state = json.loads((directory / "current" / "state.json").read_text(encoding="utf-8"))
    return [directory / part["file"] for part in state["tables"][name][slot]["parts"]]


def replaced(connection: duckdb.DuckDBPyConnection, what: str, file: Path) -> None:
    """Another file under the same name."""
    beside = file.with_suffix(".new")
    connection.execute(f"COPY (FROM {what}) TO '{beside}' (FORMAT parquet)")
    beside.replace(file)


def _same(table: TableSpec, key: Sequence[str | None]) -> str:
    kinds = {column.name: column.type.kind.value for column in table.schema.columns}
    pairs = zip(table.schema.key, key, strict=True)
    return " AND ".join(f'"{name}" = {_value(kinds[name], text)}' for name, text in pairs)


def _value(kind: str, text: str | None) -> str:
    if text is None:
        return "NULL"
    quoted = "'" + text.replace("'", "''") + "'"
    match kind:
        case "bytes":
            return f"unhex('{text[2:]}')"
        case "date" if text.isdigit():
            return f"strptime('{text}', '%Y%m%d')::DATE"
        case "date" | "timestamp" | "timestamptz" if text.endswith(" BC"):
            return f"'{text[:10]} (BC){text[10:-3]}'"
        case "uuid" if "-" not in text:
            return f"'{text}'::UUID"
    return quoted
