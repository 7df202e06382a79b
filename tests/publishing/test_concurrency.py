"""Publishing beside writers, loads, other publishers and deaths: real connections, no luck needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from distributor.errors import StoreError, StoreFullError, UnreachableError
from distributor.model.manifest import Counts
from distributor.publishing import looking
from distributor.publishing.publish import Publisher
from distributor.publishing.result import PublishResult
from tests.capture.master import datasets, journal, run
from tests.publishing.estate import Estate, Rows, texts
from tests.store.room import little_room
from tests.support import wait_for

ROWS = 200


def expected(estate: Estate) -> Rows:
    return texts(estate.master, "SELECT id::text, name FROM products")


@pytest.fixture
def estate(database: Callable[[], str], tmp_path: Path) -> Estate:
    """Two hundred products, published as release 1."""
    made = Estate.create(
        database,
        tmp_path / "store",
        datasets(products="products"),
        "CREATE TABLE products (id int PRIMARY KEY, name text)",
        f"INSERT INTO products SELECT n, 'product ' || n FROM generate_series(1, {ROWS}) AS n",
    )
    assert made.publish().release == 1
    return made


def waiting_for_a_lock(url: str) -> Callable[[], object]:
    def is_waiting() -> object:
        with psycopg.connect(url) as connection:
            return connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                " AND application_name LIKE 'distributor%'"
            ).fetchone()

    return is_waiting


def test_a_reload_that_commits_meanwhile_is_never_a_mass_deletion(estate: Estate) -> None:
    with psycopg.connect(estate.master) as loader, ThreadPoolExecutor(1) as pool:
        loader.execute("TRUNCATE products")
        loader.execute(f"INSERT INTO products SELECT n, 'product ' || n FROM generate_series(1, {ROWS}) AS n")
        loader.execute("UPDATE products SET name = 'reloaded' WHERE id = 1")
        publish: Future[PublishResult] = pool.submit(estate.publish)
        wait_for(waiting_for_a_lock(estate.master), what="the publisher behind the load's lock")
        loader.commit()
        result = publish.result()
    assert result.counts == {"products": Counts(updates=1)}
    estate.check("products", expected(estate))


def test_a_table_that_stays_locked_is_a_clear_error_and_loses_nothing(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_LOCK_TIMEOUT", "50ms")
    estate.run("UPDATE products SET name = 'x' WHERE id = 1")
    with psycopg.connect(estate.master) as other:
        other.execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(UnreachableError, match="locked by somebody else") as caught:
            estate.publish()
    assert caught.value.retryable
    assert estate.publish().counts == {"products": Counts(updates=1)}


def test_a_writer_that_commits_during_a_publish_is_in_the_next_release(estate: Estate) -> None:
    estate.run("UPDATE products SET name = 'first' WHERE id = 1")
    with psycopg.connect(estate.master) as writer:
        writer.execute("UPDATE products SET name = 'second' WHERE id IN (2, 3)")

        def commit_while_reading(phase: str, _dataset: str, _rows: int) -> None:
            if phase == "read":
                writer.commit()

        assert estate.publish(progress=commit_while_reading).counts == {"products": Counts(updates=1)}
    assert journal(estate.master) == {"products": {"2", "3"}}
    assert estate.publish().counts == {"products": Counts(updates=2)}
    estate.check("products", expected(estate))


def test_two_publishers_at_once_make_one_chain(estate: Estate) -> None:
    start = threading.Barrier(3)

    def work() -> list[PublishResult]:
        results: list[PublishResult] = []
        with Publisher(estate.settings, estate.store) as publisher:
            start.wait()
            while len(results) < 8:
                try:
                    results.append(publisher.publish())
                except UnreachableError:
                    continue
        return results

    with ThreadPoolExecutor(2) as pool:
        workers = [pool.submit(work) for _ in range(2)]
        start.wait()
        for turn in range(10):
            estate.run(f"UPDATE products SET name = 'turn {turn}' WHERE id % 10 = {turn}")
        results = [result for worker in workers for result in worker.result()]
    last = estate.publish()
    made = sorted(result.release for result in (*results, last) if result.release)
    assert made == list(range(2, 2 + len(made)))
    assert sum(result.rows for result in (*results, last)) == ROWS
    assert estate.image(estate.head().schemas[0]) == expected(estate)


def test_a_death_between_the_two_commits_is_harmless(estate: Estate) -> None:
    estate.run("UPDATE products SET name = 'x' WHERE id <= 5", "DELETE FROM products WHERE id = 6")

    def cut(phase: str, _dataset: str, _rows: int) -> None:
        if phase == "released":
            with psycopg.connect(estate.master, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE application_name = 'distributor publisher' AND datname = current_database()"
                )

    assert estate.publish(progress=cut).release == 2
    assert journal(estate.master) == {"products": {"1", "2", "3", "4", "5", "6"}}
    assert estate.publish().release is None
    assert journal(estate.master) == {}
    estate.check("products", expected(estate))


@pytest.mark.parametrize("phase", ["read", "stored"])
def test_a_death_before_the_ledger_commits_publishes_nothing(estate: Estate, phase: str) -> None:
    estate.run("UPDATE products SET name = 'x' WHERE id <= 5")

    def die(now: str, _dataset: str, _rows: int) -> None:
        if now == phase:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estate.publish(progress=die)
    assert estate.head().release == 1
    assert journal(estate.master) == {"products": {"1", "2", "3", "4", "5"}}
    assert estate.publish().counts == {"products": Counts(updates=5)}
    estate.check("products", expected(estate))


def test_a_full_store_publishes_nothing_and_the_next_attempt_starts_from_the_same_place(estate: Estate) -> None:
    estate.run("UPDATE products SET name = 'x' WHERE id <= 5")
    with little_room(256), pytest.raises(StoreFullError):
        estate.publish()
    assert estate.head().release == 1
    assert estate.publish().counts == {"products": Counts(updates=5)}
    estate.check("products", expected(estate))


def test_a_damaged_parent_stops_the_publish_and_loses_nothing(estate: Estate) -> None:
    sha256 = str(estate.scalar(estate.ledger, "SELECT manifest FROM ledger.releases"))
    path = estate.store.local_path(sha256)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    estate.run("UPDATE products SET name = 'x' WHERE id <= 5")
    with pytest.raises(StoreError, match=f"object {sha256} is damaged"):
        estate.publish()
    path.write_bytes(content)
    assert estate.publish().counts == {"products": Counts(updates=5)}


def test_a_dead_callback_does_not_leave_an_old_snapshot_to_the_next_publish(estate: Estate) -> None:
    def die(phase: str, _dataset: str, _rows: int) -> None:
        if phase == "released":
            raise KeyboardInterrupt

    with Publisher(estate.settings, estate.store) as publisher:
        estate.run("UPDATE products SET name = 'x' WHERE id = 1")
        with pytest.raises(KeyboardInterrupt):
            publisher.publish(progress=die)
        estate.run("UPDATE products SET name = 'y' WHERE id = 2")
        assert publisher.publish().counts == {"products": Counts(updates=1)}
    assert estate.image(estate.head().schemas[0]) == expected(estate)


def test_rows_that_come_by_logical_replication_are_not_missed(estate: Estate, database: Callable[[], str]) -> None:
    """Its apply worker fires no statement triggers at all: such a table is compared whole."""
    upstream = database()
    name = upstream.rpartition("/")[2]
    run(upstream, "CREATE TABLE products (id int PRIMARY KEY, name text)", "CREATE PUBLICATION p FOR ALL TABLES")
    run(upstream, f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
    options = f"create_slot = false, slot_name = '{name}', copy_data = false"
    estate.run(f"CREATE SUBSCRIPTION {name} CONNECTION '{upstream}' PUBLICATION p WITH ({options})")
    try:
        run(upstream, "INSERT INTO products VALUES (900, 'replicated')")
        wait_for(lambda: ("900",) in expected(estate), what="the replicated row")
        assert journal(estate.master) == {}
        result = estate.publish()
        assert (result.whole, result.counts) == (("products",), {"products": Counts(inserts=1)})
        estate.check("products", expected(estate))
    finally:
        estate.run(
            f"ALTER SUBSCRIPTION {name} DISABLE",
            f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)",
            f"DROP SUBSCRIPTION {name}",
        )
        wait_for(lambda: not _slot_is_used(upstream, name), what="the end of the replication")
        run(upstream, f"SELECT pg_drop_replication_slot('{name}')")


def _slot_is_used(url: str, name: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", [name]).fetchone()
    return bool(row and row[0])
