"""`check` names each part that will not do, and goes on to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from consumers.adapters.base import Adapter, TableSpec
from consumers.adapters.postgresql import PostgreSQLAdapter
from consumers.adapters.sqlite import SQLiteAdapter
from distributor.ledger import migrate, releases
from distributor.ledger.engine import ledger_engine, transaction
from distributor.mapping.tables import TableMapping
from distributor.model.certificate import EMPTY_TABLE, Certificate
from distributor.model.dataset import Column, DatasetSchema
from distributor.model.manifest import Counts, Manifest
from distributor.model.types import LogicalType
from distributor.settings import MemberSettings
from distributor.store.chunks import write_manifest
from distributor.store.directory import DirectoryStore
from tests.cli.conftest import Run


def verdicts(found: dict[str, object]) -> dict[str, str]:
    findings = found["findings"]
    assert isinstance(findings, list)
    return {finding["part"]: finding["verdict"] for finding in findings}


def test_each_unreachable_part_is_a_problem_of_its_own(run: Run, nowhere: Path) -> None:
    told = run("check", "--config", nowhere, "--json")
    assert told.code == 1
    assert told.json["ok"] is False
    assert verdicts(told.json) == {
        "config": "ok",
        "master": "problem",
        "ledger": "problem",
        "broker": "problem",
        "store": "ok",
        "uat.pos": "ok",
        "uat.till": "ok",
    }
    assert all(finding["mend"] for finding in told.json["findings"] if finding["verdict"] == "problem")
    assert "hidden" not in told.out
    assert told.err == ""


def test_a_table_of_the_systems_own_is_in_the_way(run: Run, nowhere: Path) -> None:
    till = nowhere.parent / "till.db"
    with closing(sqlite3.connect(till)) as conn:
        conn.execute("CREATE TABLE products (sku TEXT)")
    nowhere.write_text(nowhere.read_text().replace("sqlite:///till.db", f"sqlite:///{till}"))
    told = run("check", "--config", nowhere, "--json")
    found = {finding["part"]: finding for finding in told.json["findings"]}
    assert found["uat.till"]["verdict"] == "problem"
    assert "products" in found["uat.till"]["found"]


def test_a_store_that_is_a_file_and_an_unknown_adapter(run: Run, nowhere: Path) -> None:
    (nowhere.parent / "store").write_text("")
    nowhere.write_text(nowhere.read_text().replace('adapter = "sqlite"', 'adapter = "papyrus"', 1))
    found = {f["part"]: f for f in run("check", "--config", nowhere, "--json").json["findings"]}
    assert found["store"]["verdict"] == "problem"
    assert found["uat.pos"]["verdict"] == "problem"
    assert "sqlite" in found["uat.pos"]["mend"]


def test_a_view_that_is_gone_and_decimals_that_became_text(
    run: Run, nowhere: Path, database: Callable[[], str], tmp_path: Path
) -> None:
    wide = Column(name="price", type=LogicalType.parse("decimal(20,2)"))
    key = Column(name="sku", type=LogicalType.parse("text"), nullable=False)
    schema = DatasetSchema(dataset="products", columns=(key, wide), key=("sku",))
    store, ledger, crm = DirectoryStore(nowhere.parent / "store"), database(), database()
    migrate.upgrade(ledger)
    manifest = Manifest(
        release=1, parent_release=0, parent=None, created_at=datetime.now(UTC), schemas=(schema,), chunks=(),
        counts={"products": Counts()}, certificate=Certificate(tables={"products": EMPTY_TABLE}),
    )  # fmt: skip
    engine = ledger_engine(ledger)
    with transaction(engine) as conn:
        releases.insert_release(conn, manifest, write_manifest(store, manifest), rows=0)
    engine.dispose()
    table = TableSpec(TableMapping(dataset="products", into="products"), schema)
    members = {"pos": ("sqlite", f"sqlite:///{tmp_path / 'pos.db'}"), "crm": ("postgresql", crm)}
    adapters: list[Adapter] = [
        SQLiteAdapter(MemberSettings(adapter="sqlite", url=members["pos"][1]), tmp_path),
        PostgreSQLAdapter(MemberSettings(adapter="postgresql", url=crm), tmp_path),
    ]
    for (system, _), adapter in zip(members.items(), adapters, strict=True):
        adapter.prepare("uat", system, (table,))
        adapter.close()
    config = nowhere.read_text().split("[environments")[0].split("[ledger]")
    config[1] = "\n[broker]" + config[1].split("[broker]")[1]
    nowhere.write_text(
        f'{config[0]}[ledger]\nurl = "{ledger}"{config[1]}'
        + "".join(f'[environments.uat.systems.{s}]\nadapter = "{a}"\nurl = "{u}"\n' for s, (a, u) in members.items())
    )

    def found() -> dict[str, list[tuple[str, str]]]:
        told = run("check", "--config", nowhere, "--json").json["findings"]
        return {
            part: [(finding["verdict"], finding["found"]) for finding in told if finding["part"] == part]
            for part in ("uat.pos", "uat.crm")
        }

    before = found()
    assert before["uat.pos"][0] == (
        "note", "decimals that SQLite holds as text, and compares as text: products.price",
    )  # fmt: skip
    assert [verdict for verdict, _ in before["uat.pos"][1:] + before["uat.crm"]] == ["ok", "ok"]
    with closing(sqlite3.connect(tmp_path / "pos.db")) as pos, psycopg.connect(crm) as database_of_crm:
        pos.execute("DROP VIEW products")
        pos.execute("CREATE VIEW products AS SELECT sku, price * 2 AS price FROM _a_products")
        database_of_crm.execute(
            "CREATE OR REPLACE VIEW public.products AS"
            " SELECT sku, (price * 2)::numeric(20,2) AS price FROM distributor_a.products"
        )
        database_of_crm.execute("UPDATE distributor.active SET slot = 'b'")
        database_of_crm.execute("ALTER TABLE distributor_b.products DROP CONSTRAINT products_pkey")
    altered = found()
    assert altered["uat.pos"][-1][0] == "problem"
    assert "the view products was altered" in altered["uat.pos"][-1][1]
    without_key, view, pointer = altered["uat.crm"]
    assert {verdict for verdict, _ in (without_key, view, pointer)} == {"problem"}
    assert 'ALTER TABLE "distributor_b"."products" ADD PRIMARY KEY ("sku")' in without_key[1]
    assert 'DROP VIEW "public"."products"' in view[1]
    assert "readers see slot b" in pointer[1]
    with closing(sqlite3.connect(tmp_path / "pos.db")) as pos:
        pos.execute("DROP VIEW products")
    with psycopg.connect(crm) as database_of_crm:
        database_of_crm.execute("DROP VIEW products")
    after = found()
    assert after["uat.pos"][-1] == after["uat.crm"][-1] == ("problem", "views that readers look at are gone: products")
