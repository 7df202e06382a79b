"""Values in Parquet: native types that users compute with, texts made in SQL, what has no place; and the options."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consumers.adapters.base import TableSpec
from consumers.adapters.parquet import ParquetAdapter
from consumers.adapters.parquet_sums import certified, texts
from consumers.adapters.parquet_text import column_type, from_text
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import certificate_of, flip, holding, load, rows_of
from consumers.conformance.samples import PRICE_TABLE, Row, batch
from distributor.errors import ConfigError
from distributor.mapping.tables import TableMapping
from distributor.model.certificate import EMPTY_TABLE
from distributor.model.dataset import Column, DatasetSchema
from distributor.model.texts import double_text
from distributor.model.types import LogicalType
from distributor.settings import MemberSettings
from tests.adapters.parquet_meddler import files_of
from tests.adapters.test_parquet import ParquetSeat

pytestmark = pytest.mark.conformance

TYPES = {
    "integer": ("BIGINT", "int64"),
    "text": ("VARCHAR", "string"),
    "text(40)": ("VARCHAR", "string"),
    "boolean": ("BOOLEAN", "bool"),
    "decimal(12,2)": ("DECIMAL(12,2)", "decimal128(12, 2)"),
    "decimal(38,10)": ("DECIMAL(38,10)", "decimal128(38, 10)"),
    "decimal(3,5)": ("DECIMAL(5,5)", "decimal128(5, 5)"),
    "decimal(4,-2)": ("DECIMAL(6,0)", "decimal128(6, 0)"),
    "decimal(39,2)": ("VARCHAR", "string"),
    "decimal": ("VARCHAR", "string"),
    "double": ("DOUBLE", "double"),
    "date": ("DATE", "date32[day]"),
    "time": ("TIME", "time64[us]"),
    "timestamp": ("TIMESTAMP", "timestamp[us]"),
    "timestamptz": ("TIMESTAMP WITH TIME ZONE", "timestamp[us, tz=UTC]"),
    "uuid": ("UUID", "extension<arrow.uuid>"),
    "bytes": ("BLOB", "binary"),
    "json": ("VARCHAR", "string"),
}


def table_of(*types: str) -> TableSpec:
    columns = [Column(name="id", type=LogicalType.parse("integer"), nullable=False)]
    columns += [Column(name=f"v{at}", type=LogicalType.parse(type_)) for at, type_ in enumerate(types)]
    schema = DatasetSchema(dataset="values", columns=tuple(columns), key=("id",))
    return TableSpec(TableMapping(dataset="values", into="values"), schema)


def rows_with(*texts_of: str) -> list[Row]:
    return [(str(number), text) for number, text in enumerate(texts_of)]


@pytest.fixture
def seat(tmp_path: Path) -> ParquetSeat:
    return ParquetSeat(tmp_path)


@pytest.fixture
def adapter(seat: ParquetSeat) -> Iterator[ParquetAdapter]:
    adapter = seat.adapter()
    yield adapter
    adapter.close()


def stored(adapter: ParquetAdapter, table: TableSpec, rows: list[Row]) -> list[Row]:
    """What comes back of rows that were loaded and shown; sums and rows agree."""
    adapter.prepare(ENVIRONMENT, SYSTEM, (table,))
    (touched,) = load(adapter, "b", 1, batch(table, rows))
    assert touched.after == certificate_of(table, rows) == adapter.audit("b", table)
    flip(adapter)
    return sorted(rows_of(adapter, "b", table), key=lambda row: int(row[0] or 0))


def test_columns_have_native_types_for_duckdb_and_for_everybody(seat: ParquetSeat, adapter: ParquetAdapter) -> None:
    table = table_of(*TYPES)
    adapter.prepare(ENVIRONMENT, SYSTEM, (table,))
    found = {name: type_ for name, type_, *_ in seat.run('DESCRIBE "values"')}
    (file,) = files_of(seat.path, "a", "values")
    arrow = pq.read_schema(file)
    for at, (native, portable) in enumerate(TYPES.values()):
        assert (found[f"v{at}"], str(arrow.field(f"v{at}").type)) == (native, portable)


def test_users_compute_with_what_is_stored(seat: ParquetSeat, adapter: ParquetAdapter) -> None:
    table = table_of("decimal(12,2)", "date", "timestamptz", "json", "double")
    row = ("9999999999.99", "2026-02-28", "2026-02-28 11:00:00+00", '{"a": [1, 2]}', "0.5")
    stored(adapter, table, [("1", *row), ("2", "0.02", "2026-03-02", None, None, "1.5")])
    query = (
        "SELECT sum(v0), max(v1) - min(v1), min(epoch(v2)), max(CAST(json_extract(v3, '$.a[1]') AS INTEGER)), sum(v4)"
        ' FROM "values"'
    )
    assert seat.run(query) == [(Decimal("10000000000.01"), 2, 1772276400.0, 2, 2.0)]
    (file,) = files_of(seat.path, "b", "values")
    assert sum(pq.read_table(file)["v0"].to_pylist()) == Decimal("10000000000.01")


CASES = {
    "date": ("0044-03-15 BC", "4713-01-01 BC", "0001-01-01", "9999-12-31", "10000-01-01", "294246-12-31"),
    "time": ("00:00:00", "23:59:59.999999", "08:30:00.1"),
    "timestamp": (
        "0044-03-15 12:00:00 BC",
        "0044-03-15 12:00:00.5 BC",
        "12345-01-01 00:00:00",
        "1969-12-31 23:59:59.9",
    ),
    "timestamptz": ("0044-03-15 12:00:00+00 BC", "2026-10-25 00:30:00.123456+00", "12345-01-01 00:00:00+00"),
    "decimal(3,5)": ("0.00123", "-0.00001", "0"),
    "decimal(4,-2)": ("123400", "-100", "0"),
    "decimal(38,10)": ("1234567890123456789012345678.0123456789", "-0.0000000001"),
    "decimal(39,2)": ("1234567890123456789012345678901234567.89", "NaN"),
    "text": ("\0", "a\0b", "", "'", "\U0001f9ff"),
}


@pytest.mark.parametrize("type_", CASES)
def test_rare_values_come_back_as_they_were(adapter: ParquetAdapter, type_: str) -> None:
    table, rows = table_of(type_), rows_with(*CASES[type_])
    assert list(adapter.unfit(batch(table, rows))) == []
    assert stored(adapter, table, rows) == rows


UNFIT = {
    "decimal(12,2)": {
        "NaN": "is no number, and a column of type DECIMAL(12,2) holds no other",
        "Infinity": "is no number, and a column of type DECIMAL(12,2) holds no other",
        "12345678901": "has more digits than DECIMAL(12,2)",
        "1.234": "has more digits than DECIMAL(12,2)",
    },
    "integer": {"9223372036854775808": "is not within 64 bits"},
    "date": dict.fromkeys(("infinity", "-infinity"), "is infinite, and Parquet has no such date"),
    "time": {"24:00:00": "is the end of a day, and Parquet's times end before it"},
    "timestamp": {
        "infinity": "is infinite, and Parquet has no such date",
        "294247-01-01 00:00:00": "is later than the year 294246",
    },
    "timestamptz": {"-infinity": "is infinite, and Parquet has no such date"},
}  # fmt: skip


@pytest.mark.parametrize("type_", UNFIT)
def test_what_has_no_place_is_named_with_its_reason(adapter: ParquetAdapter, type_: str) -> None:
    table = table_of(type_)
    rows = rows_with(*UNFIT[type_])
    told = adapter.unfit(batch(table, [*rows, ("99", None)]))
    assert {(unfit.key, unfit.column, unfit.value, unfit.why) for unfit in told} == {
        ((str(at),), "v0", text, why) for at, (text, why) in enumerate(UNFIT[type_].items())
    }


def test_a_row_with_two_such_values_is_named_once(adapter: ParquetAdapter) -> None:
    table = table_of("date", "time")
    (unfit,) = adapter.unfit(batch(table, [("1", "infinity", "24:00:00"), ("2", "2026-01-01", "10:00:00")]))
    assert (unfit.key, unfit.column) == (("1",), "v0")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats() | st.integers(-(2**70), 2**70).map(float), min_size=20, max_size=200))
@example([4.6236207716844896e16, 2.0**53, 2.0**63, 2.0**1000, 1e15, 1234567890123456.8, -1e22, 9007199254740993.0])
@example([0.0, -0.0, 1e-4, 1e-5, 5e-324, 0.1, 999999999999999.9, float("nan"), float("inf"), float("-inf")])
def test_doubles_have_the_text_of_the_page(values: list[float]) -> None:
    table = table_of("double")
    rows = [(str(at), double_text(value)) for at, value in enumerate(values)]
    with duckdb.connect(config={"threads": 1}) as connection:
        numbered = pa.table({"c0": pa.array(range(len(values)), pa.int64()), "c1": pa.array(values, pa.float64())})
        connection.register("numbered", numbered)
        found = texts(connection, table.schema, "SELECT * FROM numbered").to_pylist()
        assert sorted((row["id"], row["v0"]) for row in found) == sorted(rows)
        assert certified(connection, table.schema, "SELECT * FROM numbered") == certificate_of(table, rows)


@settings(max_examples=30)
@given(st.lists(st.decimals(-(10**10) + 1, 10**10 - 1, places=2, allow_nan=False), min_size=1, max_size=100))
def test_decimals_come_back_as_they_were(numbers: list[Decimal]) -> None:
    type_ = LogicalType.parse("decimal(12,2)")
    said = [format(number.normalize() + 0, "f") for number in numbers]
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("said", pa.table({"id": [str(at) for at in range(len(said))], "text": said}))
        rows = f"SELECT CAST(id AS BIGINT) AS c0, {from_text('text', type_)} AS c1 FROM said"
        found = texts(connection, table_of("decimal(12,2)").schema, rows).to_pylist()
    assert column_type(type_) == "DECIMAL(12,2)"
    assert [row["v0"] for row in sorted(found, key=lambda row: int(row["id"]))] == said


@pytest.mark.long
def test_what_exceeds_the_memory_that_is_allowed_is_spilled(tmp_path: Path) -> None:
    """Rows of 9 KB: 135 MB of them under a limit of 128 MB, and a delta of two batches over them."""
    seat, table, random = ParquetSeat(tmp_path, memory_mb=128), table_of("text"), Random(3)
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, (table,))
    pieces = ([(str(5000 * at + n), random.randbytes(4500).hex()) for n in range(5000)] for at in (0, 1, 2, 0, 1))
    with adapter.loading("b") as loading:
        folded = EMPTY_TABLE
        for rows in pieces:
            touched = loading.apply(batch(table, rows))
            folded = folded.minus(touched.before).plus(touched.after)
        assert loading.commit(lambda row: holding(row, "b", 1)) is not None
    assert folded.total.rows == 15_000
    assert adapter.audit("b", table) == folded
    adapter.close()


def made(url: str, directory: Path, **options: str | int | bool) -> ParquetAdapter:
    return ParquetAdapter(MemberSettings(adapter="parquet", url=url, options=options), directory)


@pytest.mark.parametrize("url", ["/srv/reporting", "sqlite:///file.db", "parquet:///"])
def test_another_kind_of_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="no Parquet URL"):
        made(url, tmp_path)


def test_a_path_that_duckdb_takes_for_a_pattern_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="for a pattern"):
        made("parquet:///report[1]", tmp_path)


def test_an_absolute_directory_and_one_that_looks_like_a_partition(tmp_path: Path) -> None:
    table = table_of("text")
    adapter = made(f"parquet:///{tmp_path}/v0=prod", Path("elsewhere"))
    assert stored(adapter, table, rows_with("kept")) == rows_with("kept")
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{tmp_path}/v0=prod/current/catalog.duckdb' AS r (READ_ONLY)")
        assert connection.execute('SELECT v0 FROM r."values"').fetchall() == [("kept",)]
    adapter.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"grace": 5}, "there is no option grace.*grace_seconds, memory_mb"),
        ({"grace_seconds": -1}, "grace_seconds is -1.*0 or more"),
        ({"grace_seconds": True}, "grace_seconds is True.*whole number"),
        ({"memory_mb": "512"}, "memory_mb is '512'.*whole number, 128 at least"),
        ({"memory_mb": 64}, "memory_mb is 64.*128 at least"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path: Path, options: dict[str, str | int | bool], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made("parquet:///reporting", tmp_path, **options)


def test_names_that_differ_in_case_only_are_refused(adapter: ParquetAdapter) -> None:
    table = TableSpec(PRICE_TABLE.mapping.model_copy(update={"into": "LIST_PRICES"}), PRICE_TABLE.schema)
    with pytest.raises(ConfigError, match="one to DuckDB"):
        adapter.prepare(ENVIRONMENT, SYSTEM, (PRICE_TABLE, table))
