"""Products, and prices that reference them, with rules; and what is held back, as the ledger's table has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from distributor.settings.models import Dataset
from distributor.settings.rules import QuarantineSettings
from tests.publishing.estate import Estate, Rows, texts

PRODUCTS = (
    "CREATE TABLE products (id text PRIMARY KEY, name text, barcode text, price numeric(10,2), weight numeric,"
    " added date, score float8)"
)
PRICES = (
    "CREATE TABLE prices (product text, country text, amount numeric(10,2), note text, PRIMARY KEY (product, country))"
)
SELECT = {
    "products": "SELECT id, name, barcode, trim_scale(price)::text, trim_scale(weight)::text, added::text, score::text"
    " FROM products",
    "prices": "SELECT product, country, trim_scale(amount)::text, note FROM prices",
}
KEYS = {"products": 1, "prices": 2}


def configured(
    products: list[dict[str, Any]] | None = None, prices: list[dict[str, Any]] | None = None
) -> dict[str, Dataset]:
    """Both datasets with rules as the config writes them."""
    return {
        "products": Dataset.model_validate({"table": "products", "rules": products or []}),
        "prices": Dataset.model_validate(
            {"table": "prices", "references": {"product": "products"}, "rules": prices or []}
        ),
    }


def quality_estate(
    database: Callable[[], str],
    path: Path,
    products: list[dict[str, Any]] | None = None,
    prices: list[dict[str, Any]] | None = None,
    *,
    rows: int = 20,
    budget: QuarantineSettings | None = None,
) -> Estate:
    """So many products p1, p2, … with a price each, published as release 1."""
    estate = Estate.create(
        database,
        path / "store",
        configured(products, prices),
        PRODUCTS,
        PRICES,
        "INSERT INTO products SELECT 'p' || n, 'name ' || n, 'b' || n, n, n, date '2026-01-01' + n, n"
        f" FROM generate_series(1, {rows}) AS n",
        f"INSERT INTO prices SELECT 'p' || n, 'de', n, NULL FROM generate_series(1, {rows}) AS n",
    )
    quarantine = budget or QuarantineSettings(max_rows=1000, max_share=1)
    estate.settings = estate.settings.model_copy(update={"quarantine": quarantine})
    assert estate.publish().release == 1
    return estate


def reconfigured(
    estate: Estate, products: list[dict[str, Any]] | None = None, prices: list[dict[str, Any]] | None = None
) -> None:
    """Other rules."""
    estate.configure(**configured(products, prices))


def held(estate: Estate, environment: str = "*") -> dict[tuple[str, ...], str]:
    """(dataset, key…) → why."""
    with psycopg.connect(estate.ledger) as connection:
        rows = connection.execute(
            "SELECT dataset, key, why FROM ledger.quarantine WHERE environment = %s", [environment]
        ).fetchall()
    return {(dataset, *key): why for dataset, key, why in rows}


def master_rows(estate: Estate, dataset: str) -> Rows:
    """The master's rows as canonical texts."""
    return texts(estate.master, SELECT[dataset], KEYS[dataset])


def check(estate: Estate, dataset: str, *, but: Rows | None = None, without: tuple[tuple[str, ...], ...] = ()) -> None:
    """The release is the master, but for these rows and without those."""
    expected = {key: row for key, row in master_rows(estate, dataset).items() if key not in without}
    estate.check(dataset, expected | (but or {}))
