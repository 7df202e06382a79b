"""An estate whose systems have tables of their own, over real consumers and stores."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
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
from tests.support import wait_for

Rows = set[tuple[str | None, ...]]
ROWS = 2000
CONFIG = """
[master]
url = "{master}"
[master.datasets.products]
table = "products"
[ledger]
url = "{ledger}"
[broker]
url = "{broker}"
[store]
path = "store"
[environments.uat]
keep_previous = "{keep_previous}"
audit = "never"
[environments.uat.systems.crm]
adapter = "postgresql"
url = "{crm}"
[environments.uat.systems.pos]
adapter = "sqlite"
url = "sqlite:///{pos}"
[[systems.crm.tables]]
dataset = "products"
into = "articles"
where = "{where}"
[systems.crm.tables.columns]
"Article No" = "sku"
gross = {{ expr = "{gross}", type = "decimal(14,2)" }}
label = {{ expr = "coalesce(name, 'none') || '/' || sku", type = "text(60)" }}
[[systems.crm.tables]]
dataset = "products"
into = "retired"
where = "NOT active"
columns = ["sku", "name"]
[[systems.pos.tables]]
dataset = "products"
into = "till"
where = "price < 500 OR price IS NULL"
[systems.pos.tables.columns]
"*" = "*"
active = {{ expr = "if(active, 'yes', 'no')", type = "text" }}
"""
ACTIVE = "active AND price IS NOT NULL"
DDL = (
    "CREATE TABLE products (sku text PRIMARY KEY, name text, price numeric(12,2), active boolean NOT NULL)",
    f"""INSERT INTO products SELECT 'SKU-' || n, CASE n % 7 WHEN 0 THEN NULL ELSE 'Größe ' || n END,
        CASE n % 11 WHEN 0 THEN NULL ELSE n * 0.55 END, n % 5 <> 0 FROM generate_series(0, {ROWS - 1}) n""",
)
RIGHT = {
    "articles": """SELECT sku, trim_scale(round(price * {rate}, 2))::text, coalesce(name, 'none') || '/' || sku
                   FROM products WHERE {where}""",
    "retired": "SELECT sku, name FROM products WHERE NOT active",
    "till": """SELECT sku, name, trim_scale(price)::text, CASE WHEN active THEN 'yes' ELSE 'no' END
               FROM products WHERE price < 500 OR price IS NULL""",
}
STORED = {
    "articles": 'SELECT "Article No", trim_scale(gross)::text, label FROM {}',
    "retired": "SELECT sku, name FROM {}",
    "till": "SELECT sku, name, price, active FROM {}",
}


@dataclass
class World:
    """crm (PostgreSQL) has two tables of one dataset, pos (SQLite) a third."""

    run: Run
    config: Path
    urls: dict[str, str]
    pos: Path
    keep_previous: str
    where: str = ACTIVE
    rate: str = "1.19"
    consumers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __call__(self, *words: object, code: int = 0) -> Ran:
        ran = self.run(*words, "--config", self.config)
        assert ran.code == code, f"{ran.code}: {ran.out}\n{ran.err}"
        return ran

    def json(self, *words: object, code: int = 0) -> dict[str, Any]:
        return self(*words, "--json", code=code).json

    def configure(self, *, where: str = ACTIVE, rate: str = "1.19", gross: str = "") -> None:
        """Writes the config: another filter, another rate, or another expression of `gross`."""
        self.where, self.rate = where, rate
        text = CONFIG.format(
            **self.urls,
            pos=self.pos,
            keep_previous=self.keep_previous,
            where=where,
            gross=gross or f"price * {rate}",
        )
        self.config.write_text(text)

    def start(self, system: str) -> None:
        arguments = ("serve", "consumer", "--env", "uat", "--system", system, "--config", str(self.config))
        with (self.config.parent / f"{system}.log").open("ab") as log:
            command = [sys.executable, "-m", "distributor", *arguments]
            self.consumers[system] = subprocess.Popen(command, stderr=log, env=dict(os.environ))

    def stop(self, system: str) -> None:
        self.consumers[system].kill()
        self.consumers[system].wait(20)

    def change(self, *statements: str) -> int:
        """Changes the master and publishes; returns the release."""
        sql(self.urls["master"], *statements)
        found = self.json("publish")["release"]
        assert isinstance(found, int)
        return found

    def deploy(self, *words: object) -> dict[str, Any]:
        told = self.json("deploy", "uat", *words)
        assert told["rollout"]["state"] == "online", told
        return told

    def right(self) -> dict[str, Rows]:
        """What every table has to show, by SELECTs on the master as it is now."""
        with psycopg.connect(self.urls["master"]) as master:
            queries = {name: query.format(rate=self.rate, where=self.where) for name, query in RIGHT.items()}
            return {name: set(master.execute(query.encode()).fetchall()) for name, query in queries.items()}

    def stored(self, slot: str = "") -> dict[str, Rows]:
        """What readers find; with a slot ("online", "shadow") what that one holds."""
        found: dict[str, Rows] = {}
        with psycopg.connect(self.urls["crm"]) as crm:
            for name in ("articles", "retired"):
                place = self.slot("crm", slot, name) if slot else name
                found[name] = set(crm.execute(STORED[name].format(place).encode()).fetchall())
        with closing(sqlite3.connect(self.pos, timeout=10)) as pos:
            place = self.slot("pos", slot, "till") if slot else "till"
            rows = pos.execute(STORED["till"].format(place)).fetchall()
            found["till"] = {(sku, name, _text(price), active) for sku, name, price, active in rows}
        return found

    def slot(self, system: str, slot: str, table: str) -> str:
        """The name of a slot's table."""
        if system == "pos":
            with closing(sqlite3.connect(self.pos, timeout=10)) as connection:
                active = connection.execute("SELECT row ->> 'active' FROM _distributor_member").fetchone()[0]
        else:
            with psycopg.connect(self.urls["crm"]) as connection:
                active = connection.execute("SELECT slot FROM distributor.active").fetchall()[0][0]
        name = active if slot == "online" else "b" if active == "a" else "a"
        return f'"_{name}_{table}"' if system == "pos" else f"distributor_{name}.{table}"

    def execute(self, system: str, *statements: str) -> None:
        """Edits a store by hand."""
        for statement in statements:
            if system == "pos":
                with closing(sqlite3.connect(self.pos, timeout=10)) as connection, connection:
                    assert connection.execute(statement).rowcount
            else:
                with psycopg.connect(self.urls["crm"]) as postgresql:
                    assert postgresql.execute(statement.encode()).rowcount

    def settled(self) -> None:
        """Waits until both slots of both systems hold the release that is shown."""

        def level() -> bool:
            [environment] = self.json("status", "uat")["environments"]
            return all(member["shadow"] == environment["release"] for member in environment["members"])

        wait_for(level, 60, "settled slots")

    def phases(self, told: dict[str, Any], system: str) -> set[str]:
        [mine] = [member for member in told["members"] if member["system"] == system]
        return set(mine["phases"])


