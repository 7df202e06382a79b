"""`publish` with rules, and `quarantine list|retry|release`: what an operator sees and does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from distributor.ledger import quarantine
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.quarantine import HeldRow
from distributor.model.unfit import Unfit
from distributor.telemetry.clock import now
from distributor.telemetry.faults import KILLED, Point
from tests.capture.master import journal
from tests.cli.conftest import Run
from tests.publishing.estate import Estate
from tests.quality.estate import check, held, master_rows, quality_estate

RULES = """
[[master.datasets.products.rules]]
name = "positive"
expect = "price > 0"
on_fail = "quarantine"
[[master.datasets.products.rules]]
name = "named"
not_null = ["name"]
on_fail = "{named}"
"""


@pytest.fixture
def estate(database: Callable[[], str], tmp_path: Path) -> Estate:
    return quality_estate(database, tmp_path)


def config(estate: Estate, tmp_path: Path, named: str = "refuse") -> Path:
    file = tmp_path / "distributor.toml"
    file.write_text(
        f"""
[master]
url = "{estate.master}"
[master.datasets.products]
table = "products"
{RULES.format(named=named)}
[master.datasets.prices]
table = "prices"
references = {{ product = "products" }}
[quarantine]
max_share = 0.2
[ledger]
url = "{estate.ledger}"
[broker]
url = "amqp://h/"
[store]
path = "{estate.store.path}"
[environments.uat.systems.crm]
adapter = "sqlite"
url = "sqlite:///crm.db"
"""
    )
    return file


def test_a_refused_publish_exits_11_and_a_warning_is_shown(run: Run, tmp_path: Path, estate: Estate) -> None:
    estate.run("UPDATE products SET name = NULL WHERE id = 'p1'")
    refused = run("publish", "--json", "--config", config(estate, tmp_path))
    assert (refused.code, refused.json["error"], refused.json["retryable"]) == (11, "RuleFailedError", False)
    told = run("publish", "--config", config(estate, tmp_path))
    assert told.err.endswith(
        "distributor: dataset products: nothing was published: products: 1 row fails the rule named (name is not null):"
        " p1: name = NULL. Correct these rows on the master, or change the rule in the config. Nothing is lost: what"
        " changed goes into the next release.\n"
    )
    warned = run("publish", "--json", "--config", config(estate, tmp_path, "warn")).json
    assert warned["release"] == 2
    assert warned["failed_rules"] == [
        {
            "dataset": "products",
            "rule": "named",
            "demand": "name is not null",
            "on_fail": "warn",
            "rows": 1,
            "samples": ["p1: name = NULL"],
        }
    ]


def test_what_is_held_back_is_listed_retried_and_released(run: Run, tmp_path: Path, estate: Estate) -> None:
    options = ("--config", config(estate, tmp_path))
    assert run("quarantine", "list", *options).out == "nothing is held back\n"
    estate.run("INSERT INTO products VALUES ('new', 'x', 'x', -1), ('two', 'y', 'y', 0)")
    estate.run("INSERT INTO prices VALUES ('new', 'de', 1)")
    shown = run("publish", *options).out
    assert "held back: 2 rows of products, rule positive (price > 0): new: price = '-1'; two: price = '0'" in shown
    assert "held back from every environment: 1 row of prices, 2 rows of products; see `distributor quarantine" in shown

    rows = run("quarantine", "list", "--json", *options).json["held_back"]
    assert [(row["dataset"], row["key"], row["system"], row["column"], row["value"]) for row in rows] == [
        ("prices", ["new", "de"], "publish", "product", "new"),
        ("products", ["new"], "publish", "price", "-1"),
        ("products", ["two"], "publish", "price", "0"),
    ]
    assert [row["why"] for row in rows[:2]] == [
        "references products new, which is held back",
        "fails the rule positive (price > 0)",
    ]
    assert "every" in run("quarantine", "list", "--dataset", "prices", *options).out

    assert run("quarantine", "retry", *options).code == 2
    assert run("quarantine", "retry", "--key", "p1", *options).code == 11
    assert run("quarantine", "retry", "--dataset", "products", "--key", "two", "--dry-run", *options).code == 0
    assert journal(estate.master) == {}
    told = run("quarantine", "retry", "--all", "--by", "anna", *options)
    assert told.out == "3 rows are read and judged again with the next publish\n"
    assert journal(estate.master) == {"products": {"new", "two"}, "prices": {'["new", "de"]'}}
    assert run("publish", "--json", *options).json["held_back"] == {"prices": 1, "products": 2}

    assert run("quarantine", "release", "--key", "new", *options).code == 2
    refused = run("quarantine", "release", "--key", "new", "--key", "de", "--reason", "r", *options)
    assert (refused.code, "Release that row" in refused.err) == (11, True)
    told = run("quarantine", "release", "--key", "new", "--reason", "a gift", "--by", "ben", *options)
    assert told.out == "1 row goes out as it is with the next publish\n"
    listed = run("quarantine", "list", "--dataset", "products", "--json", *options).json["held_back"]
    assert [row["released"] for row in listed] == ["a gift", None]
    published = run("publish", "--json", *options).json
    assert (published["held_back"], published["let_go"]) == ({"products": 1}, {"prices": 1, "products": 1})
    # Once: another change of that row is judged again, by every rule.
    estate.run("UPDATE products SET price = -2 WHERE id = 'new'")
    assert run("publish", "--json", *options).json["held_back"] == {"products": 2}
    acts = run("audit", "--json", *options).json["audit"]
    assert ("ben", "quarantine release", "a gift", {"keys": {"products": [["new"]]}}) in [
        (act["who"], act["what"], act["why"], act["detail"]) for act in acts
    ]


def test_what_one_environment_lacks_is_tried_again_and_never_released(
    run: Run,
    tmp_path: Path,
    estate: Estate,
) -> None:
    unfit = Unfit(table="items", dataset="products", key=("p1",), column="name", value="n" * 99, why="is too long")
    engine = ledger_engine(estate.ledger)
    with transaction(engine) as conn:
        quarantine.hold(conn, [HeldRow.of(unfit, "uat", "crm", 1, now()), HeldRow.of(unfit, "sit", "crm", 1, now())])
    engine.dispose()
    options = ("--config", config(estate, tmp_path))
    rows = run("quarantine", "list", "--environment", "uat", "--json", *options).json["held_back"]
    assert [(row["environment"], row["system"], row["table"], row["why"]) for row in rows] == [
        ("uat", "crm", "items", "is too long")
    ]
    assert run("quarantine", "release", "--dataset", "products", "--reason", "r", *options).code == 11
    told = run("quarantine", "retry", "--environment", "uat", *options)
    assert told.out == "1 row is read and judged again with the next release that is rolled out\n"
    assert (held(estate, "uat"), len(held(estate, "sit"))) == ({}, 1)
    assert run("quarantine", "list", "--environment", "nowhere", *options).code == 2


def test_over_the_budget_nothing_goes_out(run: Run, tmp_path: Path, estate: Estate) -> None:
    options = ("--config", config(estate, tmp_path))
    estate.run("UPDATE products SET price = -1 WHERE id IN ('p1', 'p2', 'p3', 'p4', 'p5')")
    refused = run("publish", *options)
    assert refused.code == 11
    assert "dataset products: 5 rows would be held back (the rule positive: 5), and at most 4 of its 20 may be: " in (
        refused.err
    )
    assert "raise max_rows (1000) and max_share (0.2) in [quarantine]" in refused.err
    assert journal(estate.master) == {"products": {"p1", "p2", "p3", "p4", "p5"}}
    estate.run("UPDATE products SET price = 2 WHERE id = 'p1'")
    assert run("publish", "--json", *options).json["held_back"] == {"products": 4}
    # Those that are held back already count.
    estate.run("UPDATE products SET price = -1 WHERE id = 'p6'", "UPDATE products SET price = 9 WHERE id = 'p7'")
    assert run("publish", *options).code == 11
    estate.run("UPDATE products SET price = 1")
    assert run("publish", "--json", *options).json["let_go"] == {"products": 4}
    check(estate, "prices")


def test_check_names_a_rule_that_fits_no_column(run: Run, tmp_path: Path, estate: Estate) -> None:
    file = config(estate, tmp_path)
    fits = run("check", "--json", "--config", file).json
    assert "2 quality rules fit its columns" in str(fits)
    file.write_text(file.read_text().replace('not_null = ["name"]', 'not_null = ["nmae"]'))
    assert "the rule named names the column 'nmae', which is not there" in run("check", "--config", file).out


def test_a_row_that_fails_two_rules_is_released_at_once(run: Run, tmp_path: Path, estate: Estate) -> None:
    options = ("--config", config(estate, tmp_path, "quarantine"))
    estate.run("UPDATE products SET price = -1, name = NULL WHERE id = 'p1'")
    assert run("publish", "--json", *options).json["held_back"] == {"products": 1}
    assert run("quarantine", "release", "--key", "p1", "--reason", "r", "--dry-run", *options).code == 0
    assert run("publish", "--json", *options).json["held_back"] == {"products": 1}
    run("quarantine", "release", "--key", "p1", "--reason", "r", *options)
    assert run("publish", "--json", *options).json["let_go"] == {"products": 1}
    assert estate.image(estate.head().schema_of("products")) == master_rows(estate, "products")


@pytest.mark.long
@pytest.mark.parametrize(
    "fault", [Point.CHUNKS_STORED, Point.RELEASE_BEFORE_COMMIT, Point.BETWEEN_COMMITS, Point.KEYS_AFTER_COMMIT]
)
def test_a_publisher_that_dies_forgets_no_row_that_it_held_back(
    run: Run, tmp_path: Path, estate: Estate, fault: Point
) -> None:
    file = config(estate, tmp_path)
    before = master_rows(estate, "products")[("p1",)]
    estate.run("UPDATE products SET price = -1 WHERE id = 'p1'", "UPDATE products SET price = 9 WHERE id = 'p2'")
    died = subprocess.run(
        [sys.executable, "-m", "distributor", "publish", "--config", str(file)],
        env={**os.environ, "DISTRIBUTOR_FAULT": fault.value},
        capture_output=True,
        check=False,
    )
    assert died.returncode == KILLED
    assert run("publish", "--json", "--config", file).json["held_back"] == {"products": 1}
    schema = estate.head().schema_of("products")
    assert estate.image(schema) == master_rows(estate, "products") | {("p1",): before}
    assert estate.head().release == 2
    estate.run("UPDATE products SET price = 3 WHERE id = 'p1'")
    assert run("publish", "--json", "--config", file).json["release"] == 3
    assert estate.image(schema) == master_rows(estate, "products")
    assert held(estate) == {}
