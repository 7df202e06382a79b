"""Collecting editions: what environments need stays, whatever else goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from distributor.ledger.engine import ledger_engine, transaction
from distributor.publishing.editions import edition_of
from distributor.settings import EnvironmentSettings, MemberSettings, Settings, StoreSettings
from distributor.settings.desk import MaskingPolicy
from distributor.store.bases import base_of
from distributor.store.directory import DirectoryStore
from distributor.store.ways import Ways
from distributor.telemetry.clock import now
from distributor.upkeep.compaction import Due, editions_due
from distributor.upkeep.editions import collect_editions
from tests.capture.master import datasets
from tests.publishing.estate import Estate

pytestmark = pytest.mark.services
LATER = timedelta(days=40)


@pytest.fixture
def estate(database: Callable[[], str], tmp_path: Path) -> Estate:
    made = Estate.create(
        database,
        tmp_path / "store",
        datasets(products="products"),
        "CREATE TABLE products (sku text PRIMARY KEY, name text)",
        "INSERT INTO products SELECT n::text, 'name ' || n FROM generate_series(1, 50) n",
    )
    made.settings = under(made.settings, "the first secret of all")
    for step in range(1, 7):
        made.run(f"UPDATE products SET name = 'step {step}' WHERE sku::int % 7 = {step}")
        assert made.publish().release == step
    return made


def under(settings: Settings, secret: str) -> Settings:
    policy = MaskingPolicy.model_validate({"secret": secret, "columns": {"products": {"name": "token"}}})
    member = MemberSettings(adapter="sqlite", url="sqlite:///x.db")
    return settings.model_copy(
        update={
            "masking": {"test": policy},
            "environments": {"uat": EnvironmentSettings(masking="test", systems={"pos": member})},
            "store": StoreSettings(path=settings.store.path, keep=timedelta(days=30), grace=timedelta(days=1)),
        }
    )


@pytest.fixture
def engine(estate: Estate) -> Iterator[Engine]:
    made = ledger_engine(estate.ledger)
    yield made
    made.dispose()


def manifests(estate: Estate) -> dict[int, str]:
    with psycopg.connect(estate.ledger) as connection:
        return dict(connection.execute("SELECT release, manifest FROM ledger.editions").fetchall())


def edition(estate: Estate) -> DirectoryStore:
    [policy] = estate.settings.policies_in_use
    return estate.store.edition(policy.version)


def collected(estate: Estate, engine: Engine, at: datetime | None = None) -> tuple[int, int]:
    """Objects and whole editions; what a dry run says first is what is done then."""
    at = at or now() + LATER
    told = collect_editions(engine, estate.store, estate.settings, at, dry_run=True)
    done = collect_editions(engine, estate.store, estate.settings, at)
    assert told.objects == done.objects
    return done.objects, done.editions


def test_without_a_base_everything_stays(estate: Estate, engine: Engine) -> None:
    assert collected(estate, engine) == (0, 0)
    assert set(manifests(estate)) == set(range(1, 7))


def test_before_the_newest_base_that_is_old_enough_everything_goes(estate: Estate, engine: Engine) -> None:
    store = edition(estate)
    with transaction(engine) as conn:
        [due] = editions_due(conn, estate.settings, Due(6, "", "")).values()
    before = manifests(estate)
    assert due.manifest == before[6]
    base_of(store, 6, due.manifest)
    assert collected(estate, engine, now() + timedelta(hours=1)) == (0, 0)
    # Five manifests and their chunks; the sixth stays, for what holds it may be led back from it.
    assert collected(estate, engine) == (10, 0)
    assert manifests(estate) == {6: before[6]}
    assert Ways(store, before[6], 6).anew().rows == 50
    estate.run("UPDATE products SET name = 'more' WHERE sku = '1'")
    assert estate.publish().release == 7
    assert manifests(estate).keys() == {6, 7}
    with transaction(engine) as conn:
        [policy] = estate.settings.policies_in_use
        again = edition_of(conn, estate.settings, estate.store, policy, 3)
    assert Ways(store, again, 3).anew().rows == 50


def test_editions_of_a_policy_that_nobody_uses_go_when_their_time_has_come(estate: Estate, engine: Engine) -> None:
    old = edition(estate)
    estate.settings = under(estate.settings, "quite another secret now")
    assert collected(estate, engine, now() + timedelta(days=20)) == (0, 0)
    assert old.path.is_dir()
    objects, editions = collected(estate, engine)
    assert (objects, editions) == (13, 1)
    assert not old.path.exists()
    assert manifests(estate) == {}
    clear = Ways(
        estate.store, str(estate.scalar(estate.ledger, "SELECT max(manifest) FROM ledger.releases WHERE number = 6")), 6
    )
    assert clear.anew().rows >= 50
