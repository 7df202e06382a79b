"""`check` names each part that will not do, and goes on to the next."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

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
