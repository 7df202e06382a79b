"""Rows are held back, and something is lost beside it: a member's store, an old release, a member that was away."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.cli import held_back
from tests.cli.held_back import Content, World
from tests.support import wait_for

pytestmark = [pytest.mark.services, pytest.mark.long]
make_held_back = held_back.make_held_back

UNFIT = "UPDATE products SET name = '椅子' WHERE sku = 'P7'"


def in_pos(world: World) -> Content:
    with closing(sqlite3.connect(world.config.parent / "pos.db")) as connection:
        return {row[0]: row[1:] for row in connection.execute("SELECT sku, name FROM products")}


def level(world: World, wanted: Content) -> None:
    assert world.in_crm == wanted
    assert world.in_billing == wanted
    assert in_pos(world) == wanted


def lose(world: World, system: str) -> None:
    """All that a system has, and its consumer's own directory."""
    world.stop(system)
    if system == "billing":
        shutil.rmtree(world.billing)
    else:
        for path in world.config.parent.glob("pos.db*"):
            path.unlink()
    shutil.rmtree(world.config.parent / ".distributor" / "consumers" / f"uat.{system}")
    world.start(system)


def test_lost_stores_and_collected_releases(make_held_back: Callable[..., World]) -> None:
    world = make_held_back('path = "store"', 'path = "store"\nkeep = "1s"\ngrace = "0s"\ncompact_after = 0')
    before = world.right
    world.release(UNFIT, "UPDATE products SET name = 'Stool' WHERE sku = 'P8'")
    assert world.deploy()["rollout"]["state"] == "online"
    second = {**before, "P8": ("Stool",)}
    world.release("UPDATE products SET name = 'Bench' WHERE sku = 'P9'")
    assert world.deploy()["rollout"]["state"] == "online"
    third = {**second, "P9": ("Bench",)}
    level(world, third)
    world("compact", "--release", "2")
    assert world.json("gc")["oldest"] == 2
    level(world, third)
    # A store is lost while a variant is shown.
    for system in ("pos", "billing"):
        lose(world, system)
    assert world.deploy()["rollout"]["state"] == "online"
    level(world, third)
    world("rollback", "uat", "--reason", "r")
    level(world, second)
    lose(world, "billing")
    world.json("refresh", "uat", "--systems", "billing", "--reason", "r")
    level(world, second)
    world("verify", "uat")
    world.release("UPDATE products SET name = 'Isu' WHERE sku = 'P7'")
    assert world.deploy()["rollout"]["state"] == "online"
    level(world, world.right)
    world("verify", "uat")


def kept_for_an_hour(world: World) -> World:
    """Whoever is late can be brought level for so long."""
    world.config.write_text(world.config.read_text().replace('keep_previous = "0s"', 'keep_previous = "1h"'))
    return world


def test_who_was_away_over_many_variants_comes_level(make_held_back: Callable[..., World]) -> None:
    world = kept_for_an_hour(make_held_back('url = "sqlite:///pos.db"', 'url = "sqlite:///pos.db"\nrequired = false'))
    before = world.right
    world.release(UNFIT)
    assert world.deploy()["rollout"]["state"] == "online"

    def shown_by_pos() -> int:
        [environment] = world.json("status", "uat")["environments"]
        return int(next(member["release"] for member in environment["members"] if member["system"] == "pos"))

    wait_for(lambda: shown_by_pos() == 2, 60, "pos, which is not waited for")
    assert in_pos(world) == before
    world.stop("pos")
    wanted = dict(before)
    for number in range(20, 23):
        world.release(
            f"UPDATE products SET name = 'Bench' WHERE sku = 'P{number}'",
            f"UPDATE products SET name = '新 {number}' WHERE sku = 'P5'",
        )
        assert world.deploy()["rollout"]["state"] == "online"
        wanted[f"P{number}"] = ("Bench",)
        assert world.in_crm == wanted == world.in_billing
    world.start("pos")
    world("refresh", "uat", "--systems", "pos", "--reason", "it is back")
    wait_for(lambda: in_pos(world) == wanted, 60, "pos, which was away")
    world.stop("billing")
    world.release("UPDATE products SET name = 'Bench' WHERE sku = 'P30'")
    world.json("deploy", "uat", "--no-wait")
    world.start("billing")
    wanted["P30"] = ("Bench",)
    wait_for(lambda: in_pos(world) == wanted == world.in_billing, 60, "billing, which was away")
    assert world.in_crm == wanted
    world("verify", "uat")


def prices_in_pos(world: World) -> Content:
    with closing(sqlite3.connect(world.config.parent / "pos.db")) as connection:
        return {row[0]: tuple(map(str, row[1:])) for row in connection.execute("SELECT product, price FROM prices")}


def test_shapes_that_change_and_change_back_while_a_system_is_away(make_held_back: Callable[..., World]) -> None:
    optional = ('url = "sqlite:///pos.db"', 'url = "sqlite:///pos.db"\nrequired = false')
    world = kept_for_an_hour(make_held_back(*optional, evolving=("prices",)))
    world.stop("pos")
    # A product without a price: one with a price could not be held back over a change of the prices' columns.
    world.release("INSERT INTO products VALUES ('Q1', '新', '1')", "UPDATE prices SET price = 1.5 WHERE product = 'P8'")
    assert world.deploy()["rollout"]["state"] == "online"
    for statement in (
        "ALTER TABLE prices ALTER COLUMN price TYPE numeric(14,4)",
        "UPDATE prices SET price = 1.2345 WHERE product = 'P9'",
        "ALTER TABLE prices ADD COLUMN note text",
        "ALTER TABLE prices DROP COLUMN note",
        "ALTER TABLE prices ALTER COLUMN price TYPE numeric(10,2)",
    ):
        world.release(statement)
        assert world.deploy()["rollout"]["state"] == "online"
    right = world.asked(world.master, "SELECT product, price::text FROM prices")
    assert world.crm_prices == right
    world.start("pos")
    world("refresh", "uat", "--systems", "pos", "--reason", "it is back")
    plain = {key: (str(float(str(row[0]))).removesuffix(".0"),) for key, row in right.items()}
    wait_for(lambda: prices_in_pos(world) == plain, 60, "pos, which was away")
    assert "Q1" not in in_pos(world)
    assert [key for key, _, _ in world.held()] == ["Q1"]
    world("verify", "uat")
