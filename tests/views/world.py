"""A master, releases of it, and environments that show them: published, held back and saved by the product's own code.

`kept` has the master's rows as they were at each release, read by a plain driver: what every view is judged by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
from sqlalchemy import Engine

from distributor.ledger import environments, quarantine
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.quarantine import HeldRow
from distributor.model.manifest import Manifest
from distributor.requests.contents import wanted_content
from distributor.rollout.state import Cause, Member, Requirement, Rollout, RolloutState, Timing
from distributor.settings.environments import EnvironmentSettings, MemberSettings
from distributor.settings.models import Dataset, MaskingPolicy
from distributor.settings.systems import ColumnSettings, SystemSettings, TableSettings
from distributor.store.editions import store_of
from distributor.telemetry.clock import new_id, now
from distributor.views.comparison import Comparison, comparison
from distributor.views.product import Product, product
from tests.publishing.estate import Estate

DDL = (
    "CREATE TABLE products (sku text PRIMARY KEY, name text, price numeric(10,2))",
    "CREATE TABLE offers (shop text, sku text, price numeric(10,2), PRIMARY KEY (shop, sku))",
    "INSERT INTO products SELECT 'P' || n, 'Chair ' || n, n + 0.5 FROM generate_series(1, 30) n",
    "INSERT INTO offers SELECT 'north', 'P' || n, n FROM generate_series(1, 30) n",
)
DATASETS = {
    "products": Dataset(table="products"),
    "offers": Dataset(table="offers", references={"sku": "products"}),
}
SHELF = TableSettings(
    dataset="offers",
    into="shelf",
    where="price > 2",
    columns={
        "shop": "shop",
        "article": "sku",
        "title": ColumnSettings(expr="upper(sku.name)", type="text"),
        "gross": ColumnSettings(expr="price * 1.19", type="decimal(12,2)"),
    },
)
TILL = TableSettings(dataset="products", into="till", columns={"sku": "sku", "label": "name"})
SNAPSHOT = {
    "products": "SELECT sku, name, trim_scale(price)::text FROM products",
    "offers": "SELECT shop, sku, trim_scale(price)::text FROM offers",
    "shelf": "SELECT o.shop, o.sku, upper(p.name), trim_scale(round(o.price * 1.19, 2))::text"
    " FROM offers o LEFT JOIN products p USING (sku) WHERE o.price > 2",
}
KEYS = {"products": 1, "offers": 2, "shelf": 2}
Rows = dict[tuple[str, ...], tuple[str | None, ...]]


@dataclass
class World:
    """Environments `prod` (crm, shop), `uat` (crm, shop, till) and `sit` (crm), as they are made to stand."""

    estate: Estate
    engine: Engine
    kept: dict[int, dict[str, Rows]] = field(default_factory=dict)

    def release(self, *statements: str) -> int:
        """The next release, of the master after these statements."""
        self.estate.run(*statements)
        number = self.estate.publish().release
        assert number
        self.kept[number] = {name: self._snapshot(name) for name in SNAPSHOT}
        return number

    def row(self, release: int, dataset: str, *key: str) -> tuple[str | None, ...] | None:
        """A row as the master had it at a release."""
        return self.kept[release][dataset].get(key) if release else None

    def take(self, environment: str, release: int, **lagging: int) -> str:
        """The environment comes to show a release by a rollout that ends well; returns its id. `lagging`: system → the
        release that it stays at."""
        with transaction(self.engine) as conn:
            before = environments.lock(conn, environment)
            systems = self.estate.settings.environment(environment).requirements
            state = replace(before, members={name: Member(Requirement.REQUIRED) for name in systems})
            if release:
                wanted_content(conn, self.estate.settings, self.estate.store, state, release, systems)
            members = {
                name: Member(Requirement.REQUIRED, shows=lagging.get(name, release), shadow=release, heard_at=now())
                for name in systems
            }
            rollout = ended(before.shown, release, frozenset(systems))
            environments.save(conn, before, replace(before, shown=release, members=members, last=rollout), at=now())
        return rollout.id

    def hold_back(self, environment: str, dataset: str, *key: str, release: int) -> None:
        """A system of the environment cannot take a row."""
        row = HeldRow(environment, dataset, key, release, "till", "till", "label", "x", "is too long", now())
        with transaction(self.engine) as conn:
            quarantine.hold(conn, [row])

    def mask(self, environment: str, **columns: dict[str, str]) -> None:
        """From now on the environment sees the rows under the policy `m` of these columns."""
        settings = self.estate.settings
        seen = settings.environments[environment].model_copy(update={"masking": "m"})
        policy = MaskingPolicy.model_validate({"secret": "0123456789abcdef" * 4, "columns": columns})
        self.estate.settings = settings.model_copy(
            update={"environments": {**settings.environments, environment: seen}, "masking": {"m": policy}}
        )

    def masked_rows(self, environment: str) -> list[dict[str, str | None]]:
        """All products that the environment's edition has: its changesets applied row by row."""
        store = store_of(self.estate.settings, self.estate.store, environment)
        with psycopg.connect(self.estate.ledger) as ledger:
            query = "SELECT manifest FROM ledger.variants WHERE environment = %s ORDER BY release"
            manifests = [sha256 for (sha256,) in ledger.execute(query, [environment]).fetchall()]
        rows: dict[str | None, dict[str, str | None]] = {}
        for sha256 in manifests:
            for chunk in Manifest.model_validate_json(store.get(sha256)).chunks:
                for change in pq.read_table(store.local_path(chunk.sha256)).to_pylist():
                    if chunk.dataset == "products":
                        rows[change["after.sku"]] = {name: change[f"after.{name}"] for name in ("sku", "name", "price")}
        return list(rows.values())

    def product(self, *key: str, **options: Any) -> Product:
        """The document of one product."""
        with transaction(self.engine) as conn:
            return product(conn, self.estate.settings, self.estate.store, key, **options)

    def comparison(self, first: str, second: str, **options: Any) -> Comparison:
        """The document of two environments."""
        with transaction(self.engine) as conn:
            return comparison(conn, self.estate.settings, self.estate.store, first, second, **options)

    def _snapshot(self, name: str) -> Rows:
        with psycopg.connect(self.estate.master) as connection:
            rows = connection.execute(SNAPSHOT[name].encode()).fetchall()
        return {row[: KEYS[name]]: row for row in rows}


def ended(shown: int, release: int, systems: frozenset[str]) -> Rollout:
    """A rollout that went online."""
    at = now()
    return Rollout(
        id=new_id(),
        release=release,
        cause=Cause.OPERATOR,
        by="ann",
        reason="",
        requested_at=at,
        required=systems,
        optional=frozenset(),
        expected={},
        timing=Timing(),
        state=RolloutState.ONLINE,
        from_release=shown,
        epoch=1,
        started_at=at,
        ended_at=at + timedelta(milliseconds=1),
    )


def made(database: Callable[[], str], path: Path) -> World:
    """A world with its first release."""
    estate = Estate.create(database, path, DATASETS, *DDL)
    member = MemberSettings(adapter="sqlite", url="sqlite:///x")
    members = {"prod": ("crm", "shop"), "uat": ("crm", "shop", "till"), "sit": ("crm",)}
    estate.settings = estate.settings.model_copy(
        update={
            "environments": {
                name: EnvironmentSettings(systems=dict.fromkeys(systems, member)) for name, systems in members.items()
            },
            "systems": {"shop": SystemSettings(tables=(SHELF,)), "till": SystemSettings(tables=(TILL,))},
        }
    )
    world = World(estate, ledger_engine(estate.ledger))
    world.release()
    return world
