"""What cannot be in one transaction in MariaDB, cut between any two statements: all of it or nothing is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pymysql
import pytest

from consumers.adapters import mariadb_row
from consumers.adapters.mariadb import MariaDBAdapter
from consumers.adapters.mariadb_line import Transaction
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import flip, holding, load, looking, second
from consumers.conformance.samples import PRICE_TABLE, batch, numbered_rows
from consumers.conformance.seat import Sight
from consumers.conformance.shapes import WIDER, shaped_rows
from distributor.errors import UnreachableError
from tests.adapters.test_mariadb import MariaDBSeat
from tests.services.mariadb import connected

pytestmark = pytest.mark.conformance

OLD = Sight(1, frozenset(numbered_rows(20, 1)))
NEW = Sight(2, frozenset(shaped_rows(WIDER, 30, 2)))


@pytest.fixture
def seat(mariadb_database: Callable[[], str]) -> MariaDBSeat:
    return MariaDBSeat(mariadb_database())


class Cut:
    """Ends the connection before the statement number `after`, counted from where it is first asked."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.happened = False


@contextmanager
def cut_after(count: int) -> Iterator[Cut]:
    cut, run, commit = Cut(count), Transaction.run, Transaction.commit

    def counted(transaction: Transaction) -> None:
        if cut.left == 0:
            cut.happened = True
            transaction.connection._force_close()  # type: ignore[attr-defined]
            raise pymysql.OperationalError(2013, "Lost connection to server during query")
        cut.left -= 1

    def cut_run(self: Transaction, statement: str) -> list[tuple[object, ...]]:
        counted(self)
        return run(self, statement)

    def cut_commit(self: Transaction) -> None:
        counted(self)
        commit(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transaction, "run", cut_run)
        patch.setattr(Transaction, "commit", cut_commit)
        yield cut


def looked(seat: MariaDBSeat, wide: bool = False) -> Sight:
    with looking(seat) as reader:
        return reader.look(WIDER if wide else PRICE_TABLE)


def columns(seat: MariaDBSeat) -> int:
    return len(seat.run("SHOW COLUMNS FROM list_prices"))


def test_a_first_preparation_that_is_cut_anywhere_is_brought_to_its_end(mariadb_database: Callable[[], str]) -> None:
    cuts = 0
    while True:
        # Cuts between the same statements of other tables tell nothing new: so one table, and every second statement.
        seat = MariaDBSeat(mariadb_database())
        with second(seat) as dying, cut_after(2 * cuts + 1) as cut:
            try:
                dying.prepare(ENVIRONMENT, SYSTEM, (PRICE_TABLE,))
            except UnreachableError:
                assert cut.happened
        if not cut.happened:
            break
        cuts += 1
        with second(seat) as adapter:
            adapter.prepare(ENVIRONMENT, SYSTEM, (PRICE_TABLE,))
            load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(20, 1)))
            flip(adapter)
            assert adapter.inspect([(PRICE_TABLE.mapping, PRICE_TABLE.schema)]) == []
        assert looked(seat) == OLD
    assert cuts > 8


@pytest.fixture
def shaped(seat: MariaDBSeat) -> Iterator[MariaDBAdapter]:
    """Release 1 is online, and release 2 of another shape is staged."""
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, (PRICE_TABLE,))
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(20, 1)))
    flip(adapter)
    adapter.prepare(ENVIRONMENT, SYSTEM, (WIDER,))
    with adapter.loading("a") as loading:
        loading.clear(WIDER)
        loading.apply(batch(WIDER, shaped_rows(WIDER, 30, 2)))
        loading.commit(lambda row: holding(row, "a", 2))
    yield adapter
    adapter.close()


