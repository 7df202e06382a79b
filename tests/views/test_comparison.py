"""Two environments side by side, judged by the master as it was at the releases that they show."""

from __future__ import annotations

from itertools import permutations

import pytest

from distributor.errors import UsageError
from distributor.views.comparison import Comparison
from tests.views.world import Rows, World

pytestmark = pytest.mark.services
NAMES = {"products": ("sku", "name", "price"), "offers": ("shop", "sku", "price")}
KEY = {"products": ("sku",), "offers": ("shop", "sku")}
Fields = dict[str, tuple[str | None, str | None]]


def wanted(one: Rows, other: Rows, dataset: str) -> dict[tuple[str, ...], tuple[str, Fields]]:
    """Key → what happens to the row, and the fields that differ."""
    found = {}
    for key in one.keys() | other.keys():
        before, after = (dict(zip(NAMES[dataset], side.get(key) or (), strict=False)) for side in (one, other))
        if before == after:
            continue
        op = "update" if before and after else "insert" if after else "delete"
        fields = {
            name: (before.get(name), after.get(name))
            for name in NAMES[dataset]
            if name not in KEY[dataset] and before.get(name) != after.get(name)
        }
        found[key] = (op, fields)
    return found


def check(found: Comparison, one: dict[str, Rows], other: dict[str, Rows]) -> None:
    """All rows were asked for."""
    for part in found.datasets:
        rows = wanted(one.get(part.dataset, {}), other.get(part.dataset, {}), part.dataset)
        told = {
            tuple(str(row.key[name]) for name in KEY[part.dataset]): (
                row.op,
                {field.column: (field.before, field.after) for field in row.fields},
            )
            for row in part.sample
        }
        assert told == rows
        ops = [op for op, _ in rows.values()]
        assert (part.rows_in, part.rows_updated, part.rows_out) == tuple(map(ops.count, ("insert", "update", "delete")))
    assert found.same == all(one.get(name, {}) == other.get(name, {}) for name in NAMES)


def test_how_two_environments_differ(world: World) -> None:
    world.release("UPDATE products SET price = price + 1 WHERE sku LIKE 'P1%'")
    world.release("DELETE FROM offers WHERE sku IN ('P3', 'P4')", "INSERT INTO products VALUES ('new', '', NULL)")
    world.release("UPDATE products SET price = price - 1 WHERE sku LIKE 'P1%'")
    shown = {"prod": 4, "uat": 2, "sit": 0}
    for name, release in shown.items():
        world.take(name, release)
    for first, second in permutations(shown, 2):
        found = world.comparison(first, second, limit=100)
        assert (found.first.release, found.second.release) == (shown[first], shown[second])
        check(found, world.kept.get(shown[first], {}), world.kept.get(shown[second], {}))
        for side, name in ((found.first, first), (found.second, second)):
            assert (side.environment, side.variant, side.held_back, side.state) == (name, False, 0, "idle")
            assert (side.published_at is None) == (name == "sit")
    # What was changed and changed back is no difference; a sample is part of it.
    few = world.comparison("uat", "prod", limit=1)
    [products] = [part for part in few.datasets if part.dataset == "products"]
    assert (products.rows_in, products.rows_updated, len(products.sample)) == (1, 11, 1)
    systems = {system.system: system for system in few.systems}
    assert sorted(systems) == ["crm", "shop", "till"]
    assert systems["till"].second is None
    assert systems["crm"].first
    assert systems["crm"].second
    assert (systems["crm"].first.release, systems["crm"].second.release) == (2, 4)

    world.take("uat", 4)
    same = world.comparison("uat", "prod")
    assert same.same
    assert not any(part.rows_in or part.rows_updated or part.rows_out for part in same.datasets)


def test_what_one_holds_back_is_a_difference(world: World) -> None:
    for name in ("prod", "uat"):
        world.take(name, 1)
    world.release("UPDATE products SET name = 'Sofa' WHERE sku IN ('P7', 'P8')")
    world.hold_back("uat", "products", "P7", release=2)
    for name in ("prod", "uat"):
        world.take(name, 2)
    found = world.comparison("prod", "uat")
    assert (found.second.variant, found.second.held_back, found.same) == (True, 1, False)
    [products] = [part for part in found.datasets if part.dataset == "products"]
    [row] = products.sample
    assert row.key == {"sku": "P7"}
    assert [(field.before, field.after) for field in row.fields] == [("Sofa", "Chair 7")]


def test_over_another_shape_all_rows_are_new(world: World) -> None:
    evolve = world.estate.settings.master.datasets["products"].model_copy(update={"drift": "evolve"})
    world.estate.configure(products=evolve)
    world.take("prod", 1)
    world.release("ALTER TABLE products ADD colour text")
    world.take("uat", 2)
    for first, second in (("prod", "uat"), ("uat", "prod")):
        found = world.comparison(first, second)
        parts = {part.dataset: part for part in found.datasets}
        assert (parts["products"].rows_in, parts["products"].sample) == (30, ())
        assert parts["products"].anew
        assert not parts["offers"].anew
        assert not found.same


def test_rows_that_are_masked_otherwise_are_not_laid_side_by_side(world: World) -> None:
    for name in ("uat", "sit"):
        world.mask(name, products={"name": "fixed"})
    for name in ("prod", "uat"):
        world.take(name, 1)
    world.release("UPDATE products SET name = 'Sofa', price = 1 WHERE sku = 'P7'")
    world.take("sit", 2)
    found = world.comparison("prod", "uat")
    assert found.incomparable == "prod sees the rows in clear, uat masked by m"
    assert (found.first.masked, found.second.masked, found.same, found.datasets) == (None, "m", False, ())
    found = world.comparison("uat", "sit")
    [products] = [part for part in found.datasets if part.dataset == "products"]
    assert (found.incomparable, products.rows_updated, products.rows_in) == ("", 1, 0)
    assert [field.column for field in products.sample[0].fields] == ["price"]


def test_two_are_needed(world: World) -> None:
    for first, second, said in (("prod", "prod", "one environment"), ("prod", "nowhere", "no environment 'nowhere'")):
        with pytest.raises(UsageError, match=said):
            world.comparison(first, second)
