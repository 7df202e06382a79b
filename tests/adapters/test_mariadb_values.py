"""What MariaDB stores of every type, what it cannot, and that users can compute with it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from consumers.adapters.base import TableSpec
from consumers.adapters.mariadb import MariaDBAdapter
from consumers.adapters.mariadb_values import LONGEST
from consumers.conformance.audits import Page, bucket
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import certificate_of, flip, load
from consumers.conformance.samples import PRICE_TABLE, SAMPLE_TABLE, Row, batch, nasty_rows
from distributor.errors import ConfigError
from distributor.mapping.tables import TableMapping
from distributor.model.dataset import Column, DatasetSchema, Index
from distributor.model.texts import double_text
from distributor.model.types import LogicalType
from tests.adapters.test_mariadb import MariaDBSeat

pytestmark = pytest.mark.conformance


def table(key: str = "id", indexes: tuple[Index, ...] = (), **types: str) -> TableSpec:
    schema = DatasetSchema(
        dataset="things",
        columns=tuple(Column(name=n, type=LogicalType.parse(t), nullable=n != key) for n, t in types.items()),
        key=(key,),
        indexes=indexes,
    )
    return TableSpec(TableMapping(dataset="things", into="things"), schema)


@pytest.fixture
def seat(mariadb_database: Callable[[], str]) -> MariaDBSeat:
    return MariaDBSeat(mariadb_database())


@pytest.fixture
def adapter(seat: MariaDBSeat) -> Iterator[MariaDBAdapter]:
    adapter = seat.adapter()
    yield adapter
    adapter.close()


def online(adapter: MariaDBAdapter, spec: TableSpec, rows: list[Row]) -> None:
    adapter.prepare(ENVIRONMENT, SYSTEM, (spec,))
    assert adapter.unfit(batch(spec, rows)) == []
    load(adapter, "b", 1, batch(spec, rows))
    flip(adapter)
    assert adapter.audit("b", spec) == certificate_of(spec, rows)


COLUMNS = {
    "text": "longtext", "text(40)": "varchar(40)", "text(300)": "longtext", "boolean": "tinyint(1)",
    "integer": "bigint(20)", "decimal(12,2)": "decimal(12,2)", "decimal(65,38)": "decimal(65,38)",
    "decimal(66,2)": "longtext", "decimal": "longtext", "double": "double", "date": "date", "time": "time(6)",
    "timestamp": "datetime(6)", "timestamptz": "datetime(6)", "uuid": "uuid", "bytes": "longblob", "json": "longtext",
}  # fmt: skip


def test_columns_have_the_types_that_the_page_tells(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    names = {f"c{number}": type_ for number, type_ in enumerate(COLUMNS)}
    adapter.prepare(ENVIRONMENT, SYSTEM, (table(id="text", **names),))
    found = {row[0]: row[1] for row in seat.run("SHOW COLUMNS FROM things")}
    assert found == {"id": "varchar(767)", **dict(zip(names, COLUMNS.values(), strict=True))}


def test_users_compute_with_what_they_find(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    spec = table(id="integer", price="decimal(12,2)", day="date", clock="time", at="timestamptz", document="json")
    row = ("1", "19.9", "2026-02-28", "08:30:00", "2026-02-28 11:00:00.5+00", '{"a": 1}')
    online(adapter, spec, [row, ("2", "0.05", *[None] * 4)])
    query = (
        "SELECT price * 3, day + INTERVAL 1 DAY, ADDTIME(clock, '01:00:00'), CONVERT_TZ(at, '+00:00', '+02:00'),"
        " JSON_VALUE(document, '$.a'), (SELECT SUM(price) FROM things) FROM things WHERE id = 1"
    )
    (found,) = seat.run(query)
    assert found == (
        Decimal("59.70"), date(2026, 3, 1), timedelta(hours=9, minutes=30),
        datetime(2026, 2, 28, 13, 0, 0, 500000), "1", Decimal("19.95"),
    )  # fmt: skip


def test_keys_that_other_collations_call_equal_are_three(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    spec = table("sku", sku="text", n="integer")
    online(adapter, spec, [(sku, str(n)) for n, sku in enumerate(("A", "a", "A ", "Á", "A\u0301", "ß", "ss", ""))])
    assert seat.run("SELECT n FROM things WHERE sku = 'A'") == [(0,)]
    assert seat.run("SELECT n FROM things WHERE sku = 'A '") == [(2,)]
    relaxed = "SELECT n FROM things WHERE sku COLLATE utf8mb4_general_ci = 'a' ORDER BY n"
    assert seat.run(relaxed) == [(0,), (1,), (2,), (3,)]


UNFIT = [
    ("decimal(4,2)", "123.4", "is no value of a decimal(4,2)"),
    ("decimal(4,2)", "1.234", "is no value of a decimal(4,2)"),
    ("decimal(4,0)", "NaN", "is no value of a decimal(4,0)"),
    ("double", "-0", "is none of MariaDB's doubles"),
    ("double", "Infinity", "is none of MariaDB's doubles"),
    ("date", "10000-01-01", "is no day of the years 1 to 9999"),
    ("timestamp", "infinity", "is no moment of the years 1 to 9999"),
    ("timestamptz", "0044-03-15 00:00:00+00 BC", "is no moment of the years 1 to 9999"),
    ("text(3)", "abcd", "is longer than 3 characters"),
    ("text", "x" * (LONGEST + 1), "is longer than 4,000,000 octets"),
    ("bytes", "\\x" + "00" * (LONGEST // 2), "is longer than 4,000,000 octets"),
    ("json", "[" * 32 + "]" * 32, "is nested deeper than 31 levels, which MariaDB does not take for JSON"),
]
FIT = [
    ("decimal(4,2)", "-12.34"), ("decimal(2,2)", "0.99"), ("decimal(4,0)", "1234"), ("double", "0"), ("text(3)", "äöü"),
    ("date", "0001-01-01"), ("date", "9999-12-31"), ("time", "24:00:00"), ("timestamptz", "1900-01-01 00:00:00+00"),
    ("text", "x" * LONGEST), ("bytes", "\\x" + "00" * (LONGEST // 2 - 1)), ("json", "[" * 31 + "]" * 31),
    ("json", '"' + "[" * 500 + '\\"{"'), ("decimal", "NaN"), ("text", "'); DROP TABLE things; -- \\' \\"),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "value", "why"), UNFIT)
def test_what_cannot_be_held_is_named(adapter: MariaDBAdapter, type_: str, value: str, why: str) -> None:
    spec = table(id="integer", value=type_)
    (found,) = adapter.unfit(batch(spec, [("1", None), ("2", value)]))
    assert (found.key, found.column, found.why) == (("2",), "value", why)


def test_what_can_be_held_at_the_edge_comes_back(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    for number, (type_, value) in enumerate(FIT):
        spec = TableSpec(TableMapping(dataset="things", into=f"t{number}"), table(id="integer", value=type_).schema)
        adapter.prepare(ENVIRONMENT, SYSTEM, (spec,))
        assert adapter.unfit(batch(spec, [("1", value)])) == []
        (touched,) = load(adapter, "b", 1, batch(spec, [("1", value)]))
        assert touched.after == certificate_of(spec, [("1", value)]), type_


@pytest.mark.parametrize(
    ("type_", "limit", "unit"), [("text", 767, "characters"), ("bytes", 3071, "octets"), ("text(9)", 9, "characters")]
)
def test_a_key_is_as_long_as_an_index_takes(
    seat: MariaDBSeat, adapter: MariaDBAdapter, type_: str, limit: int, unit: str
) -> None:
    def key(length: int) -> str:
        return "\\x" + "ab" * length if type_ == "bytes" else "ä" * length

    spec = table("code", code=type_, n="integer")
    online(adapter, spec, [(key(limit), "1"), (key(limit - 1), "2")])
    (found,) = adapter.unfit(batch(spec, [(key(limit + 1), "1")]))
    assert found.why == f"is longer than {limit} {unit}"


def test_long_texts_are_indexed_by_their_begin(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    spec = table(indexes=(Index(columns=("a", "b", "c")),), id="integer", a="text", b="bytes", c="text(20)")
    online(adapter, spec, [("1", "x" * 5000, "\\x" + "00" * 5000, "short")])
    found = [(row[4], row[7]) for row in seat.run("SHOW INDEX FROM _slots_things WHERE Key_name <> 'PRIMARY'")]
    assert found == [("_slot", None), ("a", 191), ("b", 191), ("c", None)]


def test_a_row_that_is_longer_than_a_packet_is_said(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    spec = table(id="integer", **dict.fromkeys("abcdef", "bytes"))
    adapter.prepare(ENVIRONMENT, SYSTEM, (spec,))
    hex_ = "\\x" + "00" * (LONGEST // 2 - 1)
    with pytest.raises(ConfigError, match="max_allowed_packet"):
        load(adapter, "b", 1, batch(spec, [("1", *[hex_] * 6)]))


def test_doubles_that_mariadb_spells_otherwise_count_as_the_page_says(adapter: MariaDBAdapter) -> None:
    chance = random.Random(7)
    numbers = [struct.unpack(">d", chance.randbytes(8))[0] for _ in range(400)]
    numbers += [chance.uniform(-1, 1) * 10.0 ** chance.randint(-9, 18) for _ in range(400)]
    texts = [double_text(number + 0.0) for number in numbers if number == number]
    spec = table(id="integer", value="double")
    rows: list[Row] = [(str(n), text) for n, text in enumerate(texts) if text not in ("-0", "Infinity", "-Infinity")]
    adapter.prepare(ENVIRONMENT, SYSTEM, (spec,))
    (touched,) = load(adapter, "b", 1, batch(spec, rows))
    assert touched.after == adapter.audit("b", spec) == certificate_of(spec, rows)
    assert [tuple(row.values()) for row in adapter.read("b", spec).sort_by("id").to_pylist()] == sorted(rows)


@pytest.mark.parametrize("spec", [SAMPLE_TABLE, PRICE_TABLE, table("value", value="double", id="integer")])
def test_audits_of_a_part_are_those_of_the_page(seat: MariaDBSeat, adapter: MariaDBAdapter, spec: TableSpec) -> None:
    rows: list[Row] = nasty_rows() if spec is SAMPLE_TABLE else [(str(n), str(n)) for n in range(1500)]
    if spec.schema.key == ("value",):
        rows = [(double_text(n * 1e14), str(n)) for n in range(1500)]
    bad = {unfit.key for unfit in adapter.unfit(batch(spec, rows))}
    rows = [row for row in rows if tuple(row[at] for at in spec.schema.key_positions) not in bad]
    adapter.prepare(ENVIRONMENT, SYSTEM, (spec,))
    load(adapter, "b", 1, batch(spec, rows))
    page = Page(spec, rows)
    chosen = set(sorted(page.sums(lambda leaf: leaf))[:200:7])
    with adapter.auditing() as snapshot:
        for only in ({3}, {0, 1, 63}, set(range(40)), set(range(64))):
            part = page.sums(bucket, lambda leaf, only=only: bucket(leaf) in only)  # type: ignore[misc]
            assert snapshot.buckets("b", spec, only).buckets == part
            finer = page.sums(lambda leaf: leaf, lambda leaf, only=only: bucket(leaf) in only)  # type: ignore[misc]
            assert snapshot.leaves("b", spec, only) == finer
        found = snapshot.rows("b", spec, chosen)
        assert {(row.key, row.first, row.second) for row in found} == page.in_leaves(chosen)
        assert snapshot.rows("b", spec, ()) == []
