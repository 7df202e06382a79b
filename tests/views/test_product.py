"""One product in every environment and system, and its history, judged by the master as it was at each release."""

from __future__ import annotations

import pytest
from psycopg import connect

from distributor.errors import UsageError
from distributor.views.product import ProductRow
from tests.views.world import World

pytestmark = pytest.mark.services
COLUMNS = {"products": ("sku", "name", "price"), "offers": ("shop", "sku", "price")}
Told = tuple[int, str, dict[str, tuple[str | None, str | None]]]
"""Release, operation, and the fields that differ."""
P7, P8 = "WHERE sku = 'P7'", "WHERE sku = 'P8'"


def only(world: World, *key: str, **options: object) -> ProductRow:
    [row] = world.product(*key, **options).rows
    return row


def as_kept(world: World, release: int, dataset: str, *key: str) -> dict[str, str | None] | None:
    kept = world.row(release, dataset, *key)
    return dict(zip(COLUMNS[dataset], kept, strict=True)) if kept else None


def history(world: World, row: ProductRow, newest: int) -> list[Told]:
    """What the history must be: every two neighbouring snapshots compared."""
    found = []
    for release in range(newest, 0, -1):
        before, after = (as_kept(world, at, row.dataset, *row.key.values()) for at in (release - 1, release))
        if before == after:
            continue
        names = [name for name in COLUMNS[row.dataset] if name not in row.key]
        pairs = {name: ((before or {}).get(name), (after or {}).get(name)) for name in names}
        op = "insert" if before is None else "delete" if after is None else "update"
        found.append((release, op, {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}))
    return found


def told(row: ProductRow) -> list[Told]:
    return [
        (change.release, change.op, {field.column: (field.before, field.after) for field in change.fields})
        for change in row.history
    ]


def test_what_every_environment_shows_and_which_releases_changed_it(world: World) -> None:
    world.take("prod", 1)
    world.release(f"UPDATE products SET price = 9.99 {P7}")
    world.release(f"UPDATE products SET name = NULL {P8}")
    first = world.take("prod", 3)
    world.take("uat", 2)
    world.release(f"DELETE FROM products {P7}")
    world.release("INSERT INTO products VALUES ('P7', '', 1)")
    second = world.take("prod", 5)
    newest = world.release(f"UPDATE products SET name = 'Sofa', price = 2 {P7}")

    row = only(world, "P7")
    assert (row.dataset, row.key, row.row) == ("products", {"sku": "P7"}, as_kept(world, newest, "products", "P7"))
    assert told(row) == history(world, row, newest)
    assert [change.op for change in row.history] == ["update", "insert", "delete", "update", "insert"]
    assert (row.looked_back_to, row.stopped) == (1, "")
    shown = {place.environment: (place.release, place.known, place.row) for place in row.environments}
    assert shown == {
        "prod": (5, True, as_kept(world, 5, "products", "P7")),
        "uat": (2, True, as_kept(world, 2, "products", "P7")),
        "sit": (0, True, None),
    }
    online = {change.release: {place.environment: place for place in change.online} for change in row.history}
    assert online[6] == {}
    # A release that the environment never showed came with the next one that it did.
    assert {release: places["prod"].release for release, places in online.items() if places} == {5: 5, 4: 5, 2: 3, 1: 1}
    assert (online[5]["prod"].rollout, online[2]["prod"].rollout) == (second, first)
    assert {release for release, places in online.items() if "uat" in places} == {1, 2}
    with connect(world.estate.ledger) as ledger:
        [at] = ledger.execute("SELECT ended_at FROM ledger.rollouts WHERE id = %s", [first]).fetchone() or ()
    assert online[2]["prod"].at == at


def test_what_systems_make_of_it(world: World) -> None:
    world.take("uat", 1)
    world.release(f"UPDATE products SET name = 'Red sofa' {P7}", "UPDATE offers SET price = 1 WHERE sku = 'P8'")
    world.take("prod", 2)
    for key in (("north", "P7"), ("north", "P8")):
        row = only(world, *key)
        assert row.row == as_kept(world, 2, "offers", *key)
        # A changed name is none of the offer's own changes.
        assert [change.release for change in row.history] == ([1] if key[1] == "P7" else [2, 1])
        for place in row.environments:
            tables = {(system.system, table.table): table for system in place.systems for table in system.tables}
            if place.environment == "sit":
                assert {table.why for table in tables.values()} == {"nothing is shown yet"}
                continue
            assert tables["crm", "offers"].row == as_kept(world, place.release, "offers", *key)
            shelf, wanted = tables["shop", "shelf"], world.row(place.release, "shelf", *key)
            assert shelf.row == (
                dict(zip(("shop", "article", "title", "gross"), wanted, strict=True)) if wanted else None
            )
            assert shelf.why == ("" if wanted else "left out: its condition is price > 2")
            assert ("till", "till") not in tables, "it has no table of offers"
    # A member that lags shows what its own release has.
    world.take("prod", 2, shop=1)
    [prod] = [place for place in only(world, "north", "P8").environments if place.environment == "prod"]
    by_system = {system.system: (system.release, system.tables[0].row) for system in prod.systems}
    assert by_system["crm"] == (2, as_kept(world, 2, "offers", "north", "P8"))
    assert by_system["shop"][0] == 1
    assert (by_system["shop"][1] or {})["gross"] == (world.row(1, "shelf", "north", "P8") or ())[3]


