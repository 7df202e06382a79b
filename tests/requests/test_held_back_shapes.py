"""Rows that are held back while their dataset, or what they read of another, gets other columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distributor.errors import RefusedError
from tests.requests.catalogue import DATASETS, DDL, SYSTEMS
from tests.requests.estate import Desk, desk
from tests.requests.test_held_back import price, product, refused_by_crm

pytestmark = pytest.mark.services


@pytest.fixture
def evolving(database: Callable[[], str], tmp_path: Path) -> Iterator[Desk]:
    datasets = DATASETS.replace('table = "products"', 'table = "products"\ndrift = "evolve"')
    with desk(database, tmp_path, datasets, SYSTEMS, *DDL, "ALTER TABLE products ADD note text DEFAULT 'n'") as made:
        made.release()
        made.take()
        yield made


def test_the_column_that_did_not_fit_goes_away(evolving: Desk) -> None:
    evolving.release("UPDATE products SET note = '#', name = 'new' WHERE sku = 'P7'")
    refused_by_crm(evolving, 2, "products", "P7")
    evolving.take()
    assert product(evolving, "P7") == ("P7", "n7", "7", None, "n")
    evolving.release("ALTER TABLE products DROP COLUMN note")
    evolving.take()
    assert product(evolving, "P7") == ("P7", "new", "7", None)
    assert evolving.held == []


def test_a_column_renamed_and_back_while_a_row_is_held_back(evolving: Desk) -> None:
    evolving.release("UPDATE products SET place = 'x' WHERE sku = 'P7'")
    evolving.take()
    evolving.release("ALTER TABLE products RENAME note TO memo")
    # Nobody knows what the row was in the new shape.
    with pytest.raises(RefusedError, match="another shape"):
        evolving.ask()
    evolving.release("ALTER TABLE products RENAME memo TO note")
    with pytest.raises(RefusedError, match="another shape"):
        evolving.ask()
    evolving.release("UPDATE products SET place = '70' WHERE sku = 'P7'")
    evolving.take()
    assert product(evolving, "P7") == ("P7", "n7", "70", None, "n")
    assert evolving.held == []


def test_what_a_held_row_reads_of_a_dataset_that_begins_anew(evolving: Desk) -> None:
    evolving.release("UPDATE prices SET price = 77 WHERE id = 'X7'")
    refused_by_crm(evolving, 2, "prices", "X7")
    evolving.take()
    evolving.release("ALTER TABLE products DROP COLUMN note", "UPDATE products SET name = 'anew' WHERE sku = 'P7'")
    evolving.take()
    assert price(evolving, "X7") == ("X7", "P7", "7", "anew")
    # And back over it: the former name beside the price that stays.
    evolving.take(2)
    assert price(evolving, "X7") == ("X7", "P7", "7", "n7")
