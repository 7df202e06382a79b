"""Each kind of rule under each `on_fail`: what goes out, what is said, and what stays in the journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from distributor.errors import ConfigError, RuleFailedError, SchemaError
from distributor.model.manifest import Counts
from tests.capture.master import journal
from tests.quality.estate import check, held, master_rows, quality_estate, reconfigured

Rule = dict[str, Any]

# Kind → (rule of products, a statement that breaks it for p3 alone, how its value is told).
ROW_RULES: dict[str, tuple[Rule, str, str]] = {
    "expect": ({"expect": "price > 0"}, "UPDATE products SET price = -1 WHERE id = 'p3'", "price = '-1'"),
    "expect fails": (
        {"expect": "CASE WHEN name LIKE 'name%' THEN true ELSE CAST(name AS INTEGER) > 0 END"},
        "UPDATE products SET name = 'x' WHERE id = 'p3'",
        "name = 'x' (it cannot be computed)",
    ),
    "not_null": ({"not_null": ["barcode", "name"]}, "UPDATE products SET name = NULL WHERE id = 'p3'", "name = NULL"),
    "range": (
        {"range": {"column": "price", "min": 0.01, "max": 1000}},
        "UPDATE products SET price = 1000.01 WHERE id = 'p3'",
        "price = '1000.01'",
    ),
    "range of any digits": (
        {"range": {"column": "weight", "max": "20.00000000000000000000000000000000000000001"}},
        "UPDATE products SET weight = 20.00000000000000000000000000000000000000002 WHERE id = 'p3'",
        "weight = '20.00000000000000000000000000000000000000002'",
    ),
    "range of dates": (
        {"range": {"column": "added", "min": "2026-01-01"}},
        "UPDATE products SET added = '2025-12-31' WHERE id = 'p3'",
        "added = '2025-12-31'",
    ),
    "range of doubles": (
        {"range": {"column": "score", "min": 0, "max": 100}},
        "UPDATE products SET score = 'NaN' WHERE id = 'p3'",
        "score = 'NaN'",
    ),
    "matches": (
        {"matches": {"column": "barcode", "pattern": "b[0-9]+"}},
        "UPDATE products SET barcode = E'b1\\nb1' WHERE id = 'p3'",
        r"barcode = 'b1\nb1'",
    ),
    "unique": (
        {"unique": ["barcode"]},
        "UPDATE products SET barcode = 'b4' WHERE id = 'p3'",
        "barcode = 'b4'",
    ),
    "unique together": (
        {"unique": ["barcode", "name"]},
        "UPDATE products SET barcode = 'b4', name = 'name 4' WHERE id = 'p3'",
        "barcode = 'b4', name = 'name 4'",
    ),
}


@pytest.mark.parametrize("kind", ROW_RULES)
def test_refuse_publishes_nothing_and_loses_nothing(database: Callable[[], str], tmp_path: Path, kind: str) -> None:
    rule, statement, told = ROW_RULES[kind]
    estate = quality_estate(database, tmp_path, [{"name": "r 1", **rule}])
    estate.run(statement, "UPDATE products SET name = 'name of seven' WHERE id = 'p7'")
    with pytest.raises(RuleFailedError) as refused:
        estate.publish()
    text = str(refused.value)
    assert refused.value.exit_code == 11
    assert "dataset products: nothing was published: products: 1 row fails the rule r 1 (" in text
    assert f"p3: {told}" in text
    assert "Correct these rows on the master" in text
    assert estate.head().release == 1
    assert journal(estate.master) == {"products": {"p3", "p7"}}
    assert held(estate) == {}
    estate.run(
        "UPDATE products SET name = 'name 3', barcode = NULL, price = 1, weight = 1, added = NULL, score = 1"
        " WHERE id = 'p3'"
    ) if kind != "not_null" else estate.run("UPDATE products SET name = 'y' WHERE id = 'p3'")
    assert estate.publish().counts["products"] == Counts(updates=2)
    check(estate, "products")


@pytest.mark.parametrize("kind", ROW_RULES)
def test_warn_publishes_and_says_it(database: Callable[[], str], tmp_path: Path, kind: str) -> None:
    rule, statement, told = ROW_RULES[kind]
    estate = quality_estate(database, tmp_path, [{"name": "r", "on_fail": "warn", **rule}])
    estate.run(statement)
    result = estate.publish()
    assert result.release == 2
    (finding,) = result.judged.findings
    assert (finding.dataset, finding.rule, finding.on_fail, finding.rows) == ("products", "r", "warn", 1)
    assert told in str(finding)
    check(estate, "products")
    said = estate.scalar(estate.ledger, "SELECT why FROM ledger.audit WHERE what = 'warn'")
    assert said == str(finding)


@pytest.mark.parametrize("kind", ROW_RULES)
def test_quarantine_holds_the_row_back_and_ships_the_rest(
    database: Callable[[], str], tmp_path: Path, kind: str
) -> None:
    rule, statement, told = ROW_RULES[kind]
    estate = quality_estate(database, tmp_path, [{"name": "r", "on_fail": "quarantine", **rule}])
    before = master_rows(estate, "products")[("p3",)]
    estate.run(
        statement, "UPDATE products SET name = 'name of seven' WHERE id = 'p7'", "DELETE FROM products WHERE id = 'p9'"
    )
    result = estate.publish()
    assert result.counts["products"] == Counts(updates=1, deletes=1)
    check(estate, "products", but={("p3",): before})
    assert result.judged.held == {"products": 1}
    (finding,) = result.judged.findings
    assert told.partition(" (")[0] in str(finding)
    (why,) = held(estate).values()
    assert why.startswith("fails the rule r (")
    assert journal(estate.master) == {}
    # It is read again each time, and told once.
    again = estate.publish()
    assert (again.release, again.judged.findings, again.judged.held) == (None, (), {"products": 1})
    assert estate.scalar(estate.ledger, "SELECT count(*) FROM ledger.audit WHERE what = 'hold back'") == 1
    estate.run(
        "UPDATE products SET name = 'name 3', barcode = 'b3', price = 5, weight = 1, added = NULL, score = 1"
        " WHERE id = 'p3'"
    )
    result = estate.publish()
    assert result.counts["products"] == Counts(updates=1)
    assert result.judged.let_go == {"products": 1}
    assert held(estate) == {}
    check(estate, "products")


def test_null_passes_all_but_not_null(database: Callable[[], str], tmp_path: Path) -> None:
    rules = [
        {"name": f"r{at}", **rule} for at, (kind, (rule, _, _)) in enumerate(ROW_RULES.items()) if kind != "not_null"
    ]
    estate = quality_estate(database, tmp_path, rules)
    estate.run("INSERT INTO products (id) VALUES ('empty'), ('void')")
    assert estate.publish().counts["products"] == Counts(inserts=2)


def test_references_of_rows_that_come_and_of_rows_that_go(database: Callable[[], str], tmp_path: Path) -> None:
    rule = {"name": "known", "references": "product"}
    estate = quality_estate(database, tmp_path, prices=[rule])
    estate.run("INSERT INTO prices VALUES ('p99', 'de', 1, NULL)", "DELETE FROM products WHERE id = 'p2'")
    with pytest.raises(RuleFailedError) as refused:
        estate.publish()
    assert "prices: 2 rows fail the rule known (product names a row): " in str(refused.value)
    assert "p99 de: product = 'p99'" in str(refused.value)
    assert "p2 de: product = 'p2'" in str(refused.value)
    estate.run("INSERT INTO products (id) VALUES ('p99')", "DELETE FROM prices WHERE product = 'p2'")
    result = estate.publish()
    assert result.counts == {"products": Counts(inserts=1, deletes=1), "prices": Counts(inserts=1, deletes=1)}


def test_references_hold_back_what_comes_and_what_goes(database: Callable[[], str], tmp_path: Path) -> None:
    rule = {"name": "known", "references": "product", "on_fail": "quarantine"}
    estate = quality_estate(database, tmp_path, prices=[rule])
    two = master_rows(estate, "products")[("p2",)]
    estate.run(
        "INSERT INTO prices VALUES ('p99', 'de', 1, NULL)",
        "DELETE FROM products WHERE id IN ('p2', 'p5')",
        "DELETE FROM prices WHERE product = 'p5'",
    )
    result = estate.publish()
    assert result.counts == {"products": Counts(deletes=1), "prices": Counts(deletes=1)}
    check(estate, "products", but={("p2",): two})
    check(estate, "prices", without=(("p99", "de"),))
    assert held(estate) == {
        ("prices", "p99", "de"): "fails the rule known (product names a row)",
        ("products", "p2"): "is deleted, which fails the rule known of prices (product names a row)",
    }
    # Neither row changes: what was in their way goes.
    estate.run("INSERT INTO products (id) VALUES ('p99')", "DELETE FROM prices WHERE product = 'p2'")
    result = estate.publish()
    assert result.judged.let_go == {"prices": 1, "products": 1}
    check(estate, "products")
    check(estate, "prices")


def test_a_price_of_a_held_back_new_product_stays_behind(database: Callable[[], str], tmp_path: Path) -> None:
    rule = {"name": "named", "not_null": ["name"], "on_fail": "quarantine"}
    estate = quality_estate(database, tmp_path, [rule])
    estate.run(
        "INSERT INTO products (id, name) VALUES ('new', NULL), ('fine', 'x')",
        "INSERT INTO prices VALUES ('new', 'de', 1, NULL), ('fine', 'de', 1, NULL)",
    )
    result = estate.publish()
    assert result.counts == {"products": Counts(inserts=1), "prices": Counts(inserts=1)}
    assert held(estate)[("prices", "new", "de")] == "references products new, which is held back"
    check(estate, "prices", without=(("new", "de"),))
    estate.run("UPDATE products SET name = 'x' WHERE id = 'new'")
    assert estate.publish().counts == {"products": Counts(inserts=1), "prices": Counts(inserts=1)}
    check(estate, "products")
    check(estate, "prices")
    assert held(estate) == {}


def test_a_value_that_a_held_row_keeps_cannot_be_taken(database: Callable[[], str], tmp_path: Path) -> None:
    rules = [
        {"name": "positive", "expect": "price > 0", "on_fail": "quarantine"},
        {"name": "one", "unique": ["barcode"], "on_fail": "quarantine"},
    ]
    estate = quality_estate(database, tmp_path, rules)
    rows = master_rows(estate, "products")
    estate.run(
        "UPDATE products SET barcode = 'free', price = -1 WHERE id = 'p1'",
        "UPDATE products SET barcode = 'b1' WHERE id = 'p2'",
        "UPDATE products SET barcode = 'b2' WHERE id = 'p3'",
        "UPDATE products SET barcode = 'own' WHERE id = 'p4'",
    )
    assert estate.publish().counts["products"] == Counts(updates=1)
    check(estate, "products", but={(key,): rows[(key,)] for key in ("p1", "p2", "p3")})
    estate.run("UPDATE products SET price = 1 WHERE id = 'p1'")
    assert estate.publish().counts["products"] == Counts(updates=3)
    check(estate, "products")


def test_two_new_rows_of_one_value_both_stay_behind(database: Callable[[], str], tmp_path: Path) -> None:
    estate = quality_estate(database, tmp_path, [{"name": "one", "unique": ["barcode"], "on_fail": "quarantine"}])
    long = "x" * 9000
    estate.run(f"INSERT INTO products (id, barcode) VALUES ('a', '{long}'), ('b', '{long}'), ('c', '{long}y')")
    assert estate.publish().counts["products"] == Counts(inserts=1)
    assert held(estate).keys() == {("products", "a"), ("products", "b")}
    estate.run("DELETE FROM products WHERE id = 'a'")
    assert estate.publish().counts["products"] == Counts(inserts=1)
    check(estate, "products")


VOLUMES: dict[str, tuple[Rule, str, str]] = {
    "min_share": (
        {"min_share": 0.5},
        "DELETE FROM products WHERE id <> 'p1'",
        "1 rows after 20, and at least 50.0% of 20",
    ),
    "max_share": (
        {"max_share": 2},
        "INSERT INTO products (id) SELECT 'n' || n FROM generate_series(1, 21) AS n",
        "41 rows after 20, and at most 200.0%",
    ),
    "max_deletes_share": (
        {"max_deletes_share": 0.1},
        "DELETE FROM products WHERE id IN ('p1', 'p2', 'p3')",
        "3 rows are deleted, and at most 10.0% of 20 may be",
    ),
    "max_updates_share": ({"max_updates_share": 0.5}, "UPDATE products SET name = 'x'", "20 rows are updated"),
    "min_rows": ({"min_rows": 20}, "DELETE FROM products WHERE id = 'p1'", "19 rows, and at least 20"),
    "max_rows": ({"max_rows": 20}, "INSERT INTO products (id) VALUES ('x')", "21 rows, and at most 20"),
}


@pytest.mark.parametrize("limit", VOLUMES)
def test_a_delivery_of_another_size_is_refused_or_said(database: Callable[[], str], tmp_path: Path, limit: str) -> None:
    volume, statement, told = VOLUMES[limit]
    estate = quality_estate(database, tmp_path, [{"name": "size", "volume": volume}])
    estate.run(statement)
    with pytest.raises(RuleFailedError, match="products: it fails the rule size") as refused:
        estate.publish()
    assert told in str(refused.value)
    assert estate.head().release == 1
    reconfigured(estate, [{"name": "size", "volume": volume, "on_fail": "warn"}])
    assert told in str(estate.publish().judged.findings[0])
    check(estate, "products")


def test_a_truncated_table_that_is_reloaded_with_a_hundredth_is_no_mass_deletion(
    database: Callable[[], str], tmp_path: Path
) -> None:
    estate = quality_estate(database, tmp_path, [{"name": "size", "volume": {"min_share": 0.9}}], rows=200)
    estate.run(
        "CREATE TABLE kept AS SELECT * FROM products",
        "TRUNCATE products",
        "INSERT INTO products SELECT * FROM kept WHERE id IN ('p1', 'p2')",
    )
    with pytest.raises(RuleFailedError, match="2 rows after 200"):
        estate.publish()
    assert journal(estate.master)["products"] >= {"*"}
    estate.run("INSERT INTO products SELECT * FROM kept WHERE id NOT IN ('p1', 'p2')")
    assert estate.publish().release is None


def test_ten_samples_are_named_and_the_rest_is_counted(database: Callable[[], str], tmp_path: Path) -> None:
    estate = quality_estate(database, tmp_path, [{"name": "positive", "expect": "price > 0"}], rows=30)
    estate.run("UPDATE products SET price = -price")
    with pytest.raises(RuleFailedError) as refused:
        estate.publish()
    assert "products: 30 rows fail the rule positive (price > 0): " in str(refused.value)
    assert str(refused.value).count("price = '-") == 10
    assert "; and 20 more. " in str(refused.value)


def test_a_rule_that_names_no_column_is_said_and_loses_nothing(database: Callable[[], str], tmp_path: Path) -> None:
    estate = quality_estate(database, tmp_path)
    estate.run("UPDATE products SET name = 'x' WHERE id = 'p1'")
    for rule, error, told in (
        ({"not_null": ["colour"]}, SchemaError, "names the column 'colour'"),
        ({"unique": ["colour"]}, SchemaError, "names the column 'colour'"),
        ({"expect": "colour = 'red'"}, SchemaError, "no column 'colour'"),
        ({"matches": {"column": "name", "pattern": "(?=x)"}}, ConfigError, "no regular expression"),
        ({"range": {"column": "price", "min": "much"}}, ConfigError, "'much' is no number"),
        ({"range": {"column": "added", "min": "soon"}}, ConfigError, "'soon' is no date"),
    ):
        reconfigured(estate, [{"name": "r", **rule}])
        with pytest.raises(error, match=told):
            estate.publish()
        assert journal(estate.master) == {"products": {"p1"}}
    with psycopg.connect(estate.ledger) as connection:
        made = connection.execute("SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'quality%'").fetchone()
    assert made == (0,)


def test_a_dry_run_judges_and_changes_nothing(database: Callable[[], str], tmp_path: Path) -> None:
    rules = [{"name": "positive", "expect": "price > 0", "on_fail": "quarantine"}]
    estate = quality_estate(database, tmp_path, rules)
    before = sorted(estate.store.path.rglob("*"))
    estate.run("UPDATE products SET price = -1 WHERE id = 'p1'", "UPDATE products SET price = 7 WHERE id = 'p2'")
    result = estate.publish(dry_run=True)
    assert result.counts["products"] == Counts(updates=1)
    assert result.judged.held == {"products": 1}
    assert held(estate) == {}
    assert sorted(estate.store.path.rglob("*")) == before
    assert journal(estate.master) == {"products": {"p1", "p2"}}


def test_indexes_are_those_that_the_rules_need(database: Callable[[], str], tmp_path: Path) -> None:
    rules = [{"name": "one", "unique": ["barcode"]}, {"name": "two", "unique": ["barcode", "name"]}]
    estate = quality_estate(database, tmp_path, rules, [{"name": "known", "references": "product"}])
    count = "SELECT count(*) FROM pg_indexes WHERE schemaname = 'image' AND indexname LIKE 'quality%'"
    assert estate.scalar(estate.ledger, count) == 3
    reconfigured(estate, rules[:1])
    estate.run("UPDATE products SET price = 7 WHERE id = 'p1'")
    estate.publish()
    assert estate.scalar(estate.ledger, count) == 1
    reconfigured(estate)
    estate.publish()
    assert estate.scalar(estate.ledger, count) == 0
