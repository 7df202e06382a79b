"""Reads whole systems and compares them with the master, row by row, by a path of its own: SQL of this file, plain
drivers, and no certificate.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from itertools import zip_longest

import psycopg

from distributor.demo.readers import Place

_KEYS = {"categories": "category_id", "products": "product_id", "prices": "product_id, currency"}
_PLAIN = {
    "categories": ("category_id", "parent_id", "name", "path"),
    "products": (
        "product_id", "sku", "name", "brand", "category_id", "gtin", "description", "colour", "width_mm",
        "height_mm", "revision",
    ),
    "prices": ("product_id", "currency", "revision"),
}  # fmt: skip
_NUMERIC = {"categories": (), "products": ("weight_kg",), "prices": ("list_price", "purchase_price", "tax_percent")}
_DATES = {"categories": (), "products": ("launched_on",), "prices": ("valid_from",)}


@dataclass(frozen=True, slots=True)
class Compared:
    """One table of one system beside the master's."""

    system: str
    table: str
    rows: int
    difference: str

    @property
    def equal(self) -> bool:
        """Whether every row is the master's."""
        return not self.difference


def postgresql_lines(dataset: str, table: str) -> str:
    """A SELECT that gives each row as one text, in the order of the key, whatever the columns' exact types are."""
    fields = [f"{column}::text" for column in _PLAIN[dataset]]
    fields += [f"trim_scale({column}::numeric)::text" for column in _NUMERIC[dataset]]
    fields += [f"to_char({column}::date, 'YYYY-MM-DD')" for column in _DATES[dataset]]
    if dataset == "products":
        fields += [
            "discontinued::boolean::int::text",
            "attributes::jsonb::text",
            "extract(epoch FROM changed_at::timestamptz)::bigint::text",
        ]
    joined = ", ".join(f"coalesce({field}, chr(30))" for field in fields)
    return f"SELECT concat_ws(chr(31), {joined}) FROM {table} ORDER BY {_KEYS[dataset]}"


def sqlite_lines(dataset: str, table: str) -> str:
    """The same for SQLite, where decimals are texts or numbers, and times ISO texts in UTC."""
    fields = [f"CAST({column} AS TEXT)" for column in _PLAIN[dataset]]
    fields += [_trimmed(column) for column in _NUMERIC[dataset]]
    fields += [f"substr({column}, 1, 10)" for column in _DATES[dataset]]
    if dataset == "products":
        fields += [
            "CASE CAST(discontinued AS TEXT) WHEN 'true' THEN '1' WHEN 'false' THEN '0' ELSE discontinued END",
            "attributes",
            "strftime('%s', substr(changed_at, 1, 19))",
        ]
    joined = " || char(31) || ".join(f"coalesce({field}, char(30))" for field in fields)
    return f"SELECT {joined} FROM {table} ORDER BY {_KEYS[dataset]}"


def master_lines(connection: psycopg.Connection, dataset: str) -> bytes:
    """The master's rows as lines, by the same SQL as a PostgreSQL system's."""
    return _from_postgresql(connection, dataset, dataset)


def compare(place: Place, master: dict[str, bytes]) -> list[Compared]:
    """Every table of one system, read in one transaction, against the master's lines. Raises the driver's errors."""
    if place.adapter == "sqlite":
        file = sqlite3.connect(f"file:{place.sqlite_path}?mode=rw", uri=True, timeout=10, isolation_level=None)
        try:
            file.execute("BEGIN")
            return [
                _beside(place, dataset, table, master[dataset], _from_sqlite(file, dataset, table))
                for dataset, table in place.tables.items()
            ]
        finally:
            file.close()
    with psycopg.connect(place.url) as server:
        server.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return [
            _beside(place, dataset, table, master[dataset], _from_postgresql(server, dataset, table))
            for dataset, table in place.tables.items()
        ]


def _from_postgresql(connection: psycopg.Connection, dataset: str, table: str) -> bytes:
    query = f"COPY ({postgresql_lines(dataset, table)}) TO STDOUT"
    with connection.cursor() as cursor, cursor.copy(query.encode()) as copy:
        return b"".join(copy)


def _from_sqlite(file: sqlite3.Connection, dataset: str, table: str) -> bytes:
    return "".join(f"{row[0]}\n" for row in file.execute(sqlite_lines(dataset, table))).encode()


def _beside(place: Place, dataset: str, table: str, expected: bytes, stored: bytes) -> Compared:
    difference = ""
    if stored != expected:
        pairs = zip_longest(expected.splitlines(), stored.splitlines())
        wanted, found = next(pair for pair in pairs if pair[0] != pair[1])
        difference = f"{table}: stored {_short(found)}, the master has {_short(wanted)}"
    return Compared(place.name, dataset, stored.count(b"\n"), difference)


def _short(line: bytes | None) -> str:
    text = "nothing" if line is None else line.decode().replace(chr(31), " | ").replace(chr(30), "NULL")
    return text if len(text) < 200 else f"{text[:200]}…"


def _trimmed(column: str) -> str:
    text = f"CAST({column} AS TEXT)"
    return f"CASE WHEN instr({text}, '.') THEN rtrim(rtrim({text}, '0'), '.') ELSE {text} END"
