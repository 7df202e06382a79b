"""An estate with an environment that sees everything, and one that must not; over real consumers and stores."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from distributor.settings import load_settings
from tests.capture.master import install_capture
from tests.capture.master import run as sql
from tests.cli.conftest import Ran, Run
from tests.coordination.conftest import coordinator
from tests.support import wait_for

SUPPLIERS, PRODUCTS = 60, 600
SHORT = 11
SECRET = "only the publisher knows"
CONFIG = """
[master]
url = "{master}"
[master.datasets.suppliers]
table = "suppliers"
[master.datasets.products]
table = "products"
references = {{supplier = "suppliers"}}
[ledger]
url = "{ledger}"
[broker]
url = "{broker}"
[store]
path = "{store}"
grace = "0s"
keep = "0s"
[masking.test]
secret = "{secret}"
[masking.test.columns.suppliers]
id = "token"
name = "token"
phone = "digits"
note = "null"
[masking.test.columns.products]
supplier = "token"
ean = "digits"
cost = "{cost}"
[environments.prod]
audit = "never"
keep_previous = "0s"
[environments.prod.systems.pos]
adapter = "sqlite"
url = "sqlite:///{directory}/prod.db"
[environments.uat]
{masking}
audit = "never"
keep_previous = "{keep_previous}"
[environments.uat.systems.crm]
adapter = "postgresql"
url = "{crm}"
[environments.uat.systems.pos]
adapter = "sqlite"
url = "sqlite:///{directory}/uat.db"
[[systems.pos.tables]]
dataset = "products"
into = "till"
[systems.pos.tables.columns]
sku = "sku"
supplier = "supplier"
maker = "supplier.name"
label = {{ expr = "ean || ' ' || coalesce(supplier.phone, '-')", type = "text(60)" }}
[[systems.pos.tables]]
dataset = "suppliers"
"""
DDL = (
    "CREATE TABLE suppliers (id int PRIMARY KEY, name text, phone text NOT NULL, note text)",
    "CREATE TABLE products (sku text PRIMARY KEY, supplier int, ean text, cost numeric(8,2))",
    f"""INSERT INTO suppliers SELECT n, 'Clear Supplier ' || n % 50, '0664-' || 5550000 + n % 1000, 'Clear note ' || n
        FROM generate_series(734100001, {734100000 + SUPPLIERS}) n""",
    f"""INSERT INTO products SELECT 'SKU-' || n, 734100001 + n % {SUPPLIERS + 3}, (4006381000000 + n)::text, n + 0.37
        FROM generate_series(1, {PRODUCTS}) n""",
)
CLEAR = (
    "SELECT id::text FROM suppliers UNION SELECT name FROM suppliers UNION SELECT phone FROM suppliers"
    " UNION SELECT note FROM suppliers WHERE note IS NOT NULL UNION SELECT ean FROM products WHERE ean IS NOT NULL"
)
"""Every value of a masked column; costs are numbers that others may happen to be."""
Rows = set[tuple[str | None, ...]]


@dataclass
class World:
    """prod.pos (SQLite) in clear; uat.crm (PostgreSQL, every dataset) and uat.pos (SQLite, joined tables) masked."""

    run: Run
    directory: Path
    urls: dict[str, str]
    keep_previous: str = "0s"
    consumers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    clear: set[str] = field(default_factory=set)
    coordinated: ExitStack = field(default_factory=ExitStack)

    @property
    def config(self) -> Path:
        return self.directory / "distributor.toml"

    def written(self, **other: str) -> str:
        known = {**self.urls, "directory": str(self.directory), "keep_previous": self.keep_previous}
        usual = {"store": "store", "secret": SECRET, "cost": "token", "masking": 'masking = "test"'}
        return CONFIG.format(**{**known, **usual, **other})

    def __call__(self, *words: object, code: int = 0) -> Ran:
        ran = self.run(*words, "--config", self.config)
        assert ran.code == code, f"{ran.code}: {ran.out}\n{ran.err}"
        return ran

    def json(self, *words: object, code: int = 0) -> dict[str, Any]:
        return self(*words, "--json", code=code).json

    def start(self, member: str, config: Path | None = None) -> None:
        environment, system = member.split(".")
        words = ("serve", "consumer", "--env", environment, "--system", system, "--config", str(config or self.config))
        with (self.directory / f"{member}.log").open("ab") as log:
            command = [sys.executable, "-m", "distributor", *words]
            self.consumers[member] = subprocess.Popen(command, stderr=log, env=dict(os.environ))

    def stop(self, member: str) -> None:
        self.consumers[member].kill()
        self.consumers[member].wait(20)

    def release(self, *statements: str) -> int:
        sql(self.urls["master"], *statements)
        self.remember()
        return int(self.json("publish")["release"])

    def remember(self) -> None:
        """All clear values that ever were."""
        self.clear |= {row[0] for row in self.asked("master", CLEAR)}

    def deploy(self, environment: str, *words: object) -> dict[str, Any]:
        told = self.json("deploy", environment, *words)
        assert told["rollout"]["state"] == "online", told
        return told

    def asked(self, where: str, query: str) -> Rows:
        """Rows by a plain driver, from `master`, `crm`, or the SQLite files `prod` and `uat`."""
        if where in self.urls:
            with psycopg.connect(self.urls[where]) as connection:
                return set(connection.execute(query.encode()).fetchall())
        with closing(sqlite3.connect(self.directory / f"{where}.db", timeout=10)) as connection:
            return set(connection.execute(query).fetchall())

    def edit(self, where: str, statement: str) -> None:
        """Edits what readers of a masked store see by hand; `{slot}` stands for its place."""
        if where == "crm":
            with psycopg.connect(self.urls["crm"]) as crm:
                [(active,)] = crm.execute("SELECT slot FROM distributor.active").fetchall()
                assert crm.execute(statement.format(slot=f"distributor_{active}.").encode()).rowcount == 1
            return
        with closing(sqlite3.connect(self.directory / f"{where}.db", timeout=10)) as pos, pos:
            active = pos.execute("SELECT row ->> 'active' FROM _distributor_member").fetchone()[0]
            assert pos.execute(statement.format(slot=f"_{active}_")).rowcount == 1

    def restart(self, **other: str) -> None:
        """Everything with another config."""
        self.coordinated.close()
        self.config.write_text(self.written(**other))
        for member in self.consumers:
            self.stop(member)
            self.start(member)
        self.coordinate()

    def coordinate(self) -> None:
        self.coordinated.enter_context(coordinator(load_settings(self.config)))

    def settled(self, environment: str) -> None:
        """Waits until both slots of all members hold the release that is shown."""

        def level() -> bool:
            [told] = self.json("status", environment)["environments"]
            return all(member["shadow"] == told["release"] for member in told["members"])

        wait_for(level, 60, "settled slots")

    @property
    def editions(self) -> list[Path]:
        """The directories of editions, the last made last."""
        return sorted((self.directory / "store" / "editions").iterdir(), key=lambda path: path.stat().st_mtime)

    def stored(self) -> str:
        """Every text in the masked environment's stores: all tables of both, readers' and slots', as one text."""
        found: list[str] = []
        with psycopg.connect(self.urls["crm"]) as crm:
            tables = crm.execute(
                "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables"
                " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
            for (table,) in tables:
                rows = crm.execute(f"SELECT t::text FROM {table} AS t").fetchall()
                found += [row[0] for row in rows]
        with closing(sqlite3.connect(self.directory / "uat.db", timeout=10)) as pos:
            found += pos.iterdump()
        return "\n".join(found)

    def told(self) -> str:
        """What was sent to the masked environment's members, what they answered, and what is noted of it."""
        queries = (
            "SELECT convert_from(body, 'UTF8') FROM ledger.outbox WHERE subject LIKE '%uat%'",
            "SELECT convert_from(body, 'UTF8') FROM ledger.audit_answers",
            "SELECT text || coalesce(detail::text, '') FROM ledger.timeline WHERE environment = 'uat'",
            "SELECT why || coalesce(detail::text, '') FROM ledger.audit WHERE environment = 'uat'",
            "SELECT q::text FROM ledger.quarantine q WHERE environment = 'uat'",
            "SELECT body::text FROM ledger.rollouts WHERE environment = 'uat'",
            "SELECT convert_from(body, 'UTF8') FROM ledger.dead_letters",
        )
        return "\n".join(str(text) for query in queries for (text,) in self.asked("ledger", query))

    def leaks(self, *more: Path) -> set[str]:
        """Clear values in the masked environment's stores, in messages from and to its members, in any file of its
        editions (decompressed), in its consumers' inboxes and logs, or in these files."""
        texts = [self.stored(), self.told()]
        state = self.directory / ".distributor" / "consumers"
        places = [*self.editions, *more, *state.glob("uat.*"), *self.directory.glob("uat.*.log")]
        for file in [one for place in places for one in ([place] if place.is_file() else place.rglob("*"))]:
            if not file.is_file():
                continue
            octets = file.read_bytes()
            texts.append(octets.decode("utf-8", "replace"))
            if octets[:4] == b"PAR1":
                texts += [str(value) for column in pq.read_table(file).columns for value in column.to_pylist()]
        everything = "\n".join(texts)
        words = set(re.findall(r"\w+", everything))
        # A short number is part of many a longer one.
        return {value for value in self.clear if value in (words if len(value) < SHORT else everything)}


@pytest.fixture
def make_masked(database: Callable[[], str], amqp_url: str, tmp_path: Path, run: Run) -> Iterator[Callable[..., World]]:
    with ExitStack() as stack:

        def make(keep_previous: str = "0s", consumers: tuple[str, ...] = ("prod.pos", "uat.crm", "uat.pos")) -> World:
            urls = {"master": database(), "ledger": database(), "crm": database(), "broker": amqp_url}
            world = World(run, tmp_path, urls, keep_previous)
            world.config.write_text(world.written())
            settings = load_settings(world.config)
            sql(urls["master"], *DDL)
            install_capture(urls["master"], settings.master.datasets)
            world("init")
            assert world.release() == 1
            world.coordinate()
            stack.callback(lambda: [world.stop(member) for member in world.consumers])
            stack.push(world.coordinated)
            for member in consumers:
                world.start(member)
            return world

        yield make
