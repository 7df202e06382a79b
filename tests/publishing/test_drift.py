"""A table that changes its shape: what each policy makes of it, seen by the oracle that replays every changeset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from distributor.errors import SchemaError
from distributor.model.manifest import Counts
from distributor.settings import Dataset, SystemSettings
from distributor.store.compose import net_delta
from distributor.store.ways import Ways
from tests.capture.master import install_capture, journal
from tests.publishing.estate import Estate, texts

PRODUCTS = "CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL, price numeric(10,2))"
BRANDS = "CREATE TABLE brands (name text PRIMARY KEY)"
FILL = "INSERT INTO products SELECT n, 'product ' || n, n + 0.50 FROM generate_series(1, 50) AS n"


def drifting(policy: Literal["stop", "evolve", "ignore"], **more: object) -> Dataset:
    return Dataset.model_validate({"table": "products", "drift": policy, **more})


@pytest.fixture
def estate(database: Callable[[], str], tmp_path: Path) -> Estate:
    """Fifty products that evolve, and a dataset beside them; both published as release 1."""
    configured = {"products": drifting("evolve"), "brands": Dataset(table="brands")}
    made = Estate.create(database, tmp_path / "store", configured, PRODUCTS, BRANDS, FILL)
    assert made.publish().release == 1
    return made


CHANGES = {
    "new": ("ALTER TABLE products ADD COLUMN colour text DEFAULT 'red'", "column colour is new"),
    "gone": ("ALTER TABLE products DROP COLUMN price", "column price is gone"),
    "renamed": ("ALTER TABLE products RENAME COLUMN price TO amount", "column price was renamed to amount"),
    "key renamed": (
        "ALTER TABLE products RENAME COLUMN id TO number",
        "column id was renamed to number",
    ),
    "looks renamed": (
        "ALTER TABLE products ADD COLUMN amount numeric(10,2); UPDATE products SET amount = price;"
        " ALTER TABLE products DROP COLUMN price",
        "column amount is new; column price is gone",
    ),
    "retyped": (
        "ALTER TABLE products ALTER COLUMN price TYPE text",
        "column price was decimal(10,2) and is text",
    ),
    "nullable": ("ALTER TABLE products ALTER COLUMN name DROP NOT NULL", "column name may be null now"),
    "another key": (
        "ALTER TABLE products DROP CONSTRAINT products_pkey; ALTER TABLE products ADD PRIMARY KEY (name)",
        "the key was (id) and is (name)",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_evolve_carries_the_dataset_anew_in_its_new_shape(estate: Estate, change: str) -> None:
    statement, told = CHANGES[change]
    estate.run("UPDATE products SET name = 'x' WHERE id = 1", "INSERT INTO brands VALUES ('b')", statement)
    result = estate.publish()
    assert result.release == 2
    assert result.counts == {"products": Counts(inserts=50), "brands": Counts(inserts=1)}
    assert "; ".join(result.restarts["products"]) == told
    manifest = estate.head()
    assert manifest.restarts == {"products": result.restarts["products"]}
    assert journal(estate.master) == {}
    schema = manifest.schema_of("products")
    key = list(schema.column_names).index(schema.key[0])
    columns = ", ".join(
        f"trim_scale({name})::text" if str(column.type).startswith("decimal") else f"{name}::text"
        for name, column in zip(schema.column_names, schema.columns, strict=True)
    )
    rows = texts(estate.master, f"SELECT {columns} FROM products", len(schema.columns))
    estate.check("products", {(row[key],): row for row in rows.values()})
    # And on it goes, by deltas.
    estate.run("UPDATE brands SET name = 'c'")
    assert estate.publish().restarts == {}
    assert estate.head().restarts == {}


def test_writes_fail_from_the_renaming_of_a_key_until_capture_is_installed_again(estate: Estate) -> None:
    estate.run("ALTER TABLE products RENAME COLUMN id TO number")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        estate.run("UPDATE products SET name = 'x' WHERE number = 1")
    install_capture(estate.master, estate.settings.master.datasets)
    estate.run("UPDATE products SET name = 'x' WHERE number = 1")
    assert estate.publish().release == 2
    estate.run("UPDATE products SET name = 'y' WHERE number = 1")
    result = estate.publish()
    assert (result.whole, result.counts["products"]) == ((), Counts(updates=1))


def test_a_column_that_a_mapping_names_cannot_go(estate: Estate) -> None:
    system = SystemSettings.model_validate({"tables": [{"dataset": "products", "columns": ["id", "price"]}]})
    estate.settings = estate.settings.model_copy(update={"systems": {"shop": system}})
    estate.run("ALTER TABLE products ADD COLUMN colour text")
    assert estate.publish().release == 2
    estate.run("ALTER TABLE products DROP COLUMN price")
    with pytest.raises(SchemaError, match=r"price.*products: column price is gone"):
        estate.publish()
    assert estate.head().release == 2


def test_an_empty_table_that_evolves_is_a_release_too(estate: Estate) -> None:
    estate.run("DELETE FROM products")
    assert estate.publish().release == 2
    estate.run("ALTER TABLE products ADD COLUMN colour text")
    assert estate.publish().release == 3
    assert [column.name for column in estate.head().schema_of("products").columns] == ["id", "name", "price", "colour"]
    estate.check("products", {})


def test_a_dry_run_says_what_would_evolve_and_changes_nothing(estate: Estate) -> None:
    estate.run("ALTER TABLE products ADD COLUMN colour text")
    assert estate.publish(dry_run=True).restarts == {"products": ("column colour is new",)}
    assert estate.head().release == 1
    estate.check("products", texts(estate.master, "SELECT id::text, name, trim_scale(price)::text FROM products"))


def test_a_chain_over_two_shapes_starts_at_the_newest_one(estate: Estate) -> None:
    estate.run("UPDATE products SET price = 1 WHERE id = 1")
    estate.publish()
    estate.run("ALTER TABLE products ADD COLUMN colour text")
    estate.publish()
    estate.run("UPDATE products SET colour = 'red' WHERE id < 3", "DELETE FROM products WHERE id = 50")
    last = estate.publish()
    assert last.release == 4
    assert last.manifest
    schema = estate.head().schema_of("products")
    ways = Ways(estate.store, last.manifest, 4)
    first = estate.scalar(estate.ledger, "SELECT manifest FROM ledger.releases WHERE number = 1")
    for chain in (ways.delta(str(first), 1), ways.anew()):
        assert chain.restarts("products")
        assert not chain.restarts("brands")
        assert chain.rows == 50 + 3
        rows = [row for table in net_delta(estate.store, chain, schema) for row in table.to_pylist()]
        assert {row["op"] for row in rows} == {"insert"}
        found = {(row["after.id"],): tuple(row[f"after.{name}"] for name in schema.column_names) for row in rows}
        assert found == estate.replayed["products"]
    back = Ways(estate.store, str(first), 1).delta(last.manifest, 4)
    assert back.lost("products")
    assert not back.lost("brands")


def test_ignore_leaves_new_columns_out_and_goes_on(estate: Estate) -> None:
    estate.configure(products=drifting("ignore"))
    estate.run(
        "ALTER TABLE products ADD COLUMN colour text", "UPDATE products SET colour = 'red', name = 'x' WHERE id = 1"
    )
    result = estate.publish()
    assert result.ignored == {"products": ("column colour is new",)}
    assert (result.restarts, result.counts["products"]) == ({}, Counts(updates=1))
    rows = texts(estate.master, "SELECT id::text, name, trim_scale(price)::text FROM products")
    estate.check("products", rows)
    estate.run("UPDATE products SET colour = 'green'")
    assert estate.publish().release is None


@pytest.mark.parametrize("change", sorted(CHANGES.keys() - {"new"}))
def test_ignore_refuses_what_cannot_be_left_out(estate: Estate, change: str) -> None:
    estate.configure(products=drifting("ignore"))
    statement, told = CHANGES[change]
    estate.run("UPDATE products SET name = 'x' WHERE id = 1", statement)
    with pytest.raises(SchemaError) as refused:
        estate.publish()
    assert told in str(refused.value)
    assert 'drift = "evolve"' in str(refused.value)
    assert estate.head().release == 1


def test_stop_names_the_change_and_goes_on_as_soon_as_it_may_evolve(estate: Estate) -> None:
    estate.configure(products=drifting("stop"))
    estate.run("ALTER TABLE products RENAME COLUMN price TO amount", "UPDATE products SET name = 'x' WHERE id = 1")
    with pytest.raises(SchemaError, match="column price was renamed to amount"):
        estate.publish()
    assert journal(estate.master)["products"] == {"1"}
    estate.configure(products=drifting("evolve"))
    assert estate.publish().release == 2
    estate.check("products", texts(estate.master, "SELECT id::text, name, trim_scale(amount)::text FROM products"))
