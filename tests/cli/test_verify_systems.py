"""`verify` over real consumers and stores: rows altered by hand are named exactly, and mended through a flip."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from distributor.settings import load_settings
from tests.capture.master import install_capture
from tests.capture.master import run as sql
from tests.cli.conftest import Ran, Run
from tests.coordination.conftest import coordinator
from tests.support import wait_for

pytestmark = pytest.mark.services
ROWS = 3000
Content = set[tuple[str, str | None]]
CONFIG = """
[master]
url = "{master}"
[master.datasets.products]
table = "products"
[ledger]
url = "{ledger}"
[broker]
url = "{broker}"
[store]
path = "store"
[environments.uat]
keep_previous = "{keep_previous}"
audit = "never"
[environments.uat.systems.crm]
adapter = "postgresql"
url = "{crm}"
[environments.uat.systems.pos]
adapter = "sqlite"
url = "sqlite:///{pos}"
"""
CHANGED, LOST, ADDED = "SKU-17", "SKU-42", "BY-HAND"
EDITS = (
    f"UPDATE {{}} SET name = 'by hand' WHERE sku = '{CHANGED}'",
    f"DELETE FROM {{}} WHERE sku = '{LOST}'",
    f"INSERT INTO {{}} VALUES ('{ADDED}', NULL)",
)
FOUND = [(ADDED, "extra"), (CHANGED, "different"), (LOST, "missing")]


@dataclass
class World:
    """Two systems that show the newest of two releases, each with a consumer of its own."""

    run: Run
    config: Path
    master: str
    crm: str
    pos: Path
    consumers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __call__(self, *words: object, code: int = 0) -> Ran:
        ran = self.run(*words, "--config", self.config)
        assert ran.code == code, f"{ran.code}: {ran.out}\n{ran.err}"
        return ran

    def json(self, *words: object, code: int = 0) -> dict[str, Any]:
        return self(*words, "--json", code=code).json

    def start(self, system: str) -> None:
        log = (self.config.parent / f"{system}.log").open("ab")
        arguments = ("serve", "consumer", "--env", "uat", "--system", system, "--config", str(self.config))
        command = [sys.executable, "-m", "distributor", *arguments]
        with log:
            self.consumers[system] = subprocess.Popen(command, stderr=log, env=dict(os.environ))

    def stop(self, system: str) -> None:
        self.consumers[system].kill()
        self.consumers[system].wait(20)

    def deploy(self, release: int) -> None:
        assert self.json("deploy", "uat", "--release", release)["rollout"]["state"] == "online"

    def settled(self) -> None:
        """Waits until both slots of both systems hold the release that is shown."""

        def level() -> bool:
            [environment] = self.json("status", "uat")["environments"]
            return all(member["shadow"] == environment["release"] for member in environment["members"])

        wait_for(level, 60, "settled slots")

    def right(self, release: int) -> Content:
        """What a release has, as the statements of the fixture made it."""
        return {(f"SKU-{n}", f"Release {min(release, 1 + (n % 3 == 0))} {n}") for n in range(ROWS)}

    def slot(self, system: str, slot: str) -> str:
        """The name of a slot's table."""
        if system == "pos":
            with closing(sqlite3.connect(self.pos, timeout=10)) as connection:
                active = connection.execute("SELECT row ->> 'active' FROM _distributor_member").fetchone()[0]
        else:
            with psycopg.connect(self.crm) as connection:
                active = connection.execute("SELECT slot FROM distributor.active").fetchall()[0][0]
        name = active if slot == "online" else "b" if active == "a" else "a"
        return f'"_{name}_products"' if system == "pos" else f"distributor_{name}.products"

    def alter(self, system: str, slot: str, *edits: str) -> None:
        """Edits a slot by hand."""
        table = self.slot(system, slot)
        for edit in edits or EDITS:
            assert self.execute(system, edit.format(table)) == 1

    def execute(self, system: str, statement: str) -> int:
        if system == "pos":
            with closing(sqlite3.connect(self.pos, timeout=10)) as connection, connection:
                return connection.execute(statement).rowcount
        with psycopg.connect(self.crm) as postgresql:
            return postgresql.execute(statement.encode()).rowcount

    def content(self, system: str, table: str = "products") -> Content:
        """What is stored: what readers find, unless another table is named."""
        query = f"SELECT sku, name FROM {table}"
        if system == "pos":
            with closing(sqlite3.connect(self.pos, timeout=10)) as connection:
                return set(connection.execute(query).fetchall())
        with psycopg.connect(self.crm) as postgresql:
            return set(postgresql.execute(query.encode()).fetchall())