def _text(value: object) -> str | None:
    if value is None:
        return None
    text = str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


CHANGES = (
    "UPDATE products SET active = NOT active WHERE substr(sku, 5)::int % 10 < 2",
    "UPDATE products SET price = coalesce(price, 0) + 0.37 WHERE substr(sku, 5)::int % 4 = 1",
    "UPDATE products SET price = NULL WHERE substr(sku, 5)::int % 50 = 3",
    "DELETE FROM products WHERE substr(sku, 5)::int % 100 = 9",
    "INSERT INTO products VALUES ('new-1', NULL, 1.005, true), ('new-2', '', 10, false), ('new-3', 'x', NULL, true)",
)


@pytest.fixture
def make_mapped(database: Callable[[], str], amqp_url: str, tmp_path: Path, run: Run) -> Iterator[Callable[..., World]]:
    with ExitStack() as stack:

        def make(keep_previous: str = "1h") -> World:
            urls = {"master": database(), "ledger": database(), "crm": database(), "broker": amqp_url}
            world = World(run, tmp_path / "distributor.toml", urls, tmp_path / "pos.db", keep_previous)
            world.configure()
            settings = load_settings(world.config)
            sql(urls["master"], *DDL)
            install_capture(urls["master"], settings.master.datasets)
            world("init")
            assert world.json("publish")["release"] == 1
            stack.enter_context(coordinator(settings))
            for system in ("crm", "pos"):
                world.start(system)
                stack.callback(lambda system=system: world.stop(system))
            return world

        yield make
