"""A table as a price list is, and deltas of it: four of five rows are changed, fifteen in a hundred new, five gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from consumers.adapters.base import Batch, TableSpec
from consumers.conformance.samples import batch
from distributor.mapping.tables import TableMapping
from distributor.model.dataset import Column, DatasetSchema, Index
from distributor.model.types import LogicalType

BATCH_ROWS = 10_000
Row = tuple[str, str, str, str, str]
_COLUMNS = (("sku", "text(20)"), ("name", "text"), ("price", "decimal(12,2)"), ("stock", "integer"), ("since", "date"))
TABLE = TableSpec(
    TableMapping(dataset="articles", into="articles"),
    DatasetSchema(
        dataset="articles",
        columns=tuple(
            Column(name=name, type=LogicalType.parse(type_), nullable=name != "sku") for name, type_ in _COLUMNS
        ),
        key=("sku",),
        indexes=(Index(columns=("stock",)),),
    ),
)
NAMES = TABLE.schema.column_names


@dataclass(frozen=True, slots=True)
class Delta:
    """Rows to write and rows to delete; no key is in both."""

    upserts: list[Row]
    deletes: list[Row]

    @property
    def rows(self) -> int:
        """How many rows it touches."""
        return len(self.upserts) + len(self.deletes)

    def batches(self) -> Iterator[Batch]:
        """As a consumer hands them to an adapter."""
        for start in range(0, len(self.upserts), BATCH_ROWS):
            yield batch(TABLE, self.upserts[start : start + BATCH_ROWS])
        for start in range(0, len(self.deletes), BATCH_ROWS):
            yield batch(TABLE, (), self.deletes[start : start + BATCH_ROWS])


def base(rows: int) -> Delta:
    """The table before any delta."""
    return Delta([_row(number, 0) for number in range(rows)], [])


def delta(known: int, rows: int, round_: int) -> Delta:
    """One that fits `base(known)`: the rows of one round are others than those of the next. Keys are scattered."""
    chosen = Random(round_).sample(range(known), rows * 85 // 100)
    gone = chosen[: rows * 5 // 100]
    new = range(known + round_ * rows, known + round_ * rows + rows - len(chosen))
    return Delta([_row(number, round_) for number in (*chosen[len(gone) :], *new)], [_row(n, 0) for n in gone])


def _row(number: int, revision: int) -> Row:
    price = (number * 37 + revision) % 1_000_000
    text = f"{price // 100}.{price % 100:02}".rstrip("0").rstrip(".")
    name = f"Article {number} in its revision {revision}, of the usual length of a name"
    return f"SKU-{number:09}", name, text, str((number + revision) % 500), f"20{10 + number % 15}-0{1 + number % 9}-11"


def columns(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The same by columns."""
    return list(zip(*rows, strict=True))