def test_a_row_that_an_environment_holds_back(world: World) -> None:
    for environment in ("prod", "uat"):
        world.take(environment, 1)
    world.release(f"UPDATE products SET name = 'Sofa' {P7}", f"UPDATE products SET name = 'Bed' {P8}")
    world.hold_back("uat", "products", "P7", release=2)
    for environment in ("prod", "uat"):
        world.take(environment, 2)
    row = only(world, "P7")
    prod, _, uat = row.environments
    assert (prod.variant, prod.row, prod.held_back) == (False, as_kept(world, 2, "products", "P7"), ())
    assert (uat.release, uat.variant, uat.row) == (2, True, as_kept(world, 1, "products", "P7"))
    assert [(held.system, held.column, held.why) for held in uat.held_back] == [("till", "label", "is too long")]
    assert [place.environment for place in row.history[0].online] == ["prod"]
    [other] = [place for place in only(world, "P8").environments if place.environment == "uat"]
    assert (other.variant, other.row) == (True, as_kept(world, 2, "products", "P8"))
    # Once the master has changed it, it is tried again, and the change has come at last.
    world.release(f"UPDATE products SET name = 'Seat' {P7}")
    world.take("uat", 3)
    online = {change.release: {p.environment: p.release for p in change.online} for change in only(world, "P7").history}
    assert (online[2], online[3]) == ({"prod": 2, "uat": 3}, {"uat": 3})


def test_another_shape_is_no_end_of_its_history(world: World) -> None:
    world.estate.configure(
        products=world.estate.settings.master.datasets["products"].model_copy(update={"drift": "evolve"})
    )
    world.take("prod", 1)
    world.release(f"UPDATE products SET price = 4 {P7}")
    world.take("uat", 2)
    world.release("ALTER TABLE products ADD colour text DEFAULT 'red'")
    row = only(world, "P7")
    assert row.row == {**(as_kept(world, 2, "products", "P7") or {}), "colour": "red"}
    assert [(change.release, change.op) for change in row.history] == [(3, "update"), (2, "update"), (1, "insert")]
    assert [(field.column, field.before, field.after) for field in row.history[0].fields] == [("colour", None, "red")]
    assert "colour" in row.history[0].restart[0]
    shown = {place.environment: place.row for place in row.environments}
    assert shown["prod"] == as_kept(world, 1, "products", "P7")
    assert shown["uat"] == as_kept(world, 2, "products", "P7")


def test_a_product_that_is_gone_and_one_that_never_was(world: World) -> None:
    world.take("prod", 1)
    world.release(f"DELETE FROM products {P7}")
    row = only(world, "P7")
    assert row.row is None
    assert [change.op for change in row.history] == ["delete", "insert"]
    assert [place.row is not None for place in row.environments] == [True, False, False]
    for key, options, said in (
        (("P99",), {}, "no row of the key P99"),
        (("north", "P7", "x"), {}, "no key has 3 columns"),
        (("P8",), {"dataset": "offers"}, "no key has 1 column"),
        (("P8",), {"dataset": "prices"}, "there is no dataset 'prices'"),
    ):
        with pytest.raises(UsageError, match=said):
            world.product(*key, **options)


def test_only_so_many_changes_are_told(world: World) -> None:
    for price in range(5):
        world.release(f"UPDATE products SET price = {price} {P7}")
    world.take("prod", 5)
    row = only(world, "P7", limit=2)
    assert told(row) == history(world, row, 6)[:2]
    assert (row.looked_back_to, row.stopped) == (5, "2 changes were found")
    world.take("uat", 1)
    row = only(world, "P7", limit=2)
    assert (len(row.history), row.looked_back_to) == (2, 1)
    assert {place.environment: place.row for place in row.environments}["uat"] == as_kept(world, 1, "products", "P7")
    assert row.stopped == "2 changes were found"


def test_a_masked_environment_shows_what_its_edition_has(world: World) -> None:
    world.mask("uat", products={"sku": "token", "name": "fixed"}, offers={"sku": "token"})
    for environment in ("prod", "uat"):
        world.take(environment, 1)
    world.release(f"UPDATE products SET price = 3, name = 'Sofa' {P7}")
    world.take("uat", 2)
    row = only(world, "P7")
    prod, _, uat = row.environments
    assert (prod.masked, prod.row) == (None, as_kept(world, 1, "products", "P7"))
    assert (uat.masked, uat.known, uat.variant) == ("m", True, False)
    assert uat.row
    assert uat.row["price"] == "3"
    assert uat.row["sku"] not in (None, "P7")
    assert "Sofa" not in str(uat)
    assert "P7" not in str(uat)
    stored = world.masked_rows("uat")
    assert uat.row in stored
    assert len(stored) == 30
    tables = {system.system: system.tables for system in uat.systems}
    assert [table.row for table in tables["crm"] if table.table == "products"] == [uat.row]
    assert [table.row for table in tables["till"]] == [{"sku": uat.row["sku"], "label": uat.row["name"]}]
    assert {place.environment: place.release for place in row.history[0].online} == {"uat": 2}
    # What is held back is called by its masked key.
    world.release(f"UPDATE products SET price = 4 {P7}", f"UPDATE products SET price = 4 {P8}")
    world.hold_back("uat", "products", str(uat.row["sku"]), release=3)
    world.take("uat", 3)
    _, _, again = only(world, "P7").environments
    assert (again.release, again.variant, again.row) == (3, True, uat.row)
    assert [held.why for held in again.held_back] == ["is too long"]
    # Without its policy it is not known what it shows, and nothing is made to find out.
    world.mask("uat", products={"name": "null"})
    _, _, unknown = only(world, "P7").environments
    assert (unknown.known, unknown.row, unknown.masked) == (False, None, "m")
    assert len(only(world, "P7", environments=["prod"]).environments) == 1
