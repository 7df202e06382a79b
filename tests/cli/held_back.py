"""An estate of three unlike systems, two of which cannot take every row, over real consumers and stores."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from distributor.settings import load_settings
from tests.capture.master import install_capture
from tests.capture.master import run as sql
from tests.cli.conftest import Ran, Run
from tests.coordination.conftest import coordinator

ROWS = 400
CONFIG = """
[master]
url = "{master}"
[master.datasets.products]
table = "products"
[master.datasets.prices]
table = "prices"
references = {{product = "products"}}
[ledger]
url = "{ledger}"
[broker]
url = "{broker}"
[store]
path = "store"
[environments.uat]
keep_previous = "0s"
[environments.uat.systems.crm]
adapter = "postgresql"
url = "{crm}"
[environments.uat.systems.billing]
adapter = "files"
url = "files:///{billing}"
options = {{encoding = "iso-8859-1"}}
[environments.uat.systems.pos]
adapter = "sqlite"
url = "sqlite:///pos.db"
[[systems.pos.tables]]
dataset = "products"
[systems.pos.tables.columns]
sku = "sku"
name = {{expr = "name", type = "text(30)"}}
shelf = {{expr = "cast(place as integer)", type = "integer"}}
[[systems.pos.tables]]
dataset = "prices"
columns = {{product = "product", price = "price", title = {{expr = "product.name", type = "text"}}}}
"""
Content = dict[str, tuple[str | None, ...]]


@dataclass
class World:
    """Three unlike systems, each with a consumer of its own."""

    run: Run
    config: Path
    master: str
    crm: str
    billing: Path
    consumers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __call__(self, *words: object, code: int = 0) -> Ran:
        ran = self.run(*words, "--config", self.config)
        assert ran.code == code, f"{ran.code}: {ran.out}\n{ran.err}"
        return ran

    def json(self, *words: object, code: int = 0) -> dict[str, Any]:
        return self(*words, "--json", code=code).json

    def start(self, system: str) -> None:
        arguments = ("serve", "consumer", "--env", "uat", "--system", system, "--config", str(self.config))
        with (self.config.parent / f"{system}.log").open("ab") as log:
            command = [sys.executable, "-m", "distributor", *arguments]
            self.consumers[system] = subprocess.Popen(command, stderr=log, env=dict(os.environ))

    def stop(self, system: str) -> None:
        self.consumers[system].kill()
        self.consumers[system].wait(20)

    def release(self, *statements: str) -> int:
        sql(self.master, *statements)
        return int(self.json("publish")["release"])

    def deploy(self, code: int = 0) -> dict[str, Any]:
        return dict(self.json("deploy", "uat", code=code))

    def asked(self, url: str, query: str) -> Content:
        with psycopg.connect(url) as connection:
            return {row[0]: row[1:] for row in connection.execute(query.encode()).fetchall()}

    @property
    def right(self) -> Content:
        return self.asked(self.master, "SELECT sku, name FROM products")

    @property
    def in_crm(self) -> Content:
        return self.asked(self.crm, "SELECT sku, name FROM products")

    @property
    def crm_prices(self) -> Content:
        return self.asked(self.crm, "SELECT product, price::text FROM prices")

    @property
    def in_billing(self) -> Content:
        with (self.billing / "current" / "products.csv").open(encoding="iso-8859-1", newline="") as file:
            return {row["sku"]: (row["name"],) for row in csv.DictReader(file, delimiter=";")}

    def held(self) -> list[tuple[str, str, str]]:
        query = "SELECT key[1], system || '.' || dataset, why FROM ledger.quarantine WHERE environment = 'uat'"
        with psycopg.connect(load_settings(self.config).ledger.url) as connection:
            return sorted(connection.execute(query).fetchall())


@pytest.fixture
def make_held_back(
    database: Callable[[], str], amqp_url: str, tmp_path: Path, run: Run
) -> Iterator[Callable[..., World]]:
    with ExitStack() as stack:

        def make(old: str = "", new: str = "", evolving: Sequence[str] = ()) -> World:
            master, ledger, crm, billing = database(), database(), database(), tmp_path / "billing"
            config = tmp_path / "distributor.toml"
            text = CONFIG.format(master=master, ledger=ledger, broker=amqp_url, crm=crm, billing=billing)
            for dataset in evolving:
                text = text.replace(f'table = "{dataset}"', f'table = "{dataset}"\ndrift = "evolve"')
            config.write_text(text.replace(old, new) if old else text)
            settings = load_settings(config)
            sql(
                master,
                "CREATE TABLE products (sku text PRIMARY KEY, name text, place text)",
                "CREATE TABLE prices (product text PRIMARY KEY, price numeric(10,2))",
                f"INSERT INTO products SELECT 'P' || n, 'Chair ' || n, n::text FROM generate_series(1, {ROWS}) n",
                f"INSERT INTO prices SELECT 'P' || n, n FROM generate_series(1, {ROWS}) n",
            )
            install_capture(master, settings.master.datasets)
            made = World(run, config, master, crm, billing)
            made("init")
            assert made.json("publish")["release"] == 1
            stack.enter_context(coordinator(settings))
            for system in ("crm", "billing", "pos"):
                made.start(system)
                stack.callback(made.stop, system)
            assert made.deploy()["rollout"]["state"] == "online"
            return made

        yield make


@pytest.fixture
def world(make_held_back: Callable[..., World]) -> World:
    return make_held_back()
