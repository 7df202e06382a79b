"""How many rows a mapping takes in a second: simple columns and a filter, in batches as a consumer has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from distributor.mapping.compiled import compile_table
from distributor.mapping.tables import ColumnMapping, TableMapping
from distributor.model.dataset import Column, DatasetSchema
from distributor.model.types import LogicalType
from distributor.shaping.engine import Engine
from tests.bench.figures import Figure, median

BATCH_ROWS, REPEATS = 50_000, 3
TARGET = 1_000_000
_TYPES = (("id", "integer"), ("name", "text"), ("brand", "text"), ("price", "decimal(12,2)"), ("since", "date"))
_PRODUCTS = DatasetSchema(
    dataset="products",
    columns=tuple(Column(name=name, type=LogicalType.parse(text), nullable=name != "id") for name, text in _TYPES),
    key=("id",),
)
_TABLE = TableMapping(
    dataset="products",
    into="items",
    where="price > 1",
    columns=(
        ColumnMapping(name="no", expr="id"),
        ColumnMapping(name="title", expr="upper(name)", type=LogicalType.parse("text")),
        ColumnMapping(name="label", expr="brand || ': ' || name", type=LogicalType.parse("text(80)")),
        ColumnMapping(name="gross", expr="price * 1.19", type=LogicalType.parse("decimal(12,2)")),
        ColumnMapping(name="since", expr="since"),
    ),
)


@dataclass(frozen=True, slots=True)
class Mapping:
    """`rows_per_second` is the median of a few runs over `rows` rows."""

    rows: int
    rows_per_second: float

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        name = f"mapping of {self.rows:,} rows: three computed columns, two plain ones, a filter"
        kept = self.rows_per_second >= TARGET
        yield Figure(name, f"{self.rows_per_second:,.0f} rows/s", f"≥ {TARGET:,} rows/s", kept)


def measure(rows: int, say: Callable[[str], None]) -> Mapping:
    """On rows that are made beforehand."""
    numbers = range(rows)
    columns = {
        "id": list(map(str, numbers)),
        "name": [f"Product {n} of the usual length" for n in numbers],
        "brand": [f"Brand {n % 97}" for n in numbers],
        "price": [f"{n % 5000}.5" for n in numbers],
        "since": [f"20{10 + n % 15}-0{1 + n % 9}-11" for n in numbers],
    }
    given = pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns]))
    engine = Engine(compile_table("bench", _TABLE, _PRODUCTS))
    found = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        for start in range(0, rows, BATCH_ROWS):
            assert not engine.shape(given.slice(start, BATCH_ROWS)).unfit
        found.append(rows / (time.perf_counter() - begun))
    engine.close()
    say(f"mapping: {median(found):,.0f} rows/s")
    return Mapping(rows, median(found))
