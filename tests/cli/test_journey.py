"""One master, from an empty directory to a release that is read field by field."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.cli.conftest import Ran, Run, config_text
from tests.support import wait_for


@dataclass(frozen=True, slots=True)
class Shop:
    """A master with products, a ledger, and a broker that nobody answers at unless a test gives it one."""

    master: str
    config: Path
    run: Run

    def __call__(self, *words: object) -> Ran:
        return self.run(*words, "--config", self.config)

    def json(self, *words: object) -> dict[str, Any]:
        """The object of a verb that must succeed, with a clean stdout."""
        told = self.run(*words, "--json", "--config", self.config)
        assert told.code == 0, told
        return told.json

    def sql(self, statement: str) -> None:
        """Changes the master."""
        with psycopg.connect(self.master) as conn:
            conn.execute(statement.encode())


@pytest.fixture
def shop(tmp_path: Path, database: Callable[[], str], run: Run, nowhere: Path) -> Shop:
    """Two products in the master, an empty ledger that `init` has made."""
    master = database()
    config = tmp_path / "shop" / "distributor.toml"
    config.parent.mkdir()
    broker = nowhere.read_text().split('[broker]\nurl = "')[1].split('"')[0]
    config.write_text(config_text(master, database(), broker))
    made = Shop(master, config, run)
    made.sql(
        "CREATE TABLE products (sku text, country text, name text NOT NULL, price numeric(10,2),"
        " PRIMARY KEY (sku, country));"
        "INSERT INTO products VALUES ('A-1', 'de', 'Lamp', 10.50), ('A-2', 'de', 'Table', NULL)"
    )
    assert made("init").code == 0
    return made


def test_check_tells_of_drift_what_publish_tells(shop: Shop) -> None:
    shop.json("publish")
    shop.sql("ALTER TABLE products ADD COLUMN color text DEFAULT 'red'")
    refused = shop("publish")
    assert refused.code != 0
    checked = shop("check", "--json").json["findings"]
    [problem] = [f for f in checked if f["part"] == "master.products" and f["verdict"] == "problem"]
    sentence = "the table has changed since it was distributed: column color is new"
    assert sentence in problem["found"]
    assert sentence in " ".join(refused.err.split())
    assert "undo the change" in problem["mend"]


def test_check_types_a_mapping_before_there_is_a_release(shop: Shop) -> None:
    shop.sql('CREATE TABLE lands (code text PRIMARY KEY, "Full Name" text, tax numeric(4,2))')
    plain = shop.config.read_text().replace(
        "[ledger]", 'references = { country = "lands" }\n[master.datasets.lands]\ntable = "lands"\n[ledger]'
    )

    def problems(gross: str, name: str = "name") -> list[str]:
        shop.config.write_text(
            f'{plain}[[systems.pos.tables]]\ndataset = "products"\n[systems.pos.tables.columns]\n'
            f"sku = 'sku'\ncountry = 'country'\nname = '{name}'\n"
            f"gross = {{ expr = '{gross}', type = 'decimal(12,2)' }}\n"
        )
        told = shop("check", "--json").json["findings"]
        return [f"{f['found']} {f['mend']}" for f in told if f["verdict"] == "problem" and f["part"] == "uat.pos"]

    assert problems("price * country.tax") == []
    assert "cannot be computed" in problems('price * country."Full Name"')[0]
    shop.sql('ALTER TABLE products RENAME COLUMN name TO "Art-Name"')
    assert "Write '\"Art-Name\"' for that column." in problems("price", "Art-Name")[0]
    assert problems("price", '"Art-Name"') == []


def test_what_evolves_is_told_with_the_release_that_has_it(shop: Shop) -> None:
    shop.json("publish")
    config = shop.config.read_text()
    shop.config.write_text(config.replace("[master.datasets.products]", '[master.datasets.products]\ndrift = "evolve"'))
    shop.sql("ALTER TABLE products RENAME COLUMN price TO amount")
    shop.sql("ALTER TABLE products DROP COLUMN name")
    told = {"products": ["column name is gone", "column price was renamed to amount"]}
    [note] = [f for f in shop("check", "--json").json["findings"] if "another shape" in f["found"]]
    assert (note["part"], note["verdict"]) == ("master.products", "note")
    assert shop.json("publish", "--dry-run")["restarts"] == told
    assert shop.json("publish")["restarts"] == told
    changes = shop.json("changes", 2)
    assert (changes["restarts"], changes["total"], changes["changes"][0]["op"]) == (told, 2, "insert")
    assert "! products begins anew in another shape: column name is gone" in shop("changes", 2).out
    assert "column price was renamed to amount" in shop("audit", "--json").out


def test_what_triggers_miss_is_told_and_nothing_is_published(shop: Shop) -> None:
    shop.json("capture", "install")
    shop.json("publish")
    [first] = shop.json("capture", "verify")["datasets"]
    assert first == {"dataset": "products", "verdict": "complete", "rows_missed": 0, "keys": []}
    shop.sql("SET session_replication_role = replica; UPDATE products SET price = 3 WHERE sku = 'A-1'")
    assert shop.json("capture", "verify")["datasets"][0]["verdict"] == "complete"
    shop.sql(
        "ALTER TABLE products DISABLE TRIGGER distributor_products_update; UPDATE products SET price = 4"
        " WHERE sku = 'A-2'; ALTER TABLE products ENABLE ALWAYS TRIGGER distributor_products_update"
    )
    told = shop("capture", "verify", "--json")
    [found] = told.json["datasets"]
    assert told.code == 10
    assert found["keys"] == [{"sku": "A-2", "country": "de"}]
    assert (found["verdict"], found["rows_missed"]) == ("missed", 1)
    assert "! products sku=A-2, country=de" in shop("capture", "verify").out
    assert shop.json("releases")["releases"][0]["number"] == 1


def test_from_an_empty_master_to_a_release_and_its_fields(shop: Shop) -> None:
    assert [d["state"] for d in shop.json("capture", "status")["datasets"]] == ["missing"]
    assert shop.json("capture", "install", "--dry-run")["datasets"][0]["changed"] is True
    installed = shop.json("capture", "install")["datasets"][0]
    assert installed == {"dataset": "products", "table": "public.products", "state": "installed", "changed": True}
    assert shop.json("capture", "install")["datasets"][0]["changed"] is False

    assert shop.json("publish", "--dry-run")["release"] is None
    first = shop.json("publish")
    assert (first["release"], first["rows"]) == (1, 2)
    assert shop.json("publish")["release"] is None

    shop.sql("UPDATE products SET price = 9, name = 'Lamp' WHERE sku = 'A-1'")
    shop.sql("DELETE FROM products WHERE sku = 'A-2'")
    shop.sql("INSERT INTO products VALUES ('A-3', 'fr', 'Chaise', 30)")
    shop.sql("INSERT INTO products VALUES (E'A-4\\nB', 'fr', E'Lampe\\tbleue', 1)")
    assert shop.json("capture", "status")["waiting"] == 4
    assert shop.json("publish")["counts"] == {"products": {"inserts": 2, "updates": 1, "deletes": 1}}

    numbers = [line["number"] for line in shop.json("releases")["releases"]]
    assert numbers == [2, 1]
    assert len(shop.json("releases", "--limit", 1)["releases"]) == 1

    changes = shop.json("changes", 2)
    by_key = {change["key"]["sku"]: change for change in changes["changes"]}
    assert changes["total"] == 4
    assert by_key["A-1"]["op"] == "update"
    assert by_key["A-1"]["fields"] == [{"column": "price", "before": "10.5", "after": "9"}]
    assert by_key["A-2"]["fields"] == [
        {"column": "name", "before": "Table", "after": None},
    ]
    assert {field["column"]: field["after"] for field in by_key["A-3"]["fields"]} == {"name": "Chaise", "price": "30"}

    one = shop.json("changes", 2, "--dataset", "products", "--key", "A-2", "--key", "de")
    assert one["total"] == 1
    assert shop.json("changes", 2, "--limit", 1)["total"] == 4
    assert shop("changes", 2, "--key", "A-2").code == 2
    half = shop("changes", 2, "--dataset", "products", "--key", "A-2")
    assert "the key of products has 2 columns, and 1 value came. Give --key once for each of: sku, country." in half.err
    assert shop("changes", 2, "--dataset", "prices").code == 2
    assert shop("changes", 9).code == 11

    told = shop("changes", 2).out
    assert "price: 10.5 → 9" in told
    assert "sku=A-4\\nB, country=fr" in told
    assert "products +2 ~1 -1" in shop("releases").out
    assert "1 row" not in shop("publish").out

    removed = shop.json("capture", "remove")["datasets"][0]
    assert (removed["state"], removed["changed"]) == ("missing", True)


def test_a_file_is_loaded_whole_or_not_at_all(shop: Shop, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("sku,country,name,price\nA-1,de,Lamp,11\nA-9,de,Shelf,5\n")
    bad.write_text("sku,country,name,price\nA-7,de,Rug,5\nA-8,de,Vase,cheap\n")
    told = shop("import", "products", bad)
    assert told.code == 1
    assert "row 2, column price" in told.err
    assert shop("import", "nothing", good).code == 2
    expected = {"dataset": "products", "rows": 2, "inserted": 1, "updated": 1, "deleted": 0}
    for dry_run in (True, False):
        told_as = shop.json("import", "products", good, *(["--dry-run"] if dry_run else []))
        assert {**told_as, **expected, "dry_run": dry_run} == told_as
    assert shop.json("publish")["rows"] == 3
    acts = shop.json("audit")["audit"]
    assert [act["what"] for act in acts] == ["publish", "import", "init"]
    shown = shop("audit").out
    assert "release 1, rows 3" in shown
    assert "dataset products" in shown


def test_before_anything_has_happened_every_verb_that_looks_answers(shop: Shop) -> None:
    assert shop.json("releases") == {"releases": []}
    assert shop.json("rollouts") == {"rollouts": []}
    assert [act["what"] for act in shop.json("audit")["audit"]] == ["init"]
    assert shop.json("deadletter", "list") == {"dead_letters": []}
    environment = shop.json("status")["environments"][0]
    assert environment["state"] == "idle"
    assert [(m["system"], m["requirement"], m["release"]) for m in environment["members"]] == [
        ("pos", "required", 0),
        ("till", "optional", 0),
    ]
    assert shop("deploy", "uat").code == 11
    assert shop("deploy", "uat", "--dry-run").code == 11
    assert shop("release-hold", "uat").code == 11
    assert shop("abort", "uat", "--reason", "nothing").code == 11
    assert shop("rollout", "abc").code == 2
    assert shop("deadletter", "show", 1).code == 11


def test_a_hold_is_seen_and_audited_and_ends(shop: Shop) -> None:
    dry = shop.json("hold", "uat", "--reason", "price tests", "--owner", "anna", "--dry-run")
    assert dry["environment"]["holds"] == []
    held = shop.json("hold", "uat", "--reason", "price tests", "--owner", "anna", "--by", "anna", "--until", "2h")
    [hold] = held["environment"]["holds"]
    assert (hold["owner"], hold["reason"]) == ("anna", "price tests")
    assert hold["until"] is not None
    told = shop("status", "uat").out
    assert "held by anna until" in told
    assert "price tests" in told
    released = shop.json("release-hold", "uat", "--by", "ben", "--reason", "tests are done")
    assert released["environment"]["holds"] == []
    acts = shop.json("audit", "--environment", "uat")["audit"]
    assert [(act["who"], act["what"], act["why"]) for act in acts] == [
        ("ben", "release-hold", "tests are done"),
        ("anna", "hold", "price tests"),
    ]


def test_a_deploy_without_a_coordinator_says_so_and_can_be_waited_for_or_not(shop: Shop) -> None:
    assert shop("publish").code == 0
    planned = shop.json("deploy", "uat", "--dry-run")
    assert (planned["release"], planned["rollout"]) == (1, None)
    waited = shop("deploy", "uat", "--timeout", "300ms", "--by", "anna", "--reason", "spring prices")
    assert waited.code in {12, 13}
    assert "coordinator" in waited.err
    asked = shop.json("deploy", "uat", "--no-wait", "--by", "ben")
    assert asked["waited"] is False
    lines = shop.json("rollouts", "uat")["rollouts"]
    assert [line["by"] for line in lines] == ["ben", "anna"]
    rollout = shop.json("rollout", lines[1]["id"][:12])
    assert rollout["rollout"]["reason"] == "spring prices"
    assert rollout["timeline"]
    assert shop("rollout", lines[1]["id"]).out.startswith("rollout ")
    assert [act["what"] for act in shop.json("audit", "--environment", "uat")["audit"]] == ["deploy", "deploy"]
    assert f"release 1, rollout {lines[0]['id'][:8]}" in shop("audit").out


def test_a_narrow_console_cuts_neither_ids_nor_words(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shop("publish").code == 0
    asked = shop.json("deploy", "uat", "--no-wait", "--by", "anna")["rollout"]["id"]
    monkeypatch.setenv("COLUMNS", "60")
    told = shop("rollouts").out
    assert max(map(len, told.splitlines())) <= 60
    assert f"{asked[:8]}  uat, release 0 → 1, staging, " in told
    assert "by anna (operator)" in told
    assert max(map(len, shop("status").out.splitlines()[:4])) <= 60


def test_a_terminal_gets_lines_for_eyes_from_every_role(shop: Shop) -> None:
    """The roles write into pipes; their parent knows that a person reads."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "distributor", "serve", "all", "--config", str(shop.config)]
    with subprocess.Popen(words, stderr=theirs, stdout=subprocess.PIPE, start_new_session=True) as parent:
        os.close(theirs)
        lines: list[str] = []
        with os.fdopen(ours, "r", errors="replace", buffering=1) as terminal:
            for line in terminal:
                lines.append(line)
                if " | " in line and "started as process" not in line:
                    break
            assert '{"' not in lines[-1]
            assert "[" in lines[-1]
            parent.send_signal(signal.SIGTERM)
            with contextlib.suppress(OSError):  # what a terminal says when the last writer has gone
                terminal.read()
        assert parent.wait(60) == 0


def test_a_role_that_fails_is_started_again_aloud_and_all_end_with_their_parent(shop: Shop) -> None:
    """The broker does not exist: the roles wait for it. SIGTERM stops all; SIGKILL of the parent does too."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        log = shop.config.parent / f"{number}.log"
        with log.open("w") as target:
            parent = subprocess.Popen(
                [sys.executable, "-m", "distributor", "serve", "all", "--config", str(shop.config)],
                stderr=target,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        wait_for(partial(_started, log), what="four roles")
        pids = [int(line.rpartition(" ")[2]) for line in log.read_text().splitlines() if "started as process" in line]
        parent.send_signal(number)
        out, _ = parent.communicate(timeout=60)
        assert out == b""
        assert parent.returncode == (0 if number == signal.SIGTERM else -signal.SIGKILL), log.read_text()
        for pid in pids:
            wait_for(partial(_is_gone, pid), timeout=30, what=f"the end of process {pid}")


def _started(log: Path) -> bool:
    return log.read_text().count("started as process") >= 4


def _is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
