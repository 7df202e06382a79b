"""Products that may have a parent, and prices of them; a system that computes, one that reads through references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.requests.estate import Desk, desk

DATASETS = """
[master.datasets.products]
table = "products"
references = {parent = "products"}
[master.datasets.prices]
table = "prices"
references = {product = "products"}
"""
SYSTEMS = """
[quarantine]
max_share = 1.0
[environments.uat.systems.crm]
adapter = "sqlite"
url = "sqlite:///crm.db"
[environments.uat.systems.pos]
adapter = "sqlite"
url = "sqlite:///pos.db"
[[systems.pos.tables]]
dataset = "products"
columns = {sku = "sku", shelf = {expr = "cast(place as integer)", type = "integer"}}
[[systems.pos.tables]]
dataset = "prices"
columns = {id = "id", price = "price", title = {expr = "product.name", type = "text(8)"}}
"""
DDL = (
    "CREATE TABLE products (sku text PRIMARY KEY, name text, place text, parent text)",
    "CREATE TABLE prices (id text PRIMARY KEY, product text, price numeric(10,2))",
    "INSERT INTO products SELECT 'P' || n, 'n' || n, n::text, NULL FROM generate_series(1, 12) n",
    "INSERT INTO prices SELECT 'X' || n, 'P' || n, n FROM generate_series(1, 12) n",
)


@pytest.fixture
def catalogue(database: Callable[[], str], tmp_path: Path) -> Iterator[Desk]:
    with desk(database, tmp_path, DATASETS, SYSTEMS, *DDL) as made:
        yield made
