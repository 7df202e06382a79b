"""A whole estate over a hundred releases: one system away meanwhile, what it held collected, and everybody far back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from distributor.publishing.publish import Publisher
from distributor.settings import load_settings
from distributor.store.directory import DirectoryStore
from tests.capture.master import install_capture
from tests.capture.master import run as sql
from tests.cli.conftest import Run
from tests.cli.test_verify_systems import CONFIG, Content, World
from tests.coordination.conftest import coordinator
from tests.support import wait_for

pytestmark = pytest.mark.services
RELEASES, BASE, ROWS = 100, 60, 1000
CARE = 'path = "store"\nkeep = "1ms"\ngrace = "1ms"'


def right(release: int) -> Content:
    """Release n + 1 gives row n the name of that release."""
    return {(f"SKU-{n}", f"of release {n + 1}" if 0 < n < release else "as it was") for n in range(ROWS)}


def ways(world: World, system: str) -> list[str]:
    lines = (world.config.parent / f"{system}.log").read_text().splitlines()
    return [told["way"] for told in map(json.loads, lines) if told["event"] == "loading"]


@pytest.fixture
def world(database: Callable[[], str], amqp_url: str, tmp_path: Path, run: Run) -> Iterator[World]:
    """Release 1 online in both systems; nobody waits for pos."""
    master, ledger, crm, pos = database(), database(), database(), tmp_path / "pos.db"
    config = tmp_path / "distributor.toml"
    text = CONFIG.format(master=master, ledger=ledger, broker=amqp_url, crm=crm, pos=pos, keep_previous="1h")
    config.write_text(text.replace('path = "store"', CARE) + "required = false\n")
    sql(
        master,
        "CREATE TABLE products (sku text PRIMARY KEY, name text)",
        f"INSERT INTO products SELECT 'SKU-' || n, 'as it was' FROM generate_series(0, {ROWS - 1}) n",
    )
    settings = load_settings(config)
    install_capture(master, settings.master.datasets)
    with ExitStack() as stack:
        made = World(run, config, master, crm, pos)
        made("init")
        assert made.json("publish")["release"] == 1
        stack.enter_context(coordinator(settings))
        for system in ("crm", "pos"):
            made.start(system)
            stack.callback(made.stop, system)
        made.deploy(1)
        wait_for(lambda: pos.exists() and made.content("pos") == right(1), 60, "pos")
        yield made


def publish_many(world: World) -> None:
    settings = load_settings(world.config)
    with Publisher(settings, DirectoryStore(settings.resolve(settings.store.path))) as publisher:
        for release in range(2, RELEASES + 1):
            row = f"UPDATE products SET name = 'of release {release}' WHERE sku = 'SKU-{release - 1}'"
            sql(world.master, row)
            assert publisher.publish().release == release


def test_all_converge_over_any_distance_by_the_cheap_way(world: World) -> None:
    world.stop("pos")
    publish_many(world)
    world("compact", "--release", BASE)
    for release in (RELEASES - 1, RELEASES):
        world.deploy(release)
    assert world.content("crm") == right(RELEASES)
    # The empty slot begins at the base, the other one takes the net of all that it has missed.
    assert ways(world, "crm")[1:] == [
        f"base of release {BASE} ({ROWS:,} rows) + {RELEASES - 1 - BASE} releases",
        f"delta of {RELEASES - 1} rows over {RELEASES - 1} releases",
    ]

    collected = world.json("gc")
    assert (collected["oldest"], collected["releases"], collected["needed"]) == (BASE, BASE - 1, RELEASES - 1)
    refused = world("deploy", "uat", "--release", 5, code=11).err
    assert f"release 5 was collected; the oldest that can be had is {BASE}" in refused

    world.start("pos")
    world("refresh", "uat", "--systems", "pos", "--reason", "it is back")
    wait_for(lambda: world.content("pos") == right(RELEASES), 60, "pos")
    assert ways(world, "pos")[-1] == f"base of release {BASE} ({ROWS:,} rows) + {RELEASES - BASE} releases"

    back = RELEASES - 30
    world("rollback", "uat", "--to", back, "--reason", "test")
    assert world.content("crm") == right(back)
    wait_for(lambda: world.content("pos") == right(back), 60, "pos at the older release")
    # One holds what was shown before, the other still what was collected meanwhile.
    assert ways(world, "crm")[-1] == "29 releases back (29 rows)"
    assert ways(world, "pos")[-1] == f"base of release {BASE} ({ROWS:,} rows) + {back - BASE} releases"
    world("verify", "uat")
