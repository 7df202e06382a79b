"""The generated catalogue, and whether the demo's own readers and comparison would notice what must not be."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from distributor.demo import catalogue, checks
from distributor.demo.catalogue import DATASETS
from distributor.demo.readers import Place, Reader
from tests.support import wait_for

NewDatabase = Callable[[], str]
SAME_NAMES = {dataset: dataset for dataset in DATASETS}


def made(url: str, seed: int = 7, products: int = 400) -> dict[str, bytes]:
    with psycopg.connect(url, autocommit=True) as master:
        catalogue.create(master, products, seed)
        return {dataset: checks.master_lines(master, dataset) for dataset in DATASETS}


def test_a_seed_makes_the_same_catalogue_again_and_another_seed_another(database: NewDatabase) -> None:
    first, again, other = made(database()), made(database()), made(database(), seed=8)
    assert first == again
    assert first["products"] != other["products"]
    assert first["products"].count(b"\n") == first["prices"].count(b"\n") == 400


def test_a_change_batch_updates_adds_and_withdraws_and_always_touches_the_marked_rows(database: NewDatabase) -> None:
    url = database()
    made(url)
    with psycopg.connect(url, autocommit=True) as master:
        batch = catalogue.change(master, 200, revision=3, seed=7)
        touched = master.execute("SELECT product_id FROM products WHERE revision = 3 ORDER BY 1").fetchall()
        priced = master.execute("SELECT product_id FROM prices WHERE revision = 3 ORDER BY 1").fetchall()
        gone = master.execute("SELECT count(*) FROM products WHERE product_id = ANY(%s)", [batch.deleted]).fetchone()
    assert (len(batch.updated), len(batch.inserted), len(batch.deleted)) == (160, 30, 10)
    assert touched == priced == [(key,) for key in sorted(batch.updated + batch.inserted)]
    assert set(range(catalogue.FIRST_MARKER, catalogue.LAST_MARKER + 1)) <= set(batch.updated)
    assert gone == (0,)


def test_a_batch_larger_than_the_catalogue_is_refused(database: NewDatabase) -> None:
    url = database()
    made(url)
    with psycopg.connect(url, autocommit=True) as master, pytest.raises(ValueError, match="cannot be changed"):
        catalogue.change(master, 2000, revision=1, seed=7)


@pytest.mark.parametrize(
    "damage",
    [
        'UPDATE products SET attributes = attributes || \'{"country": "XX"}\' WHERE product_id = 77',
        "UPDATE products SET name = NULL WHERE product_id = 77",
        "UPDATE prices SET list_price = list_price + 0.01 WHERE product_id = 77",
        "DELETE FROM products WHERE product_id = 77",
        "INSERT INTO categories VALUES (999, NULL, 'x', 'x')",
    ],
)
def test_the_comparison_finds_one_wrong_row_in_postgresql(database: NewDatabase, damage: str) -> None:
    expected = made(database())
    url = database()
    made(url)
    place = Place("prod", "crm", "postgresql", url, SAME_NAMES)
    assert all(table.equal for table in checks.compare(place, expected))
    with psycopg.connect(url, autocommit=True) as system:
        system.execute("ALTER TABLE products ALTER name DROP NOT NULL")
        system.execute(damage.encode())
    assert [table.equal for table in checks.compare(place, expected)].count(False) in {1, 2}


def test_the_comparison_reads_sqlite_texts_and_finds_one_wrong_row(database: NewDatabase, tmp_path: Path) -> None:
    url = database()
    expected = made(url)
    path = tmp_path / "pos.db"
    place = Place("prod", "pos", "sqlite", f"sqlite:///{path}", {"prices": "price_list"})
    with closing(sqlite3.connect(path)) as file, psycopg.connect(url) as master:
        file.execute(
            "CREATE TABLE price_list"
            " (product_id INTEGER, currency TEXT, list_price TEXT, purchase_price TEXT, tax_percent TEXT,"
            " valid_from TEXT, revision INTEGER)"
        )
        rows = master.execute("SELECT * FROM prices").fetchall()
        file.executemany(
            "INSERT INTO price_list VALUES (?, ?, ?, ?, ?, ?, ?)", [(*r[:2], *map(str, r[2:])) for r in rows]
        )
        file.commit()
        assert all(table.equal for table in checks.compare(place, expected))
        file.execute("UPDATE price_list SET tax_percent = '0' WHERE product_id = 5")
        file.commit()
        (found,) = checks.compare(place, expected)
    assert "5 | EUR" in found.difference


def test_a_reader_notices_pieces_of_two_releases_and_a_system_that_fails(database: NewDatabase) -> None:
    url = database()
    made(url)
    reader = Reader(Place("prod", "crm", "postgresql", url, SAME_NAMES), pause=0.001)
    with psycopg.connect(url, autocommit=True) as system:
        reader.start()
        system.execute("CREATE TABLE distributor_release AS SELECT 1 AS release, now() AS flipped_at")
        wait_for(lambda: reader.shows == 1, what="release 1")
        assert not reader.torn
        assert not reader.errors
        system.execute("UPDATE prices SET revision = 1 WHERE product_id = 3")
        wait_for(lambda: bool(reader.torn), what="a torn read")
        assert "change batches 0 to 1" in reader.torn[0]
        system.execute("ALTER TABLE products RENAME TO elsewhere")
        wait_for(lambda: bool(reader.errors), what="a failed read")
        reader.stop()