@pytest.fixture
def make_world(database: Callable[[], str], amqp_url: str, tmp_path: Path, run: Run) -> Iterator[Callable[..., World]]:
    with ExitStack() as stack:

        def make(keep_previous: str = "0s", releases: int = 2, **more: Any) -> World:
            master, ledger, crm, pos = database(), database(), database(), tmp_path / "pos.db"
            config = tmp_path / "distributor.toml"
            config.write_text(
                CONFIG.format(
                    master=master, ledger=ledger, broker=amqp_url, crm=crm, pos=pos, keep_previous=keep_previous
                )
            )
            settings = load_settings(config)
            sql(
                master,
                "CREATE TABLE products (sku text PRIMARY KEY, name text)",
                f"INSERT INTO products SELECT 'SKU-' || n, 'Release 1 ' || n FROM generate_series(0, {ROWS - 1}) n",
            )
            install_capture(master, settings.master.datasets)
            world = World(run, config, master, crm, pos)
            world("init")
            assert world.json("publish")["release"] == 1
            sql(master, "UPDATE products SET name = replace(name, ' 1 ', ' 2 ') WHERE substr(sku, 5)::int % 3 = 0")
            assert world.json("publish")["release"] == 2
            stack.enter_context(coordinator(settings, **more))
            for system in ("crm", "pos"):
                world.start(system)
                stack.callback(world.stop, system)
            for release in range(1, releases + 1):
                world.deploy(release)
            return world

        yield make


@contextmanager
def reading(world: World, system: str) -> Iterator[list[Content]]:
    """A reader that looks again and again; every different content that it ever saw."""
    seen: list[Content] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            content = world.content(system)
            if content not in seen:
                seen.append(content)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def named(told: dict[str, Any], system: str, slot: str) -> list[tuple[str, str]]:
    [mine] = [part for part in told["systems"] if part["system"] == system]
    [table] = [part for part in mine["tables"] if part["slot"] == slot]
    assert table["rows_wrong"] == len(table["rows"])
    return [(row["key"]["sku"], row["what"]) for row in table["rows"]]


def by_hand(content: Content) -> Content:
    """A slot's content after the edits."""
    return {row for row in content if row[0] not in (CHANGED, LOST)} | {(CHANGED, "by hand"), (ADDED, None)}


