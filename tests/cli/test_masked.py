"""A masked environment beside a clear one: whatever is done to it, no clear value comes there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import masked
from tests.cli.masked import World

pytestmark = pytest.mark.services
make_masked = masked.make_masked

JOINED = "SELECT count(*), count(DISTINCT maker) FROM {} WHERE maker IS NOT NULL"


@pytest.fixture
def world(make_masked: Callable[..., World]) -> World:
    return make_masked()


def check(world: World) -> None:
    """The masked environment has the rows of the master, masked: as many, joining as often; and nothing in clear."""
    [(suppliers,)] = world.asked("master", "SELECT count(*) FROM suppliers")
    [(products,)] = world.asked("master", "SELECT count(*) FROM products")
    joins = "SELECT count(*), count(DISTINCT s.name) FROM products p JOIN suppliers s ON s.id = p.supplier"
    for where, tables in (("crm", "products"), ("uat", "till")):
        assert world.asked(where, "SELECT count(*) FROM suppliers") == {(suppliers,)}
        assert world.asked(where, f"SELECT count(*) FROM {tables}") == {(products,)}
        assert world.asked(where, joins.replace("products", tables)) == world.asked("master", joins)
    tokens = world.asked("crm", "SELECT id::bigint, name, phone FROM suppliers")
    assert {(int(str(i)), n, p) for i, n, p in world.asked("uat", "SELECT id, name, phone FROM suppliers")} == tokens
    assert world.asked("crm", "SELECT note FROM suppliers") <= {(None,)}
    assert {len(str(phone)) for _, _, phone in tokens} == {12}
    assert world.asked("uat", JOINED.format("till")) == world.asked("master", joins)
    [(wrong,)] = world.asked(
        "uat",
        "SELECT count(*) FROM till t JOIN suppliers s ON s.id = t.supplier"
        " WHERE t.maker <> s.name OR substr(t.label, -length(s.phone)) <> s.phone",
    )
    assert wrong == 0
    assert world.asked("crm", "SELECT sku FROM products") == world.asked("master", "SELECT sku FROM products")
    assert not world.leaks()


CHANGE = (
    "UPDATE suppliers SET name = 'Clear Renamed ' || id WHERE id % 7 = 0",
    "UPDATE products SET ean = '9006381' || right(ean, 6), cost = cost + 1 WHERE supplier % 5 = 0",
    "INSERT INTO suppliers VALUES (744200001, 'Clear Newcomer', '0111-9998880', 'Clear note new')",
    "UPDATE products SET supplier = 744200001 WHERE sku = 'SKU-7'",
    "DELETE FROM products WHERE supplier = 734100005",
    "DELETE FROM suppliers WHERE id = 734100005",
)


def test_one_release_in_two_environments_one_of_which_must_not_see_it(world: World) -> None:
    for environment in ("prod", "uat"):
        assert world.deploy(environment)["rollout"]["release"] == 1
    check(world)
    clear = world.asked("prod", "SELECT sku, maker FROM till")
    assert clear == world.asked(
        "master", "SELECT p.sku, s.name FROM products p LEFT JOIN suppliers s ON s.id = p.supplier"
    )
    one = world.asked("uat", "SELECT * FROM till")
    assert world.release(*CHANGE) == 2
    planned = world("plan", "uat").out + world("plan", "uat", "--json").out
    assert not {value for value in world.clear if value in planned}
    assert "Clear Renamed" in world("plan", "prod", "--json").out
    for environment in ("prod", "uat"):
        assert world.deploy(environment)["rollout"]["release"] == 2
    check(world)
    assert world.json("verify", "uat")["different"] is False
    world("rollback", "uat", "--reason", "back")
    assert world.asked("uat", "SELECT * FROM till") == one
    assert not world.leaks()
    world.deploy("uat", "--release", 2)
    check(world)


def test_what_somebody_wrote_by_hand_is_found_and_mended_masked(world: World) -> None:
    world.deploy("uat")
    world.settled("uat")
    before = world.asked("uat", "SELECT * FROM suppliers"), world.asked("crm", "SELECT * FROM products")
    world.edit("uat", "UPDATE {slot}suppliers SET name = 'by hand' WHERE id = (SELECT min(id) FROM {slot}suppliers)")
    world.edit("crm", "DELETE FROM {slot}products WHERE sku = 'SKU-9'")
    told = world.json("verify", "uat", "--repair", code=0)
    assert {system["system"]: system["mended"] for system in told["systems"]} == {"crm": True, "pos": True}
    assert (world.asked("uat", "SELECT * FROM suppliers"), world.asked("crm", "SELECT * FROM products")) == before
    check(world)
    assert world.json("verify", "uat")["different"] is False


def test_a_consumer_that_is_given_nothing_but_the_edition(make_masked: Callable[..., World], tmp_path: Path) -> None:
    world = make_masked(consumers=("uat.crm",))
    [edition] = world.editions
    alone = tmp_path / "elsewhere"
    shutil.copytree(edition, alone / "edition")
    (alone / "distributor.toml").write_text(world.written(store="edition", secret="this host does not know it"))
    world.start("uat.pos", alone / "distributor.toml")
    world.deploy("uat")
    check(world)
    world.stop("uat.pos")
    world.release(*CHANGE)
    shutil.copytree(edition, alone / "edition", dirs_exist_ok=True)
    world.start("uat.pos", alone / "distributor.toml")
    world.deploy("uat")
    check(world)
    assert not world.leaks(alone)


def test_a_changed_policy_takes_every_member_to_another_edition(world: World) -> None:
    world.deploy("uat")
    one = world.asked("uat", "SELECT * FROM till")
    world.release(*CHANGE)
    world.restart(secret="a secret that nobody knows")
    assert world.json("plan", "uat")["different"] is True
    world.deploy("uat")
    check(world)
    assert not {row[1] for row in one} & {row[1] for row in world.asked("uat", "SELECT * FROM till")} - {None}
    assert len(world.editions) == 2
    assert world.json("verify", "uat")["different"] is False
    world("rollback", "uat", "--reason", "back")
    assert [told["release"] for told in world.json("status", "uat")["environments"]] == [1]
    assert not world.leaks()
