"""Joined datasets and certificates of mapped tables in releases, judged by the master's own joins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from distributor.errors import ConfigError
from distributor.mapping.compiled import compile_system
from distributor.model.certificate import certify
from distributor.model.manifest import Counts
from distributor.settings import Dataset, SystemSettings
from distributor.settings.systems import ColumnSettings, TableSettings
from tests.capture.master import datasets, install_capture
from tests.publishing.estate import Estate, Rows, texts

pytestmark = pytest.mark.services

PRODUCTS = 'CREATE TABLE products (id int PRIMARY KEY, name text, "list %s" text, price numeric(10,2))'
OFFERS = "CREATE TABLE offers (shop text, product_id int, price numeric(10,2), PRIMARY KEY (shop, product_id))"
FILL = "INSERT INTO products SELECT n, 'product ' || n, 'l' || n % 5, n + 0.50 FROM generate_series(1, 50) AS n"
OFFER = "INSERT INTO offers SELECT 'shop ' || s, p, p * s FROM generate_series(1, 3) AS s, generate_series(1, 60) AS p"
JOINED = """
    SELECT o.shop, o.product_id::text, trim_scale(o.price)::text, p."list %s", p.name
    FROM offers AS o LEFT JOIN products AS p ON p.id = o.product_id"""
SHOWN = """
    SELECT o.shop, o.product_id::text, upper(p.name), trim_scale(round(o.price * 1.19, 2))::text
    FROM offers AS o LEFT JOIN products AS p ON p.id = o.product_id WHERE o.price > 30 AND p."list %s" <> 'l3'"""
TABLE = TableSettings(
    dataset="offers",
    into="shelf",
    where="price > 30 AND products.\"list %s\" <> 'l3'",
    columns={
        "shop": "shop",
        "article": "product_id",
        "title": ColumnSettings(expr="upper(product_id.name)", type="text"),
        "gross": ColumnSettings(expr="price * 1.19", type="decimal(12,2)"),
    },
)


def oracle(query: str) -> Callable[[Estate], Rows]:
    return lambda estate: texts(estate.master, query, key=2)


joined_rows, shown_rows = oracle(JOINED), oracle(SHOWN)


def with_tables(estate: Estate, *tables: TableSettings) -> None:
    systems = {"shop": SystemSettings(tables=tables)}
    estate.settings = estate.settings.model_copy(update={"systems": systems})


def check(estate: Estate) -> None:
    """The joined rows by image, changesets and certificate; the system's by the certificate in the manifest."""
    estate.check("offers.joined", joined_rows(estate))
    head = estate.head()
    (table,) = compile_system(estate.settings.mapping("shop"), head)
    assert head.mapped[table.fingerprint] == certify("offers", (0, 1), shown_rows(estate).values())
    assert set(head.counts) <= {"products", "offers"}


@pytest.fixture
def estate(database: Callable[[], str], tmp_path: Path) -> Estate:
    configured = {
        **datasets(products="products"),
        "offers": Dataset(table="offers", references={"product_id": "products"}),
    }
    made = Estate.create(database, tmp_path / "store", configured, PRODUCTS, FILL, OFFERS, OFFER)
    with_tables(made, TABLE)
    assert made.publish().release == 1
    check(made)
    return made


def test_a_referenced_row_brings_those_that_reference_it(estate: Estate) -> None:
    estate.run("UPDATE products SET name = 'renamed' WHERE id IN (1, 2)")
    assert estate.publish().counts == {"products": Counts(updates=2), "offers": Counts()}
    check(estate)
    chunks = [chunk for chunk in estate.head().chunks if chunk.dataset == "offers.joined"]
    assert sum(chunk.rows for chunk in chunks) == 6


def test_a_column_that_nobody_reads_brings_none(estate: Estate) -> None:
    estate.run("UPDATE products SET price = 0 WHERE id < 10")
    estate.publish()
    check(estate)
    assert not [chunk for chunk in estate.head().chunks if chunk.dataset == "offers.joined"]


def test_rows_come_and_go_on_both_sides(estate: Estate) -> None:
    for statements in (
        ["DELETE FROM products WHERE id IN (40, 41)"],
        ["INSERT INTO products SELECT n, 'late ' || n, 'l' || n % 5, 1 FROM generate_series(51, 70) AS n"],
        ["DELETE FROM offers WHERE product_id = 45", "UPDATE products SET name = 'x' WHERE id = 45"],
        ["UPDATE offers SET product_id = 99 WHERE shop = 'shop 1' AND product_id = 30", "DELETE FROM products"],
        ["TRUNCATE offers"],
    ):
        estate.run(*statements)
        assert estate.publish().release
        check(estate)


@pytest.mark.long
def test_more_than_one_slice_of_keys(estate: Estate) -> None:
    estate.run("INSERT INTO offers SELECT 'mass ' || s, 7, s FROM generate_series(1, 21000) AS s")
    estate.publish()
    check(estate)
    estate.run("UPDATE products SET name = 'seven' WHERE id = 7")
    estate.publish()
    check(estate)


def test_a_mapping_that_needs_it_later_is_reason_enough_for_a_release(estate: Estate) -> None:
    with_tables(estate, TABLE.model_copy(update={"where": "", "columns": {"shop": "shop", "article": "product_id"}}))
    estate.run("UPDATE products SET name = 'unseen' WHERE id = 1")
    assert estate.publish().release == 2
    assert [schema.dataset for schema in estate.head().schemas] == ["products", "offers"]
    with_tables(estate, TABLE)
    assert estate.publish().release == 3
    assert "offers.joined" in estate.head().restarts
    check(estate)
    assert estate.publish().release is None


def test_a_row_that_does_not_go_through_leaves_the_certificate_to_the_first_need(estate: Estate) -> None:
    number = ColumnSettings(expr="cast(name as integer)", type="integer")
    with_tables(estate, TABLE, TableSettings(dataset="products", columns={"id": "id", "number": number}))
    estate.run("UPDATE products SET name = id::text")
    estate.publish()
    tables = compile_system(estate.settings.mapping("shop"), estate.head())
    assert [table.name for table in tables if table.fingerprint in estate.head().mapped] == ["shelf"]


@pytest.mark.parametrize(
    ("expr", "message"),
    [("nobody.name", "no reference"), ("product_id.colour", "has no column 'colour'")],
)
def test_what_cannot_be_read_is_named(estate: Estate, expr: str, message: str) -> None:
    columns = {"shop": "shop", "article": "product_id", "x": ColumnSettings(expr=expr, type="text")}
    with pytest.raises(ConfigError, match=message):  # noqa: PT012
        with_tables(estate, TABLE.model_copy(update={"columns": columns}))
        estate.publish()


def test_capture_is_not_asked_for_joined_datasets(estate: Estate) -> None:
    install_capture(estate.master, estate.settings.master.datasets)
    assert estate.publish().release is None
