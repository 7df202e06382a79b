"""What the exam does not ask of PostgreSQL: readers, grants and views of others while the columns of a table change."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from consumers.adapters import postgresql_sight
from consumers.adapters.base import TableSpec
from consumers.adapters.postgresql import PostgreSQLAdapter
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import flip, holding
from consumers.conformance.samples import PRICE_TABLE, Row, batch, numbered_rows
from consumers.conformance.shapes import SHAPES, shaped_rows
from distributor.errors import SystemAlteredError, UnreachableError
from tests.adapters.test_postgresql import PostgreSQLSeat

WIDER = SHAPES["a column more"]
OTHER = TableSpec(PRICE_TABLE.mapping.model_copy(update={"into": "others"}), PRICE_TABLE.schema)


@pytest.fixture
def seat(database: Callable[[], str]) -> PostgreSQLSeat:
    return PostgreSQLSeat(database())


@pytest.fixture
def adapter(seat: PostgreSQLSeat, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgreSQLAdapter]:
    """Slot b holds release 1 and is online, slot a release 2 in another shape."""
    monkeypatch.setattr(postgresql_sight, "_PATIENCE_SECONDS", 0.3)
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, (PRICE_TABLE, OTHER))
    fill(adapter, "b", 1, PRICE_TABLE, numbered_rows(20, 1))
    flip(adapter)
    yield adapter
    adapter.close()


def fill(adapter: PostgreSQLAdapter, slot: str, release: int, table: TableSpec, rows: list[Row]) -> None:
    with adapter.loading("a" if slot == "a" else "b") as loading:
        loading.clear(table)
        loading.apply(batch(table, rows))
        loading.commit(lambda row: holding(row, "a" if slot == "a" else "b", release))


def widen(adapter: PostgreSQLAdapter) -> None:
    adapter.prepare(ENVIRONMENT, SYSTEM, (WIDER, OTHER))
    fill(adapter, "a", 2, WIDER, shaped_rows(WIDER, 30, 2))


def test_a_snapshot_from_before_fails_instead_of_seeing_two_releases(
    seat: PostgreSQLSeat, adapter: PostgreSQLAdapter
) -> None:
    widen(adapter)
    with psycopg.connect(seat.url) as report:
        report.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert report.execute("SELECT release FROM distributor_release").fetchall() == [(1,)]
        flip(adapter)
        with pytest.raises(psycopg.errors.SerializationFailure, match="begin the transaction again"):
            report.execute("SELECT count(*) FROM list_prices")
        report.rollback()
        assert report.execute("SELECT count(*), min(note) FROM list_prices").fetchall() == [(30, "a note")]


def test_a_snapshot_from_before_never_finds_a_table_that_was_made_anew_empty(
    seat: PostgreSQLSeat, adapter: PostgreSQLAdapter
) -> None:
    with psycopg.connect(seat.url) as report:
        report.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        report.execute("SELECT release FROM distributor_release")
        widen(adapter)
        flip(adapter)
        adapter.prepare(ENVIRONMENT, SYSTEM, (WIDER, OTHER))
        fill(adapter, "b", 3, WIDER, shaped_rows(WIDER, 30, 3))
        adapter.prepare(ENVIRONMENT, SYSTEM, (WIDER, OTHER))
        assert seat.run("SELECT count(*) FROM distributor.slot_table WHERE seen = 'both'") == [(2,)]
        with pytest.raises(psycopg.errors.SerializationFailure):
            report.execute("SELECT count(*) FROM list_prices")


def test_a_flip_waits_for_readers_of_the_former_columns_and_says_so(
    seat: PostgreSQLSeat, adapter: PostgreSQLAdapter
) -> None:
    widen(adapter)
    with psycopg.connect(seat.url) as report:
        assert report.execute("SELECT count(*) FROM list_prices").fetchall() == [(20,)]
        with pytest.raises(UnreachableError, match="list_prices, whose columns change"):
            flip(adapter)
        # Nobody queues up behind a flip that waits.
        assert seat.run("SELECT count(*) FROM list_prices") == [(20,)]
    with adapter.member() as member:
        assert member.row.active == "b"
    flip(adapter)
    assert seat.run("SELECT count(*) FROM list_prices") == [(30,)]


def test_grants_stay_over_a_change_of_columns(seat: PostgreSQLSeat, adapter: PostgreSQLAdapter) -> None:
    role = "reader_" + seat.url.rpartition("/")[2]
    seat.run(f"CREATE ROLE {role}")
    try:
        seat.run(f"GRANT SELECT ON list_prices TO {role} WITH GRANT OPTION; GRANT SELECT ON list_prices TO PUBLIC")
        grants = "SELECT coalesce(array_to_string(relacl, ' '), '') FROM pg_class WHERE relname = 'list_prices'"
        before = seat.run(grants)
        widen(adapter)
        flip(adapter)
        assert sorted(str(seat.run(grants)[0][0]).split()) == sorted(str(before[0][0]).split())
        assert role in str(before[0][0])
    finally:
        seat.run(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_view_of_others_that_stands_in_the_way_is_named_before_anything_is_loaded(
    seat: PostgreSQLSeat, adapter: PostgreSQLAdapter
) -> None:
    seat.run("CREATE VIEW cheap AS SELECT sku FROM list_prices")
    with pytest.raises(SystemAlteredError, match="cheap is built upon it"):
        adapter.prepare(ENVIRONMENT, SYSTEM, (WIDER, OTHER))
    seat.run("DROP VIEW cheap")
    widen(adapter)
    flip(adapter)
    assert seat.run("SELECT count(note) FROM list_prices") == [(30,)]


def test_an_audit_that_began_before_does_not_take_a_table_made_anew_for_an_empty_one(
    seat: PostgreSQLSeat, adapter: PostgreSQLAdapter
) -> None:
    auditor = seat.adapter()
    with auditor.auditing() as snapshot:
        assert snapshot.buckets("b", PRICE_TABLE).total.rows == 20
        widen(adapter)
        with pytest.raises(UnreachableError, match="made anew"):
            snapshot.buckets("a", PRICE_TABLE)
    with auditor.auditing() as snapshot:
        assert snapshot.buckets("a", WIDER).total.rows == 30
        assert snapshot.altered([WIDER, OTHER]) == []
    auditor.close()


def test_a_store_of_an_earlier_version_learns_its_shapes(seat: PostgreSQLSeat, adapter: PostgreSQLAdapter) -> None:
    seat.run("ALTER TABLE distributor.slot_table DROP a, DROP b, DROP made_a, DROP made_b, DROP seen")
    seat.run("DROP FUNCTION distributor.same_release(boolean)")
    later = seat.adapter()
    later.prepare(ENVIRONMENT, SYSTEM, ())
    flip(later)
    flip(later)
    later.prepare(ENVIRONMENT, SYSTEM, (PRICE_TABLE, OTHER))
    widen(later)
    flip(later)
    assert seat.run("SELECT count(note) FROM list_prices") == [(30,)]
    later.close()
