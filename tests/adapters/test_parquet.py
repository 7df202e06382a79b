"""Parquet sits the exam, and answers for what only it promises."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from consumers.adapters.base import Adapter, TableSpec
from consumers.adapters.parquet import ParquetAdapter
from consumers.conformance.exam import AdapterConformance
from consumers.conformance.seat import Meddler, Reader, Seat, Sight
from distributor.settings import MemberSettings
from tests.adapters.parquet_meddler import ParquetMeddler, files_of, replaced

pytestmark = pytest.mark.conformance


class ParquetReader:
    """Plain DuckDB, attached anew for every look, and texts made from what it returns."""

    def __init__(self, directory: Path) -> None:
        self._catalogue = directory / "current" / "catalog.duckdb"
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("SET TimeZone = 'UTC'")

    def look(self, table: TableSpec) -> Sight:
        self._connection.execute(f"ATTACH '{self._catalogue}' AS reporting (READ_ONLY)")
        try:
            columns = [_selected(column.type.kind.value, column.name) for column in table.schema.columns]
            rows_of = f'(SELECT 1, {", ".join(columns)} FROM reporting."{table.name}") AS t'
            query = f"SELECT r.release, t.* FROM reporting.distributor_release AS r LEFT JOIN {rows_of} ON true"
            found = self._connection.execute(query).fetchall()
        finally:
            self._connection.execute("DETACH reporting")
        kinds = [column.type.kind.value for column in table.schema.columns]
        return Sight(found[0][0], frozenset(tuple(map(_text, kinds, row[2:])) for row in found if row[1]))

    def close(self) -> None:
        self._connection.close()


def _selected(kind: str, name: str) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    return quoted if kind in ("boolean", "double", "bytes", "decimal") else f"{quoted}::VARCHAR"


def _text(kind: str, value: Any) -> str | None:
    match kind, value:
        case _, None:
            return None
        case "boolean", bool():
            return "true" if value else "false"
        case "bytes", bytes():
            return f"\\x{value.hex()}"
        case "double", float() if value != value:
            return "NaN"
        case "double", float() if abs(value) == float("inf"):
            return "Infinity" if value > 0 else "-Infinity"
        case "double", float():
            return _shortest(value)
        case "decimal", Decimal():
            return format(value.normalize() + 0, "f")
        case "date" | "timestamp" | "timestamptz", str() if "(BC)" in value:
            return value.replace(" (BC)", "") + " BC"
    return str(value)


def _shortest(value: float) -> str:
    """The form that docs/certificates.md describes, from digits and exponent."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text, point = "".join(map(str, digits)), len(digits) + exponent - 1
    if value == 0:
        body = "0"
    elif point < -4 or point >= 15:
        body = f"{text[0]}{'.' if text[1:] else ''}{text[1:]}e{'-' if point < 0 else '+'}{abs(point):02}"
    else:
        body = f"{Decimal(text).scaleb(exponent):f}"
    return ("-" if sign else "") + body


class ParquetSeat:
    def __init__(self, directory: Path, **options: str | int | bool) -> None:
        self.directory = directory
        self.path = directory / "reporting"
        self.options = options

    def adapter(self) -> ParquetAdapter:
        settings = MemberSettings(adapter="parquet", url="parquet:///reporting", options=self.options)
        return ParquetAdapter(settings, self.directory)

    def reader(self) -> Reader:
        return ParquetReader(self.path)

    def meddler(self) -> Meddler:
        return ParquetMeddler(self.path)

    def drop_column(self, table: TableSpec, column: str) -> None:
        with duckdb.connect() as connection:
            for file in files_of(self.path, "b", table.name):
                replaced(connection, f"(SELECT * EXCLUDE ({column}) FROM read_parquet('{file}'))", file)

    def lose(self, name: str) -> None:
        self.run(f'DROP VIEW "{name}"')

    def occupy(self, name: str) -> None:
        if (self.path / "current").exists():
            self.run(f'CREATE TABLE "{name}" AS SELECT 1 AS one')
        else:
            self.path.mkdir()
            duckdb.execute(f"COPY (SELECT 1 AS one) TO '{self.path / name}.parquet'")

    def occupied(self, name: str) -> int:
        file = self.path / f"{name}.parquet"
        if file.exists():
            return int(duckdb.execute(f"SELECT count(*) FROM '{file}'").fetchall()[0][0])
        return int(self.run(f'SELECT count(*) FROM "{name}"')[0][0])

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """As somebody who opens the catalogue for writing."""
        with duckdb.connect(self.path / "current" / "catalog.duckdb") as connection:
            return connection.execute(statement).fetchall()


# Over a thousand small loads, and DuckDB plans each of their statements anew: over a minute of processor time.
@pytest.mark.timeout(900)
class TestParquet(AdapterConformance):
    @pytest.fixture
    def seat(self, tmp_path: Path) -> Seat:
        return ParquetSeat(tmp_path)

    @pytest.mark.long
    def test_the_proof_finds_every_mutation(self, seat: Seat, adapter: Adapter) -> None:
        """DuckDB plans a statement longer than it takes to run one on a few rows: a thousand loads are minutes."""
        super().test_the_proof_finds_every_mutation(seat, adapter)