def test_a_flip_to_another_shape_that_is_cut_anywhere_is_the_old_release_or_the_new(
    seat: MariaDBSeat, shaped: MariaDBAdapter
) -> None:
    seen = []
    for statement in range(100):
        with second(seat) as dying, cut_after(statement) as cut:
            try:
                flip(dying)
            except UnreachableError:
                assert cut.happened
        with shaped.member() as member:
            flipped = member.row.active == "a"
        assert looked(seat, wide=flipped) == (NEW if flipped else OLD)
        assert columns(seat) == (3 if flipped else 2)
        assert shaped.inspect([(WIDER.mapping, WIDER.schema)]) == []
        seen.append(flipped)
        if flipped:
            flip(shaped)
            assert looked(seat) == OLD
        if not cut.happened:
            break
    assert seen == sorted(seen)
    assert set(seen) == {False, True}
    leftovers = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
    assert not [name for (name,) in seat.run(leftovers) if "was" in name or "next" in name]


def test_a_flip_to_another_shape_does_not_wait_for_an_audit(seat: MariaDBSeat, shaped: MariaDBAdapter) -> None:
    with second(seat) as auditor, auditor.auditing() as snapshot:  # type: ignore[attr-defined]
        before = snapshot.buckets("b", PRICE_TABLE)
        assert snapshot.altered((PRICE_TABLE,)) == []
        flip(shaped)
        assert looked(seat, wide=True) == NEW
        assert snapshot.buckets("b", PRICE_TABLE) == before
        assert snapshot.row.active == "b"


def test_a_flip_to_another_shape_waits_for_whoever_reads_and_then_says_so(
    seat: MariaDBSeat, shaped: MariaDBAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mariadb_row, "LOCK_SECONDS", 1)
    with connected(seat.url, autocommit=False) as report, report.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM list_prices")
        with pytest.raises(UnreachableError) as refused:
            flip(shaped)
        assert refused.value.retryable
        cursor.execute("SELECT `release`, (SELECT COUNT(*) FROM list_prices) FROM distributor_release")
        assert cursor.fetchall() == ((1, 20),)
    assert looked(seat) == OLD
    flip(shaped)
    assert looked(seat, wide=True) == NEW


def test_a_snapshot_from_before_fails_after_a_flip_to_another_shape(seat: MariaDBSeat, shaped: MariaDBAdapter) -> None:
    with connected(seat.url) as report, report.cursor() as cursor:
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        flip(shaped)
        with pytest.raises(pymysql.OperationalError, match="Table definition has changed"):
            cursor.execute("SELECT * FROM list_prices")
        cursor.execute("ROLLBACK")
        cursor.execute("SELECT COUNT(*) FROM list_prices")
        assert cursor.fetchall() == ((30,),)


def test_grants_on_a_view_stay_over_a_flip_to_another_shape(seat: MariaDBSeat, shaped: MariaDBAdapter) -> None:
    database = seat.url.rpartition("/")[2]
    seat.run(f"CREATE USER '{database}'@'%' IDENTIFIED BY 'x'", f"GRANT SELECT ON list_prices TO '{database}'@'%'")
    flip(shaped)
    try:
        url = f"mariadb://{database}:x@{seat.url.partition('@')[2]}"
        with connected(url) as reader, reader.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM list_prices")
            assert cursor.fetchall() == ((30,),)
            with pytest.raises(pymysql.OperationalError, match="denied"):
                cursor.execute("SELECT * FROM _slots_list_prices")
    finally:
        seat.run(f"DROP USER '{database}'@'%'")


def test_a_shape_that_no_slot_has_any_more_is_swept_away(seat: MariaDBSeat, shaped: MariaDBAdapter) -> None:
    flip(shaped)
    with shaped.loading("b") as loading:
        loading.clear(WIDER)
        loading.commit(lambda row: holding(row, "b", 2))
    assert seat.run("SHOW TABLES LIKE '\\_slots\\_list\\_prices'") != []
    shaped.prepare(ENVIRONMENT, SYSTEM, (WIDER,))
    assert seat.run("SHOW TABLES LIKE '\\_slots\\_list\\_prices'") == []
    assert looked(seat, wide=True) == NEW
