"""Rows that one system cannot take, over real consumers and stores: nobody gets them, and everything else goes on."""

from __future__ import annotations

import pytest

from tests.cli import held_back
from tests.cli.held_back import World

pytestmark = pytest.mark.services
make_held_back = held_back.make_held_back
world = held_back.world


def test_what_a_store_cannot_hold_stays_as_it_was_everywhere(world: World) -> None:
    before, prices = world.right, world.crm_prices
    world.release(
        "UPDATE products SET name = '椅子' WHERE sku = 'P7'",
        "UPDATE products SET name = 'Stool' WHERE sku = 'P8'",
        "INSERT INTO products VALUES ('N1', '新', '1'), ('N2', 'new', '2')",
        "INSERT INTO prices VALUES ('N1', 1), ('N2', 2)",
        "UPDATE prices SET price = 99 WHERE product IN ('P7', 'P8')",
    )
    told = world.deploy()
    assert (told["rollout"]["state"], told["rollout"]["release"]) == ("online", 2)
    wanted = {**before, "P8": ("Stool",), "N2": ("new",)}
    assert world.in_crm == wanted == world.in_billing
    assert world.crm_prices == {**prices, "P8": ("99.00",), "N2": ("2.00",)}
    why = "has a character that iso-8859-1 lacks"
    assert [row[:2] for row in world.held()] == [("N1", "billing.products"), ("P7", "billing.products")]
    assert all(why in row[2] for row in world.held())

    world.release("UPDATE products SET name = 'Bench' WHERE sku = 'P9'")
    assert world.deploy()["rollout"]["state"] == "online"
    assert world.in_crm == {**wanted, "P9": ("Bench",)} == world.in_billing
    assert len(world.held()) == 2

    world.release("UPDATE products SET name = 'Isu' WHERE sku IN ('P7', 'N1')")
    assert world.deploy()["rollout"]["state"] == "online"
    assert world.in_crm == world.right == world.in_billing
    assert world.held() == []
    world("verify", "uat")


def test_what_a_mapping_fails_on_is_held_back_before_anything_is_staged(world: World) -> None:
    before = world.right
    world.release(
        "UPDATE products SET place = 'third shelf' WHERE sku = 'P3'",
        "UPDATE products SET name = repeat('x', 31) WHERE sku = 'P4'",
        "UPDATE products SET name = 'fine' WHERE sku = 'P5'",
    )
    assert world.deploy()["rollout"]["state"] == "online"
    assert world.in_crm == {**before, "P5": ("fine",)}
    assert [row[:2] for row in world.held()] == [("P3", "pos.products"), ("P4", "pos.products")]
    assert "31" not in str(world.held())


def test_over_the_budget_nothing_is_rolled_out(world: World) -> None:
    before = world.right
    world.release("UPDATE products SET name = '椅子' WHERE substr(sku, 2)::int < 30")
    told = world.deploy(code=12)
    assert told["rollout"]["state"] == "abandoned"
    assert world.in_crm == before
