"""Rules beside other publishers, other shapes, and a publisher that runs for long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from distributor.coordination.publisher import serve_publisher
from distributor.errors import RuleFailedError
from distributor.model.manifest import Counts
from distributor.publishing.publish import Publisher
from distributor.settings.models import Dataset
from tests.capture.master import journal
from tests.quality.estate import check, configured, held, master_rows, quality_estate

POSITIVE = {"name": "positive", "expect": "price > 0"}


def test_while_one_publisher_is_refused_another_publishes_what_was_mended(
    database: Callable[[], str], tmp_path: Path
) -> None:
    """Both wait for each other; whoever comes second sees what is on the master by then."""
    estate = quality_estate(database, tmp_path, [POSITIVE])
    estate.run("UPDATE products SET price = -1 WHERE id = 'p1'", "UPDATE products SET price = 9 WHERE id = 'p2'")
    reading, mended = threading.Event(), threading.Event()

    def wait(phase: str, dataset: str, _rows: int) -> None:
        if (phase, dataset) == ("read", "products") and not reading.is_set():
            reading.set()
            assert mended.wait(60)

    def refused() -> str:
        with Publisher(estate.settings, estate.store) as publisher, pytest.raises(RuleFailedError) as caught:
            publisher.publish(progress=wait)
        return str(caught.value)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(refused)
        assert reading.wait(60)
        second = pool.submit(estate.publish)
        estate.run("UPDATE products SET price = 1 WHERE id = 'p1'")
        mended.set()
        assert "p1: price = '-1'" in first.result(60)
        assert second.result(60).release == 2
    check(estate, "products")
    assert journal(estate.master) == {}


def test_four_publishers_hold_a_row_back_once(database: Callable[[], str], tmp_path: Path) -> None:
    estate = quality_estate(database, tmp_path, [{**POSITIVE, "on_fail": "quarantine"}])
    one = master_rows(estate, "products")[("p1",)]
    estate.run("UPDATE products SET price = -1 WHERE id = 'p1'", "UPDATE products SET price = 9 WHERE id = 'p2'")

    def publish(_: int) -> int | None:
        with Publisher(estate.settings, estate.store) as publisher:
            return publisher.publish().release

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(publish, range(4)), key=str) == [2, None, None, None]
    with psycopg.connect(estate.ledger) as connection:
        assert connection.execute("SELECT count(*) FROM ledger.audit").fetchone() == (1,)
    assert held(estate).keys() == {("products", "p1")}
    schema = estate.head().schema_of("products")
    assert estate.image(schema)[("p1",)] == one


def test_a_new_dataset_goes_out_without_the_rows_that_fail(database: Callable[[], str], tmp_path: Path) -> None:
    estate = quality_estate(database, tmp_path)
    estate.run("CREATE TABLE brands (name text PRIMARY KEY, code text)",
               "INSERT INTO brands VALUES ('a', 'x'), ('b', 'y'), ('c', 'y'), ('d', NULL), ('e', NULL)")  # fmt: skip
    brands = Dataset.model_validate(
        {"table": "brands", "rules": [{"name": "code", "unique": ["code"], "on_fail": "quarantine"}]}
    )
    estate.configure(brands=brands)
    result = estate.publish()
    assert result.counts["brands"] == Counts(inserts=3)
    assert held(estate).keys() == {("brands", "b"), ("brands", "c")}
    estate.run("UPDATE brands SET code = 'z' WHERE name = 'c'")
    estate.configure(brands=brands)
    assert estate.publish().counts["brands"] == Counts(inserts=2)
    assert held(estate) == {}


def test_in_another_shape_a_rule_that_holds_back_refuses(database: Callable[[], str], tmp_path: Path) -> None:
    """What a row was before cannot be said in the new shape, and leaving it out would delete it."""
    estate = quality_estate(database, tmp_path, [{**POSITIVE, "on_fail": "quarantine"}])
    rules = configured([{**POSITIVE, "on_fail": "quarantine"}])["products"]
    estate.configure(products=rules.model_copy(update={"drift": "evolve"}))
    estate.run("ALTER TABLE products ADD COLUMN colour text", "UPDATE products SET price = -1 WHERE id = 'p1'")
    with pytest.raises(RuleFailedError, match="1 row fails the rule positive"):
        estate.publish()
    assert estate.head().release == 1
    estate.run("UPDATE products SET price = 1 WHERE id = 'p1'")
    assert estate.publish().restarts.keys() == {"products"}


def test_what_changes_behind_the_triggers_is_judged_too(database: Callable[[], str], tmp_path: Path) -> None:
    estate = quality_estate(database, tmp_path, [{**POSITIVE, "on_fail": "quarantine"}])
    rows = master_rows(estate, "products")
    estate.run("TRUNCATE products", "INSERT INTO products (id, price) VALUES ('p1', -1), ('p2', 2), ('p3', -3)")
    result = estate.publish()
    assert result.whole == ("products",)
    assert result.counts["products"] == Counts(updates=1, deletes=17)
    check(estate, "products", but={(key,): rows[(key,)] for key in ("p1", "p3")})


def test_a_publisher_says_once_what_is_in_its_way_and_goes_on_when_it_is_gone(
    database: Callable[[], str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    estate = quality_estate(database, tmp_path, [POSITIVE])
    estate.run("UPDATE products SET price = -1 WHERE id = 'p1'")

    def trouble() -> str:
        why = estate.scalar(
            estate.ledger, "SELECT detail -> 'trouble' ->> 'why' FROM ledger.processes WHERE role = 'publisher'"
        )
        return str(why or "")

    async def until(met: Callable[[], bool]) -> None:
        async with asyncio.timeout(90):
            while not await asyncio.to_thread(met):
                await asyncio.sleep(0.05)

    async def serve() -> None:
        stop = asyncio.Event()
        serving = asyncio.create_task(serve_publisher(estate.settings, stop))
        try:
            await until(lambda: "1 row fails the rule positive (price > 0): p1: price = '-1'" in trouble())
            estate.run("UPDATE products SET price = -2 WHERE id = 'p2'")
            await until(lambda: "2 rows fail the rule positive" in trouble())
            estate.run("UPDATE products SET price = 5 WHERE id IN ('p1', 'p2')")
            await until(lambda: estate.head().release == 2)
            await until(lambda: not trouble())
        finally:
            stop.set()
            await serving

    capfd.readouterr()
    asyncio.run(serve())
    said = [line for line in capfd.readouterr().err.splitlines() if "publishing again" in line]
    assert ["1 row fails" in line for line in said] == [True, False]
