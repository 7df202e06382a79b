"""Audits in SQLite: texts are made in its SQL where it can, hashes in Python, a row at a time.

A row at a time, because between two rows whoever else waits for the interpreter gets it: a flip in the worker's thread
does not wait for an audit.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Callable, Collection, Sequence
from typing import Any

from consumers.adapters.base import StoredRow, TableSpec
from consumers.adapters.sqlite_file import File
from consumers.adapters.sqlite_layout import altered, read_row, slot_table
from consumers.adapters.sqlite_text import Value, quoted, readable, readers
from distributor.model.certificate import BUCKETS, Bucket, TableCertificate, field_text, from_sums
from distributor.model.types import Kind, LogicalType
from distributor.rollout.member_row import SlotName

_LANES = struct.Struct(">QQ")
_WANTED = "_distributor_wanted"
_TOUCHED = "temp._distributor_touched"


class SQLiteAuditing:
    """A snapshot: a read transaction, which no writer waits for in WAL mode."""

    def __init__(self, connection: sqlite3.Connection, file: File) -> None:
        self._connection = connection
        self.row = read_row(connection, str(file.path))

    def buckets(self, slot: SlotName, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything stored, or of the given buckets."""
        return audited(self._connection, slot, table, only)

    def altered(self, tables: Sequence[TableSpec]) -> list[str]:
        """What is not as it was made, or leads readers elsewhere than the row says."""
        return altered(self._connection, self.row, tables)

    def leaves(self, slot: SlotName, table: TableSpec, buckets: Collection[int]) -> dict[int, Bucket]:
        """Rows and lanes per leaf, of all leaves with rows in the given buckets."""
        wanted = frozenset(buckets)
        sums: dict[int, tuple[int, int, int]] = {}
        for key, row in _texts(self._connection, slot, table, lambda leaf: (leaf >> 8) % BUCKETS in wanted):
            rows, *sum_of = sums.get(leaf := _leaf(key), (0, 0, 0))
            first, second = (old + new for old, new in zip(sum_of, _lanes(row), strict=True))
            sums[leaf] = (rows + 1, first, second)
        return from_sums(sums).buckets

    def rows(self, slot: SlotName, table: TableSpec, leaves: Collection[int]) -> list[StoredRow]:
        """Every row of the given leaves."""
        texts = _texts(self._connection, slot, table, frozenset(leaves).__contains__)
        return [StoredRow(_values(key), *_lanes(row)) for key, row in texts]


def audited(
    connection: sqlite3.Connection, slot: SlotName, table: TableSpec, only: Collection[int] = ()
) -> TableCertificate:
    """The certificate of everything that a slot holds, as this transaction sees it, or of some buckets."""
    wanted = frozenset(only)
    return _certified(
        _texts(connection, slot, table, (lambda leaf: (leaf >> 8) % BUCKETS in wanted) if wanted else None)
    )


class Touching:
    """The certificates of a batch's rows as they are stored, before and after they are written.

    Its keys go into a temporary table, so that one statement finds all rows and makes their texts.
    """

    def __init__(
        self, connection: sqlite3.Connection, slot: SlotName, table: TableSpec, keys: Sequence[tuple[Value, ...]]
    ) -> None:
        self._connection, self._slot, self._table = connection, slot, table
        names = ", ".join(f"k{at}" for at in range(len(table.schema.key)))
        connection.execute(f"DROP TABLE IF EXISTS {_TOUCHED}")
        connection.execute(f"CREATE TEMPORARY TABLE _distributor_touched ({names})")
        marks = ", ".join("?" for _ in table.schema.key)
        connection.executemany(f"INSERT INTO {_TOUCHED} VALUES ({marks})", keys)

    def certificate(self) -> TableCertificate:
        """Of the rows that are there now."""
        return _certified(_texts(self._connection, self._slot, self._table, None, touched=True))


def _certified(texts: sqlite3.Cursor) -> TableCertificate:
    sums = [[0, 0, 0] for _ in range(BUCKETS)]
    md5, unpack = hashlib.md5, _LANES.unpack
    for key, row in texts:
        entry = sums[md5(key, usedforsecurity=False).digest()[0] % BUCKETS]
        first, second = unpack(md5(row, usedforsecurity=False).digest())
        entry[0] += 1
        entry[1] += first
        entry[2] += second
    return from_sums({number: (rows, first, second) for number, (rows, first, second) in enumerate(sums)})


