"""SQLite sits the exam, and answers for what only it promises."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consumers.adapters.base import TableSpec
from consumers.adapters.sqlite import SQLiteAdapter
from consumers.adapters.sqlite_text import column_type, double_text, readers, stored
from consumers.conformance.exam import ENVIRONMENT, SYSTEM, AdapterConformance
from consumers.conformance.hands import flip, load
from consumers.conformance.samples import PRICE_TABLE, TABLES, batch, numbered_rows
from consumers.conformance.seat import Meddler, Reader, Seat, Sight
from distributor.errors import ConfigError
from distributor.mapping.tables import TableMapping
from distributor.model.dataset import Column, DatasetSchema
from distributor.model.types import LogicalType
from distributor.settings import MemberSettings
from tests.adapters.sqlite_meddler import SQLiteMeddler

pytestmark = pytest.mark.conformance


class SQLiteReader:
    """A plain driver, and texts made from what it returns."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def look(self, table: TableSpec) -> Sight:
        columns = ", ".join('"' + name.replace('"', '""') + '"' for name in table.schema.column_names)
        # One statement, one snapshot: the release stands beside every row, and alone when there is none.
        rows_of = f'(SELECT 1, {columns} FROM "{table.name}") AS t'
        query = f"SELECT r.release, t.* FROM distributor_release AS r LEFT JOIN {rows_of} ON true"
        found = self._connection.execute(query).fetchall()
        kinds = [column.type.kind.value for column in table.schema.columns]
        rows = (tuple(map(_text, kinds, row[2:])) for row in found if row[1])
        return Sight(found[0][0], frozenset(rows))

    def close(self) -> None:
        self._connection.close()


def _text(kind: str, value: Any) -> str | None:
    match kind, value:
        case _, None:
            return None
        case "boolean", 0 | 1:
            return "true" if value else "false"
        case "bytes", bytes():
            return f"\\x{value.hex()}"
        case "double", b"-0":
            return "-0"
        case "double", float() if abs(value) == float("inf"):
            return "Infinity" if value > 0 else "-Infinity"
        case "double", float():
            return _shortest(value)
        case "decimal", float():
            return format(Decimal(repr(value)), "f")
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


class SQLiteSeat:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "system.db"

    def adapter(self) -> SQLiteAdapter:
        return SQLiteAdapter(MemberSettings(adapter="sqlite", url="sqlite:///system.db"), self.directory)

    def reader(self) -> Reader:
        return SQLiteReader(self.path)

    def meddler(self) -> Meddler:
        return SQLiteMeddler(self.path)

    def drop_column(self, table: TableSpec, column: str) -> None:
        self.run(f'ALTER TABLE "_b_{table.name}" DROP COLUMN "{column}"')

    def lose(self, name: str) -> None:
        (kind,) = self.run(f"SELECT type FROM sqlite_schema WHERE name = '{name}'")[0]
        self.run(f'DROP {kind} "{name}"')

    def occupy(self, name: str) -> None:
        self.run(f'CREATE TABLE "{name}" AS SELECT 1 AS one')

    def occupied(self, name: str) -> int:
        return int(self.run(f'SELECT count(*) FROM "{name}"')[0][0])

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()


class TestSQLite(AdapterConformance):
    @pytest.fixture
    def seat(self, tmp_path: Path) -> Seat:
        return SQLiteSeat(tmp_path)


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    adapter = SQLiteSeat(tmp_path / "missing").adapter()
    with pytest.raises(ConfigError, match="missing does not exist"):
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)


def test_another_kind_of_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no SQLite URL"):
        SQLiteAdapter(MemberSettings(adapter="sqlite", url="/tmp/file.db"), tmp_path)


def test_a_read_transaction_keeps_its_release_over_a_flip(tmp_path: Path) -> None:
    seat = SQLiteSeat(tmp_path)
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    report = sqlite3.connect(seat.path, isolation_level=None)
    report.execute("BEGIN")
    assert report.execute("SELECT count(*) FROM list_prices").fetchone() == (0,)
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
    flip(adapter)
    assert report.execute("SELECT count(*) FROM list_prices").fetchone() == (0,)
    assert report.execute("SELECT release FROM distributor_release").fetchone() == (0,)
    report.execute("COMMIT")
    assert report.execute("SELECT count(*) FROM list_prices").fetchone() == (5,)
    assert report.execute("SELECT release FROM distributor_release").fetchone() == (1,)
    report.close()
    adapter.close()


def test_names_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    table = TableSpec(PRICE_TABLE.mapping.model_copy(update={"into": "LIST_PRICES"}), PRICE_TABLE.schema)
    adapter = SQLiteSeat(tmp_path).adapter()
    with pytest.raises(ConfigError, match="one to SQLite"):
        adapter.prepare(ENVIRONMENT, SYSTEM, (PRICE_TABLE, table))
    adapter.close()


DECIMALS = DatasetSchema(
    dataset="decimals",
    columns=(
        Column(name="id", type=LogicalType.parse("integer"), nullable=False),
        Column(name="price", type=LogicalType.parse("decimal(15,4)")),
        Column(name="wide", type=LogicalType.parse("decimal(16,2)")),
    ),
    key=("id",),
)


def test_decimals_of_up_to_15_digits_compare_and_sum_as_numbers(tmp_path: Path) -> None:
    table = TableSpec(TableMapping(dataset="decimals", into="decimals"), DECIMALS)
    seat = SQLiteSeat(tmp_path)
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, (table,))
    texts = ["9", "10.5", "0.0001", "-3", "99999999999.9999", "100"]
    load(adapter, "b", 1, batch(table, [(str(number), text, text) for number, text in enumerate(texts)]))
    flip(adapter)
    assert seat.run("SELECT max(price), min(price) FROM decimals") == [(99999999999.9999, -3)]
    assert seat.run("SELECT id FROM decimals WHERE price > 9 ORDER BY price") == [(1,), (5,), (4,)]
    assert seat.run("SELECT sum(price) FROM decimals WHERE price BETWEEN 9 AND 100") == [(119.5,)]
    assert seat.run("SELECT DISTINCT typeof(wide) FROM decimals") == [("text",)]
    adapter.close()


@given(st.decimals(-(10**11) + 1, 10**11 - 1, places=4, allow_nan=False))
def test_every_decimal_of_15_digits_comes_back_as_it_was(number: Decimal) -> None:
    text = format(number.normalize() + 0, "f")
    type_ = LogicalType.parse("decimal(15,4)")
    (value,) = stored(pa.chunked_array([[text]]), type_)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE one (value {column_type(type_)})")
        connection.execute("INSERT INTO one VALUES (?)", (value,))
        (found,) = connection.execute("SELECT value FROM one").fetchone()
    assert readers((type_,))[0](found) == text


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats() | st.integers(-(2**70), 2**70).map(float), min_size=50, max_size=400))
@example([4.6236207716844896e16, 2.0**53, 2.0**63, 2.0**1000, 1e15, 1234567890123456.8, -1e22, 9007199254740993.0])
def test_doubles_are_written_as_postgresql_writes_them(doubles_server: psycopg.Connection, values: list[float]) -> None:
    found = doubles_server.execute("SELECT u::text FROM unnest(%b::float8[]) WITH ORDINALITY AS u(u, i)", (values,))
    assert [text for (text,) in found] == [double_text(value) for value in values]


@pytest.fixture
def doubles_server(database: Callable[[], str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database(), autocommit=True) as connection:
        yield connection
