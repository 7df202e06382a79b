"""A table while it is loaded: its records in a private SQLite file, by key, so that no load needs memory for a table.

It begins as what the slot's file holds, record for record, and ends as what the new file shall hold.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from consumers.adapters.base import Batch, TableSpec, Touched
from consumers.adapters.files_form import Form
from consumers.adapters.streaming import Row, Sums, audited, keys_of, upserts_of
from distributor.model.certificate import EMPTY_TABLE, TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.model.types import Kind

Place = tuple[int | str, ...]
"""A key in the order of the file: integers as numbers, before any text; texts by code points."""
_INT64 = range(-(2**63), 2**63)


def open_copies(path: Path) -> sqlite3.Connection:
    """The file of a load's copies. It is thrown away whatever happens, so nothing of it is synced."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -32768"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN")
    return connection


class Ordered:
    """Where the rows of a table stand in its file."""

    def __init__(self, schema: DatasetSchema) -> None:
        self._positions = schema.key_positions
        kinds = {column.name: column.type.kind for column in schema.columns}
        self._numbers = [kinds[name] is Kind.INTEGER for name in schema.key]

    def of_row(self, row: Row) -> Place:
        """By the row."""
        return self.of_key([row[at] for at in self._positions])

    def of_key(self, key: Row) -> Place:
        """By the texts of its key."""
        return tuple([_placed(text, number) for text, number in zip(key, self._numbers, strict=True)])


class Copy:
    """One table of a load. `expected` is the certificate that the new file must have: base - before + after.

    `cleared`: it holds nothing of the slot's file.
    """

    def __init__(
        self, connection: sqlite3.Connection, number: int, table: TableSpec, form: Form, *, cleared: bool
    ) -> None:
        self.table = table
        self.cleared = cleared
        self.expected = EMPTY_TABLE
        self._connection = connection
        self._form = form
        self._ordered = Ordered(table.schema)
        self._name = f"t{number}"
        keys = [f"k{at}" for at in range(len(table.schema.key))]
        self._same = " AND ".join(f"{key} = ?" for key in keys)
        self._order = ", ".join([*keys, "n"])
        self._marks = ", ".join("?" * (len(keys) + 2))
        # A file that was altered may hold a key twice: n keeps such records apart.
        connection.execute(f"CREATE TABLE {self._name} ({self._order}, r, PRIMARY KEY ({self._order})) WITHOUT ROWID")

    def fill(self, scanned: Iterable[tuple[str, Row]]) -> None:
        """Takes the records of the slot's file, and counts them."""
        sums = Sums(self.table.schema)

        def counted() -> Iterator[tuple[int | str | bytes, ...]]:
            for number, (record, row) in enumerate(scanned, 1):
                sums.add(row)
                yield *self._ordered.of_row(row), number, _packed(record)

        self._connection.executemany(f"INSERT INTO {self._name} VALUES ({self._marks})", counted())
        self.expected = sums.certificate

    def drop(self) -> None:
        """Gives its room back."""
        self._connection.execute(f"DROP TABLE {self._name}")

    def apply(self, batch: Batch) -> Touched:
        """Writes one batch, and says what was there under its keys before, and what is now."""
        keys = [self._ordered.of_key(key) for key in keys_of(batch)]
        before = self._stored(keys)
        self._connection.executemany(f"DELETE FROM {self._name} WHERE {self._same}", keys)
        rows = ((*self._ordered.of_row(row), 0, _packed(self._form.record(row))) for row in upserts_of(batch))
        self._connection.executemany(f"INSERT INTO {self._name} VALUES ({self._marks})", rows)
        after = self._stored(keys)
        self.expected = self.expected.minus(before).plus(after)
        return Touched(before, after)

    def records(self) -> Iterator[str]:
        """All records, in the order of their keys."""
        for (packed,) in self._connection.execute(f"SELECT r FROM {self._name} ORDER BY {self._order}"):
            yield _unpacked(packed)

    def rows(self) -> Iterator[Row]:
        """All rows."""
        width = len(self.table.schema.columns)
        return (self._form.row(record, width) for record in self.records())

    def _stored(self, keys: Sequence[Place]) -> TableCertificate:
        query, width = f"SELECT r FROM {self._name} WHERE {self._same}", len(self.table.schema.columns)
        found = (packed for key in keys for (packed,) in self._connection.execute(query, key))
        return audited(self.table, (self._form.row(_unpacked(packed), width) for packed in found))


def _placed(text: str | None, number: bool) -> int | str:
    if text is None:
        return "\0"
    if number and text.removeprefix("-").isdecimal() and text.isascii() and len(text) <= 20:
        value = int(text)
        # 007 is another text than 7, and must not be found under its key.
        return value if str(value) == text and value in _INT64 else text
    return text


def _packed(record: str) -> bytes:
    # Octets that are no character are half surrogates in the record, which SQLite takes in no text.
    return record.encode("utf-8", "surrogatepass")


def _unpacked(packed: bytes) -> str:
    return packed.decode("utf-8", "surrogatepass")
