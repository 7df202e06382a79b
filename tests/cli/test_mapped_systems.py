"""Systems with tables of their own, from the first load to a repair: they hold what SQL on the master says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cli import mapped
from tests.cli.mapped import CHANGES, ROWS, World

pytestmark = pytest.mark.services
make_mapped = mapped.make_mapped


def test_first_load_deltas_rollback_and_settled_slots(make_mapped: Callable[..., World]) -> None:
    world = make_mapped(keep_previous="0s")
    world.deploy()
    first = world.right()
    assert world.stored() == first
    assert all(first.values())
    for statement in CHANGES:
        world.change(statement)
    told = world.deploy()
    assert "rebuild" not in world.phases(told, "crm") | world.phases(told, "pos")
    assert world.stored() == world.right() != first
    world.settled()
    assert world.stored("shadow") == world.right()
    assert world.json("check")["ok"]
    assert world.json("rollback", "uat", "--to", 1, "--reason", "a drill")["rollout"]["state"] == "online"
    assert world.stored() == first
    assert not world.json("verify", "uat")["different"]
    world.deploy()
    assert world.stored() == world.right()


def test_a_changed_mapping_loads_that_member_anew_and_no_other(make_mapped: Callable[..., World]) -> None:
    world = make_mapped()
    world.deploy()
    world.change(CHANGES[1])
    world.stop("crm")
    # The consumer is away while the mapping changes and the release comes.
    world.configure(where="price > 100", rate="1.07")
    world.start("crm")
    told = world.deploy()
    assert world.stored() == world.right()
    assert not world.json("verify", "uat")["different"]
    [crm, pos] = told["members"]
    assert crm["system"] == "crm"
    assert crm["rows"] >= ROWS
    assert pos["rows"] < ROWS


def test_drift_of_every_kind_is_named_by_the_systems_own_keys_and_mended(make_mapped: Callable[..., World]) -> None:
    world = make_mapped()
    world.deploy()
    world.change(*CHANGES)
    world.deploy()
    right = world.right()
    articles, till = world.slot("crm", "online", "articles"), world.slot("pos", "online", "till")
    one, other = (row[0] for row in sorted(right["articles"], key=str)[:2])
    third = sorted(right["till"], key=str)[0][0]
    gone = next(iter(sorted(right["retired"], key=str)))[0]
    world.execute(
        "crm",
        f"UPDATE {articles} SET gross = gross + 0.01 WHERE \"Article No\" = '{one}'",
        f"DELETE FROM {articles} WHERE \"Article No\" = '{other}'",
        # A row of the dataset that is none of this table's, and one that is nobody's.
        f"INSERT INTO {articles} VALUES ('{gone}', 1, 'by hand'), ('BY-HAND', NULL, NULL)",
        f"UPDATE {world.slot('crm', 'shadow', 'retired')} SET name = NULL WHERE name IS NOT NULL",
    )
    world.execute(
        "pos",
        f"UPDATE {till} SET active = 'perhaps' WHERE sku = '{third}'",
        f"DELETE FROM {till} WHERE sku = 'new-1'",
        f"INSERT INTO {till} VALUES ('BY-HAND', NULL, NULL, NULL)",
    )
    told = world.json("verify", "uat", code=10)
    wanted = sorted([(one, "different"), (other, "missing"), (gone, "extra"), ("BY-HAND", "extra")])
    assert _named(told, "crm", "articles", "Article No") == wanted
    assert _named(told, "crm", "retired", "sku") == []
    assert _named(told, "pos", "till", "sku") == sorted(
        [(third, "different"), ("new-1", "missing"), ("BY-HAND", "extra")]
    )
    told = world.json("verify", "uat", "--repair", "--reason", "a drill")
    assert told["repair"]["rollout"]["state"] == "online"
    assert all(system["mended"] for system in told["systems"])
    assert all("rebuild" not in member["phases"] for member in told["repair"]["members"])
    assert world.stored() == world.stored("shadow") == right
    assert not world.json("verify", "uat")["different"]


def _named(told: dict[str, Any], system: str, table: str, key: str) -> list[tuple[str, str]]:
    [mine] = [part for part in told["systems"] if part["system"] == system]
    [found] = [part for part in mine["tables"] if part["slot"] == "online" and part["table"] == table]
    return sorted((row["key"][key], row["what"]) for row in found["rows"])


def test_an_expression_that_fails_on_rows_is_told_with_its_place_and_a_row(make_mapped: Callable[..., World]) -> None:
    world = make_mapped()
    world.deploy()
    before = world.stored()
    world.change("UPDATE products SET name = 'twelve' WHERE sku = 'SKU-12'")
    world.stop("crm")
    world.configure(gross="CAST(split_part(name, ' ', 1) AS INTEGER)")
    world.start("crm")
    ran = world.run("deploy", "uat", "--config", world.config)
    assert ran.code == 11, ran
    for part in ("crm", "articles", "SKU-", "gross", "split_part(name", "Could not convert string"):
        assert part in ran.err, (part, ran.err)
    assert world.stored() == before


def test_check_names_an_expression_that_can_never_be_computed(make_mapped: Callable[..., World]) -> None:
    world = make_mapped()
    world.configure(gross="upper(price)")
    found = world.json("check", code=1)["findings"]
    [problem] = [finding for finding in found if finding["verdict"] == "problem"]
    told = str(problem)
    for part in ("uat.crm", "table articles", "column gross", "upper(price)"):
        assert part in told


def test_a_consumer_under_the_old_mapping_never_flips(make_mapped: Callable[..., World]) -> None:
    world = make_mapped()
    world.deploy()
    before = world.stored()
    world.configure(rate="1.07")
    ran = world.run("deploy", "uat", "--json", "--timeout", "60s", "--config", world.config)
    assert ran.code in (11, 12), ran
    assert "crm" in ran.json["rollout"]["outcome"]
    assert world.stored() == before
    for system in ("crm", "pos"):
        world.stop(system)
        world.start(system)
    told = world.deploy()
    assert world.stored() == world.right() != before
    assert next(member["rows"] for member in told["members"] if member["system"] == "pos") == 0
    # The way back is under the mapping of today: it is the same content, made anew.
    assert world.json("plan", "uat")["different"] is False
