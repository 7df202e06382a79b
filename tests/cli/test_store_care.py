"""`compact` and `gc`, and what somebody is told who asks for a release that is gone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distributor.ledger import audit, environments
from distributor.ledger.engine import ledger_engine, transaction
from distributor.settings import load_settings
from distributor.store.directory import DirectoryStore
from tests.capture.master import run as sql
from tests.cli.conftest import Ran, Run, config_text

pytestmark = pytest.mark.services
DAYS_AGO = 1_000_000_000


class Shop:
    """Five releases of a small catalogue, made so long ago that only what is needed is kept."""

    def __init__(self, run: Run, config: Path, master: str) -> None:
        self.run, self.config, self.master = run, config, master
        self.settings = load_settings(config)
        self.store = DirectoryStore(self.settings.resolve(self.settings.store.path))
        self.engine = ledger_engine(self.settings.ledger.url)

    def __call__(self, *words: object, code: int = 0) -> Ran:
        ran = self.run(*words, "--config", self.config)
        assert ran.code == code, ran
        return ran

    def json(self, *words: object, code: int = 0) -> dict[str, Any]:
        return self(*words, "--json", code=code).json

    def age(self) -> None:
        """Releases and objects of years ago."""
        with transaction(self.engine) as conn:
            conn.exec_driver_sql("UPDATE ledger.releases SET created_at = '2020-01-01Z'")
        for kept in self.store.objects():
            path = self.store.path / "objects" / kept.sha256[:2] / kept.sha256[2:]
            os.utime(path, (DAYS_AGO, DAYS_AGO))


@pytest.fixture
def shop(database: Callable[[], str], tmp_path: Path, run: Run) -> Iterator[Shop]:
    master, ledger = database(), database()
    config = tmp_path / "distributor.toml"
    config.write_text(config_text(master, ledger, "amqp://nowhere/"))
    sql(master, "CREATE TABLE products (sku text PRIMARY KEY, name text)")
    made = Shop(run, config, master)
    made("init")
    for release in range(1, 6):
        sql(master, f"INSERT INTO products SELECT '{release}-' || n, 'x' FROM generate_series(1, 100) n")
        sql(master, f"UPDATE products SET name = 'of release {release}' WHERE sku LIKE '1-%'")
        assert made.json("publish")["release"] == release
    made.age()
    yield made
    made.engine.dispose()


def test_a_base_is_made_and_told(shop: Shop) -> None:
    would = shop.json("compact", "--release", 3, "--dry-run")
    assert (would["release"], would["base"], would["since"], would["releases"], would["read"]) == (3, None, 0, 3, 500)
    assert list(shop.store.links()) == []
    made = shop.json("compact", "--release", 3)
    assert (made["rows"], made["chunks"], made["already"], made["dry_run"]) == (300, 1, False, False)
    again = shop.json("compact", "--release", 3, "--dry-run")
    assert (again["already"], again["base"], again["rows"]) == (True, made["base"], 300)
    newest = shop("compact")
    assert "base of release 5: 500 rows in 1 chunk" in newest.out
    assert "made of the base of release 3 and 2 releases since: 700 rows" in newest.out
    with transaction(shop.engine) as conn:
        assert [record.what for record in audit.records(conn)][:2] == ["compact", "compact"]


def test_a_release_that_is_unknown_has_no_base(shop: Shop) -> None:
    assert "there is no release 9" in shop("compact", "--release", 9, code=11).err


def test_what_is_not_needed_goes_and_is_refused_from_then_on(shop: Shop) -> None:
    shop("compact", "--release", 3)
    shop.age()
    would = shop.json("gc", "--dry-run")
    assert (would["dry_run"], would["releases"], would["oldest"], would["needed"]) == (True, 2, 3, 5)
    assert would["needed_by"] == "it is the newest"
    assert would["objects"] == 4
    objects = sorted(kept.sha256 for kept in shop.store.objects())
    told = shop("gc", "--dry-run").out
    assert "would be deleted: 4 objects" in told
    assert "`distributor compact --release 5`" in told
    assert sorted(kept.sha256 for kept in shop.store.objects()) == objects
    done = shop.json("gc")
    assert {**done, "dry_run": True} == would
    assert len(list(shop.store.objects())) == len(objects) - 4
    gone = "release 2 was collected; the oldest that can be had is 3"
    for words in (
        ("deploy", "uat", "--release", 2, "--no-wait"),
        ("deploy", "uat", "--release", 2, "--dry-run"),
        ("rollback", "uat", "--to", 2, "--reason", "test", "--no-wait"),
        ("changes", 2),
        ("compact", "--release", 2),
    ):
        assert gone in shop(*words, code=11).err
    assert [line["number"] for line in shop.json("releases")["releases"]] == [5, 4, 3, 2, 1]
    assert shop.json("deploy", "uat", "--release", 3, "--no-wait")["release"] == 3
    assert shop.json("gc")["objects"] == 0
    with transaction(shop.engine) as conn:
        assert environments.read_all(conn)["uat"].queue or environments.read_all(conn)["uat"].active
        assert [record.what for record in audit.records(conn)].count("gc") == 1


def test_without_a_base_every_release_stays(shop: Shop) -> None:
    told = shop("gc")
    assert "deleted: 0 objects" in told.out
    assert "the oldest release that can be had is 1, from release 0 on" in told.out


def test_before_the_first_release_there_is_nothing_to_do(database: Callable[[], str], tmp_path: Path, run: Run) -> None:
    config = tmp_path / "distributor.toml"
    config.write_text(config_text(database(), database(), "amqp://nowhere/"))
    assert run("init", "--config", config).code == 0
    ran = run("gc", "--config", config)
    assert (ran.code, "there is no release yet" in ran.out) == (0, True)
    assert "there is no release yet" in run("compact", "--config", config).err
