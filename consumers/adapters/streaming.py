"""What every adapter can use that reads a slot row by row: sums, audits, batches as rows, an audit that can be ended.

A row here is the canonical texts of its columns, in the table's order. No more than one is kept, however many there
are. A store that computes md5 where the rows lie audits faster (postgresql_audit.py); none needs to.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import pyarrow as pa

from consumers.adapters.base import Batch, StoredRow, TableSpec
from distributor.errors import UnreachableError
from distributor.model.certificate import BUCKETS, Bucket, TableCertificate, field_text, from_sums
from distributor.model.dataset import DatasetSchema
from distributor.rollout.member_row import MemberRow, SlotName

Row = Sequence[str | None]
Stream = Callable[[SlotName, TableSpec], Iterator[Row]]
"""All rows of a table as a slot stores them, in any order."""
_LANES = struct.Struct(">QQ")


class Sums:
    """The certificate of the rows that were added, of all buckets or of `only` some."""

    def __init__(self, schema: DatasetSchema, only: Collection[int] = ()) -> None:
        self._hashes = _Hashes(schema)
        self._only = frozenset(only)
        self._sums = [[0, 0, 0] for _ in range(BUCKETS)]

    def add(self, row: Row) -> None:
        """One more row."""
        number = self._hashes.leaf(row) >> 8 & BUCKETS - 1
        if self._only and number not in self._only:
            return
        first, second = self._hashes.lanes(row)
        entry = self._sums[number]
        entry[0] += 1
        entry[1] += first
        entry[2] += second

    @property
    def certificate(self) -> TableCertificate:
        """Of the rows so far."""
        return from_sums({number: (rows, first, second) for number, (rows, first, second) in enumerate(self._sums)})


def audited(table: TableSpec, rows: Iterable[Row], only: Collection[int] = ()) -> TableCertificate:
    """The certificate of these rows, or of the given buckets."""
    sums = Sums(table.schema, only)
    for row in rows:
        sums.add(row)
    return sums.certificate


class StreamedAuditing:
    """`Auditing` over a stream of each table; `stream` must go on reading the same snapshot until it ends, and
    `interruption` ends it before."""

    def __init__(self, row: MemberRow, stream: Stream, interruption: Interruption) -> None:
        self.row = row
        self._rows = stream
        self._interruption = interruption
        interruption.begin()

    def buckets(self, slot: SlotName, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything stored, or of the given buckets."""
        return audited(table, self._stream(slot, table), only)

    def leaves(self, slot: SlotName, table: TableSpec, buckets: Collection[int]) -> dict[int, Bucket]:
        """Rows and lanes per leaf, of all leaves with rows in the given buckets."""
        wanted, hashes = frozenset(buckets), _Hashes(table.schema)
        sums: dict[int, tuple[int, int, int]] = {}
        for row in self._stream(slot, table):
            if (leaf := hashes.leaf(row)) >> 8 & BUCKETS - 1 in wanted:
                (rows, *lanes), (first, second) = sums.get(leaf, (0, 0, 0)), hashes.lanes(row)
                sums[leaf] = (rows + 1, lanes[0] + first, lanes[1] + second)
        return from_sums(sums).buckets

    def rows(self, slot: SlotName, table: TableSpec, leaves: Collection[int]) -> list[StoredRow]:
        """Every row of the given leaves."""
        wanted, hashes, key = frozenset(leaves), _Hashes(table.schema), table.schema.key_positions
        found = (row for row in self._stream(slot, table) if hashes.leaf(row) in wanted)
        return [StoredRow(tuple(row[at] for at in key), *hashes.lanes(row)) for row in found]

    def _stream(self, slot: SlotName, table: TableSpec) -> Iterator[Row]:
        return self._interruption.watched(self._rows(slot, table))


class Interruption:
    """Ends the audit that runs, and no later one. `strike` is for other threads than the audit's."""

    def __init__(self) -> None:
        self._struck = threading.Event()

    def begin(self) -> None:
        """An audit begins: what was struck before does not concern it. `StreamedAuditing` says so."""
        self._struck.clear()

    def strike(self) -> None:
        """The row that is read now is the last one."""
        self._struck.set()

    def watched(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows. Raises UnreachableError once it was struck."""
        for row in rows:
            if self._struck.is_set():
                raise UnreachableError("the audit was ended before it was through")
            yield row


def upserts_of(batch: Batch) -> list[Row]:
    """The rows to write."""
    return _rows(batch.upserts, batch.table.schema.column_names)


def keys_of(batch: Batch) -> list[Row]:
    """The keys that are touched: those to delete, then those to write; none appears twice."""
    key = batch.table.schema.key
    return [*_rows(batch.deletes, key), *_rows(batch.upserts, key)]


def as_table(table: TableSpec, rows: Iterable[Row]) -> pa.Table:
    """Rows as `Adapter.read` returns them."""
    found, names = list(rows), table.schema.column_names
    columns = [pa.array([row[at] for row in found], pa.string()) for at in range(len(names))]
    return pa.table(columns, schema=pa.schema([(name, pa.string()) for name in names]))


def text_of(value: object) -> str | None:
    """What a column of texts returns. Whatever else somebody has put there still has a text, and one that no value of
    a master has."""
    return value if value is None or isinstance(value, str) else f"\0{value!r}"


def decoded(octets: bytes) -> str:
    """A text as a store keeps it; what is no UTF-8 must not keep its row from being read."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return f"\0{octets!r}"


class _Hashes:
    """Sections 2 and 3 of docs/certificates.md."""

    def __init__(self, schema: DatasetSchema) -> None:
        self._dataset = field_text(schema.dataset)
        self._key = schema.key_positions

    def leaf(self, row: Row) -> int:
        digest = hashlib.md5(_text([row[at] for at in self._key]).encode(), usedforsecurity=False).digest()
        return digest[0] << 8 | digest[1]

    def lanes(self, row: Row) -> tuple[int, int]:
        text = self._dataset + _text(row)
        first, second = _LANES.unpack(hashlib.md5(text.encode(), usedforsecurity=False).digest())
        return first, second


def _text(values: Row) -> str:
    # What is ASCII knows its length in octets without being encoded.
    return "".join(
        ["-" if v is None else f"{len(v) if v.isascii() else len(v.encode())}:{v}" for v in values],
    )


def _rows(table: pa.Table, names: Sequence[str]) -> list[Row]:
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))
