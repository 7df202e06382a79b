"""Rows are held back, and something is lost beside it: a member's store, an old release, a member that was away."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.cli import held_back
from tests.cli.held_back import Content, World

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
