"""The demo's tables as their own users know them, beside what the master should have put there: SQL of this file alone.

Every column has a kind, so that a value is written the same way whichever store it comes from:

    text      as it is                     decimal   without trailing zeros
    integer   its digits                   date      2026-02-28
    flag      1 or 0                       instant   seconds since 1970
    json      as PostgreSQL writes jsonb
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

FIELD, NULL = "\x1f", "\x1e"
"""What stands between the fields of a row that is written as one line, and for a NULL."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a system's table: its name there, its kind, and what it is in terms of the master's tables."""

    name: str
    kind: str
    master: str


@dataclass(frozen=True, slots=True)
class Table:
    """A system's table. `master` is what follows FROM on the master; `key` is its first so many columns.

    `marked` names the column of product ids when the table has the marked rows and their `revision`.
    """

    name: str
    columns: tuple[Column, ...]
    master: str
    key: int = 1
    marked: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(column.name for column in self.columns)


def columns(text: str) -> tuple[Column, ...]:
    """Columns from lines `name kind expression`; without an expression it is the master's column of that name."""
    found = []
    for line in text.strip().splitlines():
        name, kind, *rest = line.split(None, 2)
        found.append(Column(name, kind, rest[0] if rest else name))
    return tuple(found)


def master_query(table: Table) -> str:
    """The rows that a table should have, each as one line, in SQL for the master."""
    fields = [_POSTGRESQL[column.kind](column.master) for column in table.columns]
    return f"SELECT {_joined(fields, 'concat_ws(chr(31), {})', 'chr(30)')} FROM {table.master}"


def stored_query(adapter: str, table: Table, prefix: str = "") -> str:
    """The rows that a system's users read, each as one line, in SQL for its store."""
    kinds = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE, "mariadb": _MARIADB, "parquet": _DUCKDB}[adapter]
    fields = [kinds[column.kind](column.name) for column in table.columns]
    if adapter == "sqlite":
        line = " || char(31) || ".join(f"coalesce({field}, char(30))" for field in fields)
    elif adapter == "mariadb":
        line = _joined(fields, "concat_ws(char(31 USING utf8mb4), {})", "char(30 USING utf8mb4)")
    else:
        line = _joined(fields, "concat_ws(chr(31), {})", "chr(30)")
    return f"SELECT {line} FROM {prefix}{table.name}"


def line_of(table: Table, values: list[str | None]) -> str:
    """A row of canonical texts as the same line."""
    fields = []
    for column, value in zip(table.columns, values, strict=True):
        if value is not None and column.kind == "flag":
            value = {"true": "1", "false": "0"}.get(value, value)
        fields.append(NULL if value is None else value)
    return FIELD.join(fields)


def _joined(fields: list[str], call: str, null: str) -> str:
    return call.format(", ".join(f"coalesce({field}, {null})" for field in fields))


_POSTGRESQL: dict[str, Callable[[str], str]] = {
    "text": lambda x: f"({x})::text",
    "integer": lambda x: f"({x})::bigint::text",
    "decimal": lambda x: f"trim_scale(({x})::numeric)::text",
    "date": lambda x: f"to_char({x}, 'YYYY-MM-DD')",
    "flag": lambda x: f"({x})::int::text",
    "json": lambda x: f"({x})::jsonb::text",
    "instant": lambda x: f"extract(epoch FROM {x})::bigint::text",
}
_SQLITE: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("text", "integer", "flag", "date", "json"), lambda x: f"CAST({x} AS TEXT)"),
    "decimal": lambda x: (
        f"CASE WHEN instr(CAST({x} AS TEXT), '.') THEN rtrim(rtrim(CAST({x} AS TEXT), '0'), '.')"
        f" ELSE CAST({x} AS TEXT) END"
    ),
    "instant": lambda x: f"strftime('%s', substr({x}, 1, 19))",
}
_MARIADB: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("text", "integer", "flag", "date", "json"), lambda x: f"CAST({x} AS CHAR)"),
    "decimal": lambda x: (
        f"IF(LOCATE('.', CAST({x} AS CHAR)), TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM CAST({x} AS CHAR))),"
        f" CAST({x} AS CHAR))"
    ),
    "instant": lambda x: f"CAST(FLOOR(UNIX_TIMESTAMP({x})) AS CHAR)",
}
_DUCKDB: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("text", "integer", "date", "json"), lambda x: f"CAST({x} AS VARCHAR)"),
    "flag": lambda x: f"CAST(CAST({x} AS INTEGER) AS VARCHAR)",
    "decimal": lambda x: (
        f"CASE WHEN contains(CAST({x} AS VARCHAR), '.') THEN rtrim(rtrim(CAST({x} AS VARCHAR), '0'), '.')"
        f" ELSE CAST({x} AS VARCHAR) END"
    ),
    "instant": lambda x: f"CAST(CAST(floor(epoch({x})) AS BIGINT) AS VARCHAR)",
}
