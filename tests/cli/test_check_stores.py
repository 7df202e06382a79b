"""`check` looks into every kind of store through its adapter, and no store makes it stumble."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from consumers.adapters.base import TableSpec
from distributor.ledger import migrate, releases
from distributor.ledger.engine import ledger_engine, transaction
from distributor.local.processes import free_port
from distributor.mapping.tables import TableMapping
from distributor.model.certificate import EMPTY_TABLE, Certificate
from distributor.model.dataset import Column, DatasetSchema
from distributor.model.manifest import Counts, Manifest
from distributor.model.types import LogicalType
from distributor.store.chunks import write_manifest
from distributor.store.directory import DirectoryStore
from tests.adapters.test_files import FilesSeat
from tests.adapters.test_mariadb import MariaDBSeat
from tests.adapters.test_parquet import ParquetSeat
from tests.adapters.test_postgresql import PostgreSQLSeat
from tests.adapters.test_redis import RedisSeat, seats
from tests.adapters.test_sqlite import SQLiteSeat
from tests.cli.conftest import Run

__all__ = ["seats"]
AnySeat = FilesSeat | MariaDBSeat | ParquetSeat | PostgreSQLSeat | RedisSeat | SQLiteSeat
KINDS = ("files", "mariadb", "parquet", "postgresql", "redis", "sqlite")
SCHEMA = DatasetSchema(
    dataset="products",
    columns=(
        Column(name="sku", type=LogicalType.parse("text"), nullable=False),
        Column(name="price", type=LogicalType.parse("decimal(12,2)")),
    ),
    key=("sku",),
)
"""The dataset; the system has it as `goods`, with a column `id` for the key."""
MAPPED = DatasetSchema(
    dataset="products",
    columns=(SCHEMA.columns[0].model_copy(update={"name": "id"}), SCHEMA.columns[1]),
    key=("id",),
)
TABLE = TableSpec(TableMapping(dataset="products", into="goods"), MAPPED)


class Estate:
    """One system `shop` in `uat`, whose ledger and store have one release of SCHEMA."""

    def __init__(self, run: Run, directory: Path, ledger: str) -> None:
        self._run = run
        self._config = directory / "distributor.toml"
        self._ledger = ledger
        migrate.upgrade(ledger)
        manifest = Manifest(
            release=1, parent_release=0, parent=None, created_at=datetime.now(UTC), schemas=(SCHEMA,), chunks=(),
            counts={"products": Counts()}, certificate=Certificate(tables={"products": EMPTY_TABLE}),
        )  # fmt: skip
        engine = ledger_engine(ledger)
        with transaction(engine) as conn:
            releases.insert_release(
                conn, manifest, write_manifest(DirectoryStore(directory / "store"), manifest), rows=0
            )
        engine.dispose()

    def found(
        self, adapter: str, url: str, options: str = "", columns: str = 'id = "sku", price = "price"'
    ) -> list[dict[str, str]]:
        """What `check` says of the system."""
        self._config.write_text(f"""
[master]
url = "postgresql://nobody@127.0.0.1:{free_port()}/nothing"
[master.datasets.products]
table = "products"
[ledger]
url = "{self._ledger}"
[broker]
url = "amqp://nobody@127.0.0.1:{free_port()}/"
[store]
path = "store"
[environments.uat.systems.shop]
adapter = "{adapter}"
url = "{url}"
options = {{{options}}}
[[systems.shop.tables]]
dataset = "products"
into = "goods"
columns = {{{columns}}}
""")
        told: dict[str, Any] = self._run("check", "--config", self._config, "--json").json
        return [finding for finding in told["findings"] if finding["part"] == "uat.shop"]


@pytest.fixture
def estate(run: Run, tmp_path: Path, database: Callable[[], str]) -> Estate:
    return Estate(run, tmp_path, database())


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def seat(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> AnySeat:
    match kind:
        case "files":
            return FilesSeat(tmp_path)
        case "parquet":
            return ParquetSeat(tmp_path)
        case "sqlite":
            return SQLiteSeat(tmp_path)
        case "redis":
            made: RedisSeat = request.getfixturevalue("seats")()
            return made
        case "mariadb":
            return MariaDBSeat(request.getfixturevalue("mariadb_database")())
    return PostgreSQLSeat(request.getfixturevalue("database")())


def place_of(seat: AnySeat) -> tuple[str, str]:
    """URL and options."""
    match seat:
        case FilesSeat():
            return "files:///billing", ""
        case ParquetSeat():
            return "parquet:///reporting", ""
        case SQLiteSeat():
            return f"sqlite:///{seat.path}", ""
        case RedisSeat():
            return seat.url, f'prefix = "{seat.prefix}"'
    return seat.url, ""


def test_a_store_is_fine_before_its_consumer_and_after_it_and_what_was_lost_is_a_problem(
    estate: Estate, seat: AnySeat, kind: str
) -> None:
    place = place_of(seat)
    (new,) = estate.found(kind, *place)
    assert (new["verdict"], "goods" in new["found"]) == ("ok", True), new
    (again,) = estate.found(kind, *place)
    assert again["verdict"] == "ok", "to look must make nothing"
    adapter = seat.adapter()
    adapter.prepare("uat", "shop", (TABLE,))
    adapter.close()
    (made,) = estate.found(kind, *place)
    assert (made["verdict"], "readers find goods" in made["found"]) == ("ok", True), made
    seat.lose("goods")
    lost = estate.found(kind, *place)
    assert {finding["verdict"] for finding in lost} == {"problem"}
    assert any("goods" in finding["found"] for finding in lost)


UNREACHABLE = {
    "files": "files:///no/such/directory",
    "mariadb": "mariadb://shop:secret@127.0.0.1:{port}/shop",
    "parquet": "parquet:///no/such/directory",
    "postgresql": "postgresql://shop:secret@127.0.0.1:{port}/shop",
    "redis": "redis://:secret@127.0.0.1:{port}/0",
    "sqlite": "sqlite:///distributor.toml",
}


def test_a_store_that_cannot_be_had_is_a_problem_with_a_mend(estate: Estate, kind: str) -> None:
    (found,) = estate.found(kind, UNREACHABLE[kind].format(port=free_port()))
    assert found["verdict"] == "problem"
    assert found["mend"]
    assert "secret" not in str(found)


@pytest.mark.parametrize(("kind", "driver"), [("mariadb", "pymysql"), ("redis", "redis")])
def test_a_driver_that_is_not_installed_is_a_problem_with_the_command_that_installs_it(
    estate: Estate, kind: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(f"consumers.adapters.{kind}")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, driver, None)
    (found,) = estate.found(kind, UNREACHABLE[kind].format(port=free_port()))
    assert found["verdict"] == "problem"
    assert f"pip install 'distributor[{kind}]'" in found["mend"]


def test_every_adapter_of_the_house_can_be_looked_into(tmp_path: Path) -> None:
    assert {found.name for found in entry_points(group="distributor.adapters")} == set(KINDS)


def test_a_mapping_that_does_not_fit_is_named_and_the_store_is_looked_into_all_the_same(
    estate: Estate, tmp_path: Path
) -> None:
    (wrong, store) = estate.found("sqlite", "sqlite:///shop.db", columns='id = "sku", cost = "prise * 2"')
    assert wrong["verdict"] == "problem"
    assert all(word in wrong["found"] for word in ("systems.shop", "table goods", "column cost", "prise * 2"))
    assert store["verdict"] == "ok"
    assert not (tmp_path / "shop.db").exists()
