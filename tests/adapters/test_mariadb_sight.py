"""What the adapter says of a MariaDB in which somebody altered things, or stands in the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from consumers.adapters.base import Inspects, KnowsItsWork, KnowsObstacles, Obstacle
from consumers.adapters.mariadb import MariaDBAdapter
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import flip, load, second
from consumers.conformance.samples import PRICE_TABLE, TABLES, batch, numbered_rows
from distributor.errors import DistributorError, SystemAlteredError, UnreachableError
from tests.adapters.test_mariadb import MariaDBSeat
from tests.services.mariadb import connected
from tests.support import wait_for

pytestmark = pytest.mark.conformance
ROWS = numbered_rows(5, 1)


@pytest.fixture
def seat(mariadb_database: Callable[[], str]) -> MariaDBSeat:
    return MariaDBSeat(mariadb_database())


@pytest.fixture
def adapter(seat: MariaDBSeat) -> Iterator[MariaDBAdapter]:
    """Release 1 is online in slot b."""
    adapter = seat.adapter()
    prepare(adapter)
    load(adapter, "b", 1, batch(PRICE_TABLE, ROWS))
    flip(adapter)
    yield adapter
    adapter.close()


def prepare(adapter: MariaDBAdapter) -> None:
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)


def altered(adapter: MariaDBAdapter) -> list[str]:
    assert isinstance(adapter, Inspects)
    with adapter.auditing() as snapshot:
        assert isinstance(snapshot, KnowsItsWork)
        found = list(snapshot.altered(TABLES))
    assert adapter.inspect([(table.mapping, table.schema) for table in TABLES]) == found
    return found


def readers_see(seat: MariaDBSeat) -> int:
    return int(seat.run("SELECT COUNT(*) FROM list_prices")[0][0])


def test_an_altered_view_is_said_and_kept_until_it_is_dropped(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    assert altered(adapter) == []
    seat.run("CREATE OR REPLACE VIEW list_prices AS SELECT sku, `release` FROM _slots_list_prices WHERE `release` > 7")
    (found,) = altered(adapter)
    assert "list_prices was altered: readers see through it" in found
    with pytest.raises(SystemAlteredError, match="list_prices was altered"):
        prepare(adapter)
    assert readers_see(seat) == 0
    statement = found.partition("(")[2].partition(")")[0]
    assert statement == "DROP VIEW `list_prices`"
    seat.run(statement)
    (found,) = altered(adapter)
    assert "list_prices is gone" in found
    prepare(adapter)
    assert (altered(adapter), readers_see(seat)) == ([], len(ROWS))


def test_readers_of_the_other_slot_are_told_of_and_led_back(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    seat.run("UPDATE _distributor_active SET slot = 'a'")
    assert readers_see(seat) == 0
    (found,) = altered(adapter)
    assert "see slot a" in found
    assert "slot b is online" in found
    prepare(adapter)
    assert (altered(adapter), readers_see(seat)) == ([], len(ROWS))


def test_a_release_that_readers_are_told_wrongly_is_said_and_put_right(
    seat: MariaDBSeat, adapter: MariaDBAdapter
) -> None:
    seat.run("UPDATE _distributor_active SET `release` = 99")
    (found,) = altered(adapter)
    assert "release 99 of crm in prod, and not release 1" in found
    seat.run("DELETE FROM _distributor_active")
    assert any("tells readers nothing, and not release 1" in found for found in altered(adapter))
    prepare(adapter)
    assert altered(adapter) == []
    assert seat.run("SELECT `release` FROM distributor_release") == [(1,)]


def test_a_key_comes_back_by_the_statement_that_the_sentence_has(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    seat.run("ALTER TABLE _slots_list_prices DROP PRIMARY KEY, ADD PRIMARY KEY (sku, _slot)")
    (found,) = altered(adapter)
    assert "the primary key of _slots_list_prices is not (_slot, sku)" in found
    seat.run(found.partition("Put it back: ")[2].partition(". To have")[0])
    assert altered(adapter) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("MODIFY `release` INT", "the column release of _slots_list_prices is of type int(11), not bigint(20)"),
        ("MODIFY sku VARCHAR(767) COLLATE utf8mb4_general_ci NOT NULL", "is compared by utf8mb4_general_ci"),
        ("DROP COLUMN `release`", "_slots_list_prices has no column release, of type bigint(20)"),
        ("ADD COLUMN more INT", "_slots_list_prices has a column more that was not made here"),
        ("RENAME TO elsewhere", "the table _slots_list_prices is missing"),
    ],
)
def test_an_altered_table_is_said(seat: MariaDBSeat, adapter: MariaDBAdapter, change: str, said: str) -> None:
    seat.run(f"ALTER TABLE _slots_list_prices {change}")
    assert any(said in found and "To have the system loaded anew, drop" in found for found in altered(adapter))
    with pytest.raises(SystemAlteredError):
        prepare(adapter)


def test_a_member_whose_row_was_deleted_is_not_begun_anew(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    seat.run("DELETE FROM _distributor_member")
    with pytest.raises(SystemAlteredError, match="has lost its row"):
        prepare(adapter)
    with pytest.raises(SystemAlteredError), adapter.member():
        pass


@contextmanager
def stuck(adapter: MariaDBAdapter) -> Iterator[Callable[[], Obstacle]]:
    """A load in a thread of its own; gives what asks for its obstacle until there is one."""

    def work() -> None:
        try:
            load(adapter, "a", 2, batch(PRICE_TABLE, ROWS))
        except DistributorError as error:
            failed.append(error)

    failed: list[DistributorError] = []
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: wait_for(lambda: (found := adapter.waits_for()).what and found, what="an obstacle")
    finally:
        thread.join(60)
        assert not thread.is_alive()


def test_a_session_that_has_locked_a_row_is_named_and_ended(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    assert isinstance(adapter, KnowsObstacles)
    assert adapter.waits_for() == Obstacle()
    other = connected(seat.url, autocommit=False)
    with other.cursor() as cursor:
        cursor.execute("SELECT * FROM _distributor_slot WHERE slot = 'a' FOR UPDATE")
        thread, database = other.thread_id(), seat.url.rpartition("/")[2]  # type: ignore[no-untyped-call]
        with stuck(adapter) as obstacle:
            found = obstacle()
            seat.run(found.mend)
    other.close()
    assert found.what.startswith(f"session {thread} of ")
    assert found.what.endswith(f", which has locked a row of {database}._distributor_slot and not committed")
    assert found.mend == f"KILL {thread}"
    with adapter.member() as member:
        assert member.row.slots["a"].release == 2


def test_another_consumer_that_has_the_members_row_is_named(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    with second(seat) as twin, ExitStack() as held:
        held.enter_context(twin.member())
        with stuck(adapter) as obstacle:
            found = obstacle()
            held.close()
    assert "another consumer of this member, which has its row locked" in found.what


def test_somebody_who_alters_a_table_is_told_of(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    with connected(seat.url) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES _slots_list_prices WRITE")
        with stuck(adapter) as obstacle:
            found = obstacle()
            cursor.execute("UNLOCK TABLES")
    assert "a lock on a table (Waiting for table metadata lock)" in found.what
    assert found.mend == "SHOW FULL PROCESSLIST"


def test_a_server_that_is_away_cannot_be_asked() -> None:
    with second(MariaDBSeat("mariadb://nobody:nothing@127.0.0.1:9/none")) as away, pytest.raises(UnreachableError):
        away.waits_for()  # type: ignore[attr-defined]


def test_an_audit_that_runs_is_ended_by_another_thread(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    # An interruption that comes between two statements ends nothing: so the audit never stops by itself.
    load(adapter, "a", 2, batch(PRICE_TABLE, numbered_rows(20_000, 2)))
    ended: list[Exception] = []

    def audit() -> None:
        try:
            with adapter.auditing() as snapshot:
                while True:
                    snapshot.buckets("a", PRICE_TABLE)
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=audit)
    thread.start()

    def interrupted() -> bool:
        adapter.interrupt()
        return bool(ended)

    wait_for(interrupted, what="the end of the audit")
    thread.join()
    assert isinstance(ended[0], UnreachableError)
    with adapter.auditing() as snapshot:
        assert snapshot.buckets("a", PRICE_TABLE) == adapter.audit("a", PRICE_TABLE)