def _texts(
    connection: sqlite3.Connection,
    slot: SlotName,
    table: TableSpec,
    wanted: Callable[[int], bool] | None,
    *,
    touched: bool = False,
) -> sqlite3.Cursor:
    """Key text and row text of the rows in wanted leaves, or under `touched` keys; no text is made of any other row."""
    fields = [_field(connection, at, column.name, column.type) for at, column in enumerate(table.schema.columns)]
    key = _joined([fields[at] for at in table.schema.key_positions])
    dataset = "'" + field_text(table.schema.dataset).replace("'", "''") + "'"
    place = slot_table(slot, table.name)
    source = place
    if touched:
        # The order of a cross join is kept: each key is looked up by the table's index.
        matches = " AND ".join(f"{place}.{quoted(name)} = touched.k{at}" for at, name in enumerate(table.schema.key))
        source = f"{_TOUCHED} AS touched CROSS JOIN {place} ON {matches}"
    query = f"SELECT {key}, {_joined([dataset, *fields])} FROM {source}"
    if wanted is not None:
        connection.create_function(_WANTED, 1, lambda text: wanted(_leaf(text)), deterministic=True)
        query += f" WHERE {_WANTED}({key})"
    return connection.execute(query)


def _lanes(row_text: bytes) -> tuple[int, int]:
    first, second = _LANES.unpack(hashlib.md5(row_text, usedforsecurity=False).digest())
    return first, second


def _leaf(key_text: bytes) -> int:
    return int.from_bytes(hashlib.md5(key_text, usedforsecurity=False).digest()[:2], "big")


def _joined(fields: Sequence[str]) -> str:
    """All fields as one blob. In pairs of pairs: SQLite limits how deep an expression is, not how wide."""
    parts = list(fields)
    while len(parts) > 1:
        parts = [f"({' || '.join(parts[at : at + 2])})" for at in range(0, len(parts), 2)]
    return f"CAST({parts[0]} AS BLOB)"


def _field(connection: sqlite3.Connection, at: int, name: str, type_: LogicalType) -> str:
    """The field of a column. What is stored as its type says has its text in SQL, all else from `readers`."""
    column, (read,) = quoted(name), readers((type_,))

    def number(value: float) -> str:
        return field_text(read(value))

    def other(is_text: int, value: Any) -> str:
        return field_text(read(readable(value) if is_text else value))

    connection.create_function(f"_distributor_number_{at}", 1, number, deterministic=True)
    connection.create_function(f"_distributor_other_{at}", 2, other, deterministic=True)
    text = f"typeof({column}) = 'text'"
    # Texts as blobs: SQLite's module gives a function none that are no UTF-8.
    value = f"CASE WHEN {text} THEN CAST({column} AS BLOB) ELSE {column} END"
    return (
        f"CASE {_plain(column, type_)} WHEN typeof({column}) = 'real' THEN _distributor_number_{at}({column})"
        f" WHEN {column} IS NULL THEN '-' ELSE _distributor_other_{at}({text}, {value}) END"
    )


def _plain(column: str, type_: LogicalType) -> str:
    kind = f"typeof({column})"
    match type_.kind:
        case Kind.BOOLEAN:
            return f"WHEN {column} IS 1 THEN '4:true' WHEN {column} IS 0 THEN '5:false'"
        case Kind.BYTES:
            return f"WHEN {kind} = 'blob' THEN (2 + 2 * length({column})) || ':\\x' || lower(hex({column}))"
        case Kind.DOUBLE:
            return ""
        case _ if type_.kind is Kind.INTEGER or type_.fits_a_double:
            return f"WHEN {kind} = 'integer' THEN length({column}) || ':' || {column}"
        case _:
            return f"WHEN {kind} = 'text' THEN length(CAST({column} AS BLOB)) || ':' || {column}"


def _values(key_text: bytes) -> tuple[str | None, ...]:
    """The texts of a key from its fields."""
    values: list[str | None] = []
    while key_text:
        if key_text.startswith(b"-"):
            values.append(None)
            key_text = key_text[1:]
        else:
            length, _, rest = key_text.partition(b":")
            values.append(readable(rest[: int(length)]))
            key_text = rest[int(length) :]
    return tuple(values)
