"""`product`: the document as JSON and as a person sees it, on a world without consumers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.views.world import World, made

pytestmark = pytest.mark.services
CONFIG = """
[master]
url = "{master}"
[master.datasets.products]
table = "products"
[master.datasets.offers]
table = "offers"
references = {{sku = "products"}}
[ledger]
url = "{ledger}"
[broker]
url = "amqp://h/"
[store]
path = "store"
[environments.prod.systems.shop]
adapter = "sqlite"
url = "sqlite:///x"
[environments.uat.systems.till]
adapter = "sqlite"
url = "sqlite:///x"
[[systems.shop.tables]]
dataset = "offers"
into = "shelf"
where = "price > 2"
columns = {{shop = "shop", article = "sku", title = {{expr = "upper(sku.name)", type = "text"}}}}
[[systems.till.tables]]
dataset = "products"
into = "till"
columns = {{sku = "sku", label = "name"}}
"""


@pytest.fixture
def world(database: Callable[[], str], tmp_path: Path) -> Iterator[World]:
    found = made(database, tmp_path / "store")
    (tmp_path / "d.toml").write_text(CONFIG.format(master=found.estate.master, ledger=found.estate.ledger))
    yield found
    found.engine.dispose()


@pytest.fixture
def tell(run: Run, tmp_path: Path) -> Callable[..., Any]:
    return lambda *words, code=0: _ran(run("product", *words, "--config", tmp_path / "d.toml"), code)


def _ran(ran: Any, code: int) -> Any:
    assert ran.code == code, ran.out + ran.err
    return ran


def test_what_a_person_sees(world: World, tell: Callable[..., Any]) -> None:
    world.take("prod", 1)
    world.release("UPDATE products SET name = '', price = NULL WHERE sku = 'P7'")
    world.take("uat", 2)
    shown = tell("P7").out
    lines = shown.splitlines()
    assert lines[0] == "products sku=P7, newest release 2"
    [heading] = [line.split() for line in lines if line.lstrip().startswith("column")]
    assert heading == ["column", "release", "2", "prod", "(1)", "uat", "(2)"]
    [name] = [line.split() for line in lines if line.lstrip().startswith("name ")]
    [price] = [line.split() for line in lines if line.lstrip().startswith("price ")]
    assert (name, price) == (["name", "''", "Chair", "7", "*", "''"], ["price", "NULL", "7.5", "*", "NULL"])
    assert "uat till till: sku=P7, label=''" in lines
    [changed] = [at for at, line in enumerate(lines) if line.startswith("~ release 2, ")]
    assert "UTC; uat since " in lines[changed]
    assert lines[changed + 1 : changed + 3] == ["    name: Chair 7 → ''", "    price: 7.5 → NULL"]
    [new] = [line for line in lines if line.startswith("+ release 1, ")]
    assert "prod since" in new
    assert "uat since" in new
    offers = tell("north", "P2").out
    assert "prod shop shelf: left out: its condition is price > 2" in offers
    assert "looked back to release 1: 1 change was found" in tell("P7", "--limit", 1).out


def test_the_document(world: World, tell: Callable[..., Any]) -> None:
    world.take("prod", 1)
    told = tell("P7", "--dataset", "products", "--json").json
    [row] = told["rows"]
    assert (told["release"], row["dataset"], row["key"]) == (1, "products", {"sku": "P7"})
    assert row["row"] == {"sku": "P7", "name": "Chair 7", "price": "7.5"}
    assert [place["environment"] for place in row["environments"]] == ["prod", "uat"]
    assert [change["op"] for change in row["history"]] == ["insert"]


def test_what_cannot_be(world: World, tell: Callable[..., Any]) -> None:
    for words, said in (
        (("P99",), "no row of the key P99"),
        (("a", "b", "c"), "no key has 3 columns"),
        (("P7", "--dataset", "prices"), "Known: products, offers"),
    ):
        assert said in tell(*words, code=2).err
        assert tell(*words, "--json", code=2).json["exit_code"] == 2
