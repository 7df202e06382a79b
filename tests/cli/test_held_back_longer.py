"""Rows that stay held back while everything goes on: over many releases, back again, verified and tried again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest

from tests.cli import held_back
from tests.cli.held_back import Content, World

pytestmark = [pytest.mark.services, pytest.mark.long]
make_held_back = held_back.make_held_back
world = held_back.world

UNFIT = "UPDATE products SET name = '椅子' WHERE sku = 'P7'"


def in_pos(world: World) -> Content:
    with closing(sqlite3.connect(world.config.parent / "pos.db")) as connection:
        return {row[0]: row[1:] for row in connection.execute("SELECT sku, name FROM products")}


def titles(world: World) -> Content:
    with closing(sqlite3.connect(world.config.parent / "pos.db")) as connection:
        return {row[0]: row[1:] for row in connection.execute("SELECT product, title FROM prices")}


def level(world: World, wanted: Content) -> None:
    assert world.in_crm == wanted
    assert world.in_billing == wanted
    assert in_pos(world) == wanted


def test_a_variant_is_verified_and_mended_like_a_release(world: World) -> None:
    before = world.right
    world.release(UNFIT, "UPDATE products SET name = 'Stool' WHERE sku = 'P8'")
    assert world.deploy()["rollout"]["state"] == "online"
    wanted = {**before, "P8": ("Stool",)}
    level(world, wanted)
    world("verify", "uat")
    with psycopg.connect(world.crm) as connection:
        for slot in ("distributor_a", "distributor_b"):
            connection.execute(f"UPDATE {slot}.products SET name = '椅子' WHERE sku = 'P7'".encode())
            connection.execute(f"UPDATE {slot}.products SET name = 'Chair 8' WHERE sku = 'P8'".encode())
    with closing(sqlite3.connect(world.config.parent / "pos.db")) as pos, pos:
        for slot in ("a", "b"):
            pos.execute(f"UPDATE \"_{slot}_prices\" SET title = NULL WHERE product IN ('P7', 'P8')")
    told = world.json("verify", "uat", code=10)
    wrong = {
        (system["system"], table["table"]): sorted(*zip(*(row["key"].values() for row in table["rows"]), strict=True))
        for system in told["systems"]
        for table in system["tables"]
        if table["slot"] == "online" and table["rows"]
    }
    assert wrong == {("crm", "products"): ["P7", "P8"], ("pos", "prices"): ["P7", "P8"]}
    world("verify", "uat", "--repair", "--reason", "r")
    level(world, wanted)
    world("verify", "uat")
    assert titles(world)["P7"] == ("Chair 7",)
    assert titles(world)["P8"] == ("Stool",)


def test_back_to_a_release_that_never_was_shown(world: World) -> None:
    before = world.right
    world.release("UPDATE products SET name = 'Stool' WHERE sku = 'P8'")
    world.release(UNFIT)
    assert world.deploy()["rollout"]["release"] == 3
    level(world, {**before, "P8": ("Stool",)})
    told = world.json("deploy", "uat", "--release", "2")
    assert (told["rollout"]["state"], told["rollout"]["release"]) == ("online", 2)
    level(world, {**before, "P8": ("Stool",)})
    world("verify", "uat")
    assert world.json("rollback", "uat", "--to", "1", "--reason", "r")["rollout"]["state"] == "online"
    level(world, before)
    assert world.json("deploy", "uat", "--release", "3")["rollout"]["state"] == "online"
    level(world, {**before, "P8": ("Stool",)})
    world("verify", "uat")


def test_over_many_releases_and_then_deleted(world: World) -> None:
    before, prices = world.right, world.crm_prices
    world.release(UNFIT, "INSERT INTO products VALUES ('N1', '新', '1')", "INSERT INTO prices VALUES ('N1', 1)")
    wanted = dict(before)
    assert world.deploy()["rollout"]["state"] == "online"
    level(world, wanted)
    for number in range(10, 13):
        world.release(
            f"UPDATE products SET name = 'Bench' WHERE sku = 'P{number}'",
            f"UPDATE prices SET price = {number} + 0.5 WHERE product = 'P7'",
        )
        assert world.deploy()["rollout"]["state"] == "online"
        wanted[f"P{number}"] = ("Bench",)
        level(world, wanted)
        assert world.crm_prices == prices
        world("verify", "uat")
    world.release("DELETE FROM products WHERE sku IN ('P7', 'N1')", "DELETE FROM prices WHERE product = 'N1'")
    assert world.deploy()["rollout"]["state"] == "online"
    del wanted["P7"]
    level(world, wanted)
    assert world.crm_prices == {**prices, "P7": ("12.50",)}
    assert titles(world)["P7"] == (None,)
    assert world.held() == []
    world("verify", "uat")


def test_tried_again(world: World) -> None:
    before = world.right
    world.release("UPDATE products SET name = repeat('x', 31) WHERE sku = 'P4'")
    assert world.deploy()["rollout"]["state"] == "online"
    level(world, before)
    listed = world.json("quarantine", "list", "--environment", "uat")["held_back"]
    assert [(row["environment"], row["system"], row["key"]) for row in listed] == [("uat", "pos", ["P4"])]
    assert world.run("quarantine", "release", "--key", "P4", "--reason", "r", "--config", world.config).code == 11
    world("quarantine", "retry", "--environment", "uat", "--key", "P4")
    assert world.held() == []
    world.release("UPDATE products SET name = 'Bench' WHERE sku = 'P9'")
    assert world.deploy()["rollout"]["state"] == "online"
    level(world, {**before, "P9": ("Bench",)})
    assert len(world.held()) == 1
    world.config.write_text(world.config.read_text().replace("text(30)", "text(40)"))
    world.stop("pos")
    world.start("pos")
    world("quarantine", "retry", "--environment", "uat", "--key", "P4")
    world.release("UPDATE products SET name = 'Table' WHERE sku = 'P9'")
    assert world.deploy()["rollout"]["state"] == "online"
    level(world, world.right)
    assert world.held() == []
    world("verify", "uat")


def test_a_new_column_while_rows_are_held_back(make_held_back: Callable[..., World]) -> None:
    world = make_held_back('table = "prices"', 'table = "prices"\ndrift = "evolve"')
    before = world.right
    world.release(UNFIT)
    assert world.deploy()["rollout"]["state"] == "online"
    world.release("ALTER TABLE prices ADD COLUMN note text", "UPDATE prices SET note = 'new' WHERE product = 'P7'")
    told = world.json("deploy", "uat", code=11)
    assert "rows of prices cannot be held back: it has another shape" in told["what"]
    assert (world.in_crm, world.crm_prices["P7"], titles(world)["P7"]) == (before, ("7.00",), ("Chair 7",))
    world.release("UPDATE products SET name = 'Isu' WHERE sku = 'P7'")
    assert world.deploy()["rollout"]["state"] == "online"
    level(world, world.right)
    world("verify", "uat")


def test_what_only_an_optional_system_cannot_take_stops_nobody(make_held_back: Callable[..., World]) -> None:
    world = make_held_back('adapter = "files"', 'adapter = "files"\nrequired = false')
    before = world.right
    world.release(UNFIT)
    assert world.deploy()["rollout"]["state"] == "online"
    assert world.in_crm == world.right == in_pos(world)
    assert world.in_billing == before
    world.release("UPDATE products SET name = 'Stool' WHERE sku = 'P8'")
    assert world.deploy()["rollout"]["state"] == "online"
    assert world.in_crm == world.right == in_pos(world)
    world.release("UPDATE products SET name = 'Isu' WHERE sku = 'P7'")
    assert world.deploy()["rollout"]["state"] == "online"
    level(world, world.right)
    assert world.held() == []


def test_what_a_new_mapping_cannot_take_of_what_is_online_is_refused_before_anything_is_asked(world: World) -> None:
    world.release("UPDATE products SET place = 'third shelf' WHERE sku = 'P3'")
    for verb in ("deploy", "refresh"):
        dry = world.json(verb, "uat", "--dry-run")
        assert "1 row would be held back: pos cannot take products P3" in dry["remarks"]
    assert world.held() == []
    before = world.deploy()["rollout"]["id"]
    world.config.write_text(world.config.read_text().replace("text(30)", "text(5)"))
    for words in (("deploy", "uat", "--dry-run"), ("deploy", "uat"), ("plan", "uat", "--exit-code")):
        told = world.json(*words, code=11)
        assert "is longer than 5 characters" in str(told)
    world.release("UPDATE products SET name = 'x' WHERE sku = 'P1'")
    assert "cannot be held back" in world.json("deploy", "uat", code=11)["what"]
    assert world.json("rollouts", "uat")["rollouts"][0]["id"] == before