def test_hand_edits_are_named_exactly_and_mended_and_nothing_else_is_written(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.settled()
    right = world.right(2)
    assert world.content("crm") == world.content("pos") == right
    for system in ("crm", "pos"):
        world.alter(system, "online")
    world.alter("crm", "shadow", "UPDATE {} SET name = NULL WHERE sku = 'SKU-100'")
    told = world.json("verify", "uat", code=10)
    assert named(told, "crm", "online") == named(told, "pos", "online") == FOUND
    altered = world.json("status", "uat")["environments"][0]["members"]
    assert [[part["slot"] for part in member["altered"]] for member in altered] == [["online"], ["online"]]

    before = {name: world.slot("crm", name) for name in ("online", "shadow")}
    versions = {name: _versions(world, table) for name, table in before.items()}
    with reading(world, "crm") as seen_in_crm, reading(world, "pos") as seen_in_pos:
        told = world.json("verify", "uat", "--repair", "--reason", "a drill")
    assert told["repair"]["rollout"]["state"] == "online"
    assert named(told, "crm", "shadow") == [("SKU-100", "different")]
    assert all(system["mended"] for system in told["systems"])
    for system, seen in (("crm", seen_in_crm), ("pos", seen_in_pos)):
        assert world.content(system) == right
        assert all(content in (by_hand(right), right) for content in seen), "a mix was seen"
    world.settled()
    wait_for(lambda: world.content("crm", world.slot("crm", "shadow")) == right, 60, "the old slot, mended")
    wait_for(lambda: world.content("pos", world.slot("pos", "shadow")) == right, 60, "the old slot, mended")
    # Row versions tell what was written: the keys of the list, in either slot, and no other row.
    keys = {CHANGED, LOST, "SKU-100"}
    for name, table in before.items():
        now = _versions(world, table)
        assert {key for key in now if now[key] != versions[name].get(key)} <= keys, name
    after = world.json("verify", "uat")
    assert not after["different"]
    assert world.json("verify", "uat", "--repair")["repair"] is None
    members = world.json("status", "uat")["environments"][0]["members"]
    assert [member["altered"] for member in members] == [[], []]


def _versions(world: World, table: str) -> dict[str, str]:
    with psycopg.connect(world.crm) as postgresql:
        return dict(postgresql.execute(f"SELECT sku, xmin::text FROM {table}".encode()).fetchall())


def test_the_previous_release_in_the_other_slot_is_built_upon_and_may_be_altered_too(
    make_world: Callable[..., World],
) -> None:
    world = make_world(keep_previous="1h")
    world.alter("pos", "online")
    world.alter("crm", "online", EDITS[0])
    world.alter("crm", "shadow", EDITS[2])
    told = world.json("verify", "uat", "--repair")
    assert named(told, "pos", "online") == FOUND
    assert named(told, "crm", "online") == [(CHANGED, "different")]
    assert named(told, "crm", "shadow") == [(ADDED, "extra")]
    assert world.content("crm") == world.content("pos") == world.right(2)
    crm = next(member for member in told["repair"]["members"] if member["system"] == "crm")
    assert "rebuild" not in crm["phases"]
    assert not world.json("verify", "uat")["different"]


def test_a_key_of_another_type_is_mended_by_loading_anew_and_stops_nobody(make_world: Callable[..., World]) -> None:
    world = make_world(keep_previous="1h")
    world.alter("pos", "online", "INSERT INTO {} VALUES (x'4259', NULL)")
    world.alter("crm", "online", EDITS[0])
    told = world.json("verify", "uat", "--repair")
    assert named(told, "pos", "online") == [("\0b'BY'", "extra")]
    assert [(system["mended"], system["remedy"]) for system in told["systems"]] == [
        (True, "1 row mended"),
        (True, "rows are stored under keys that no release can have: all was loaded anew"),
    ]
    # Nobody waits an hour for the old slots: they were mended before the verb came back.
    for system in ("crm", "pos"):
        assert world.content(system) == world.content(system, world.slot(system, "shadow")) == world.right(2)


def test_an_old_slot_that_cannot_be_mended_is_not_called_mended(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.settled()
    table = world.slot("crm", "shadow")
    world.alter("crm", "shadow", EDITS[0])
    world.execute("crm", f"ALTER TABLE {table} ADD CONSTRAINT mine CHECK (name = 'by hand') NOT VALID")
    ran = world.run("verify", "uat", "--repair", "--json", "--timeout", "20s", "--config", world.config)
    assert ran.code in (1, 12), ran
    [crm] = [system for system in ran.json["systems"] if system["system"] == "crm"]
    assert (crm["mended"], crm["mending"] in ("late", "failed")) == (False, True), crm
    assert crm["remedy"].startswith("not mended: ")


def test_before_the_first_release_there_is_nothing_to_find(make_world: Callable[..., World]) -> None:
    world = make_world(releases=0)
    told = world.json("verify", "uat")
    assert [(s["outcome"], s["release"]) for s in told["systems"]] == [("verified", 0), ("verified", 0)]


def test_while_a_rollout_waits_behind_a_hold_the_online_slots_are_audited(make_world: Callable[..., World]) -> None:
    world = make_world(keep_previous="1h", releases=1)
    world.alter("pos", "online")
    world("hold", "uat", "--reason", "price tests")
    world("deploy", "uat", "--no-wait")
    wait_for(lambda: world.json("status", "uat")["environments"][0]["state"] == "converged", 60, "staged")
    told = world.json("verify", "uat", code=10)
    assert (told["release"], named(told, "pos", "online")) == (1, FOUND)
    assert named(told, "crm", "online") == []
    world("release-hold", "uat")
    wait_for(lambda: world.json("status", "uat")["environments"][0]["release"] == 2, 60, "release 2")
    assert not world.json("verify", "uat")["different"]
    assert world.content("pos") == world.right(2)


def test_a_member_that_is_down_is_named(make_world: Callable[..., World]) -> None:
    world = make_world(releases=1)
    world.stop("pos")
    told = world.json("verify", "uat", "--timeout", "3s", code=12)
    assert [(s["system"], s["outcome"]) for s in told["systems"]] == [("crm", "verified"), ("pos", "silent")]
    world.start("pos")
    assert not world.json("verify", "uat")["different"]
