"""Certificates: row count and an additive set hash of rows, in buckets of the key.

The specification (docs/certificates.md) in one place; every store that can compute md5 computes the same numbers in
its own SQL. A row's text is the concatenation of fields: `-` for NULL, else `<octets>:<text>`; the first field is the
name of the dataset. Its md5 read as two big-endian 64-bit lanes is the row's hash. Lanes are *summed* modulo 2^64
(an XOR would call a row that is stored twice absent). md5 finds accidents, not forgers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import Field
from pydantic_core import CoreSchema, core_schema

from distributor.model.dataset import Frozen

BUCKETS = 64
LANE = 1 << 64


def field_text(value: str | None) -> str:
    """One field: `-` for NULL, else its length in UTF-8 octets, a colon and the canonical text."""
    return "-" if value is None else f"{len(value.encode())}:{value}"


def row_text(dataset: str, values: Sequence[str | None]) -> str:
    """The text that is hashed: the dataset's name, then every column in order."""
    return field_text(dataset) + "".join(map(field_text, values))


def row_lanes(dataset: str, values: Sequence[str | None]) -> tuple[int, int]:
    """The two 64-bit lanes of a row."""
    digest = hashlib.md5(row_text(dataset, values).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


def bucket_of(key: Sequence[str | None]) -> int:
    """The bucket of a key: the first octet of the md5 of its fields, modulo BUCKETS."""
    text = "".join(map(field_text, key))
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()[0] % BUCKETS


def leaf_of(key: Sequence[str | None]) -> int:
    """The leaf of a key: the first two octets of the md5 of its fields. Leaf >> 8, modulo BUCKETS, is its bucket."""
    text = "".join(map(field_text, key))
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:2], "big")


class Bucket(NamedTuple):
    """Rows and both lanes of one bucket, or of one leaf. JSON: `[rows, "lane1 hex", "lane2 hex"]`.

    An audit has 65,536 leaves for every table: as tuples they are made and read ten times as fast as models.
    """

    rows: int = 0
    first: int = 0
    second: int = 0

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> CoreSchema:
        written = core_schema.list_schema(
            core_schema.union_schema([core_schema.int_schema(), core_schema.str_schema()])
        )
        return core_schema.no_info_plain_validator_function(
            _read_bucket,
            json_schema_input_schema=written,
            serialization=core_schema.plain_serializer_function_ser_schema(_write_bucket, return_schema=written),
        )

    def plus(self, other: Bucket, sign: int = 1) -> Bucket:
        """The fold: `sign` -1 takes the other away."""
        return Bucket(
            rows=self.rows + sign * other.rows,
            first=(self.first + sign * other.first) % LANE,
            second=(self.second + sign * other.second) % LANE,
        )


def _read_bucket(value: object) -> Bucket:
    match value:
        case Bucket():
            return value
        case [int(rows), str(first), str(second)]:
            return Bucket(rows, int(first, 16), int(second, 16))
        case _:
            raise ValueError("a bucket is a list of rows and two lanes, 16 hex digits each")


def _write_bucket(bucket: Bucket) -> list[int | str]:
    return [bucket.rows, f"{bucket.first:016x}", f"{bucket.second:016x}"]


EMPTY_BUCKET = Bucket()


class TableCertificate(Frozen):
    """One table's certificate: bucket number → bucket; empty buckets are left out."""

    buckets: dict[int, Bucket] = Field(default_factory=dict)

    @property
    def total(self) -> Bucket:
        """Rows and lanes of the whole table."""
        buckets = self.buckets.values()
        return Bucket(
            rows=sum(bucket.rows for bucket in buckets),
            first=sum(bucket.first for bucket in buckets) % LANE,
            second=sum(bucket.second for bucket in buckets) % LANE,
        )

    def plus(self, other: TableCertificate, sign: int = 1) -> TableCertificate:
        """Bucket-wise sum (or difference); buckets that become empty vanish, so equal sets give equal values."""
        folded = dict(self.buckets)
        for number, bucket in other.buckets.items():
            folded[number] = folded.get(number, EMPTY_BUCKET).plus(bucket, sign)
        # Buckets are whole already: to validate 64 of them again costs more than to add them.
        return TableCertificate.model_construct(buckets={n: b for n, b in sorted(folded.items()) if b != EMPTY_BUCKET})

    def minus(self, other: TableCertificate) -> TableCertificate:
        """What is left when the other's rows are taken away."""
        return self.plus(other, -1)


EMPTY_TABLE = TableCertificate()


class Certificate(Frozen):
    """What a member stores (or should store): table name → certificate."""

    tables: dict[str, TableCertificate] = Field(default_factory=dict)

    @property
    def digest(self) -> str:
        """One text that is equal exactly when every table, bucket, count and lane is."""
        full = dict(sorted(self.tables.items()))
        return hashlib.sha256(Certificate(tables=full).model_dump_json().encode()).hexdigest()

    def difference(self, expected: Certificate) -> list[str]:
        """Sentences naming each table and how many buckets differ; empty when equal."""
        found = []
        for name in sorted(self.tables.keys() | expected.tables.keys()):
            mine, theirs = self.tables.get(name, EMPTY_TABLE), expected.tables.get(name, EMPTY_TABLE)
            if mine != theirs:
                wrong = [
                    n
                    for n in mine.buckets.keys() | theirs.buckets.keys()
                    if mine.buckets.get(n) != theirs.buckets.get(n)
                ]
                found.append(
                    f"{name}: {mine.total.rows} rows stored, {theirs.total.rows} expected, "
                    f"{len(wrong)} of {BUCKETS} buckets differ"
                )
        return found


def certify(dataset: str, key_positions: Sequence[int], rows: Iterable[Sequence[str | None]]) -> TableCertificate:
    """The certificate of rows given as canonical texts."""
    sums: dict[int, list[int]] = {}
    for values in rows:
        first, second = row_lanes(dataset, values)
        entry = sums.setdefault(bucket_of([values[i] for i in key_positions]), [0, 0, 0])
        entry[0] += 1
        entry[1] += first
        entry[2] += second
    return from_sums({number: (rows, first, second) for number, (rows, first, second) in sums.items()})


def from_sums(sums: Mapping[int, tuple[int, int, int]]) -> TableCertificate:
    """A certificate from per-bucket sums as a store returns them: lanes may be signed and unreduced."""
    return TableCertificate(
        buckets={
            number: Bucket(rows=rows, first=first % LANE, second=second % LANE)
            for number, (rows, first, second) in sorted(sums.items())
            if rows or first % LANE or second % LANE
        }
    )
