"""`plan`: what it says is what a deploy then does, and nothing is touched by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.cli import mapped
from tests.cli.mapped import CHANGES, ROWS, Rows, World

pytestmark = pytest.mark.services
make_mapped = mapped.make_mapped


def tables(plan: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    """Table → rows in, updated, out."""
    found = [table for system in plan["systems"] for table in system["tables"]]
    return {table["table"]: (table["rows_in"], table["rows_updated"], table["rows_out"]) for table in found}


def applied(before: dict[str, Rows], after: dict[str, Rows]) -> dict[str, tuple[int, int, int]]:
    """The same by what readers found before and find after."""
    found = {}
    for name, rows in after.items():
        old, new = ({row[0]: row for row in part} for part in (before[name], rows))
        updated = sum(old[key] != new[key] for key in old.keys() & new.keys())
        found[name] = (len(new.keys() - old.keys()), updated, len(old.keys() - new.keys()))
    return found


def everything(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """All that the ledger keeps of environments, and all objects of the store."""
    with psycopg.connect(world.urls["ledger"]) as ledger:
        names = (
            "environments",
            "rollouts",
            "releases",
            "expected_certificates",
            "quarantine",
            "variants",
            "outbox",
            "audit",
        )
        query = "SELECT * FROM ledger.{}"
        found = {name: sorted(ledger.execute(query.format(name).encode()).fetchall(), key=str) for name in names}
    # What only tells when a member was last heard of is not of the plan's doing.
    del found["environments"], found["outbox"]
    store = world.config.parent / "store"
    found["store"] = sorted((str(path),) for path in store.rglob("*") if path.is_file())
    return found


def test_a_plan_touches_nothing_and_says_what_a_deploy_then_does(make_mapped: Callable[..., World]) -> None:
    world = make_mapped(keep_previous="0s")
    told = world.json("plan", "uat", "--exit-code", code=10)
    assert (told["shown"], told["release"], told["different"], told["refused"]) == (0, 1, True, "")
    first = {name: (len(rows), 0, 0) for name, rows in world.right().items()}
    assert tables(told) == first
    world.deploy("--plan", told["plan"][:12])
    before = world.stored()
    assert {name: len(rows) for name, rows in before.items()} == {name: rows for name, (rows, _, _) in first.items()}
    world.settled()

    told = world.json("plan", "uat", "--exit-code")
    assert not told["different"]
    assert all(not any(numbers) for numbers in tables(told).values())
    assert {system["way"] for system in told["systems"]} == {"nothing to load"}

    for statement in CHANGES:
        world.change(statement)
    kept = everything(world)
    told = world.json("plan", "uat", "--limit", 3, "--exit-code", code=10)
    assert everything(world) == kept
    assert [system["way"] for system in told["systems"]] == [told["systems"][0]["way"]] * 2
    assert told["systems"][0]["way"].endswith(f"over {len(CHANGES)} releases")
    for system in told["systems"]:
        for table in system["tables"]:
            changed = sum(table[name] for name in ("rows_in", "rows_updated", "rows_out"))
            assert len(table["sample"]) == min(3, changed)
    [articles] = [t for t in told["systems"][0]["tables"] if t["table"] == "articles"]
    for row in articles["sample"]:
        now = {found[0]: found for found in world.right()["articles"]}
        was = {found[0]: found for found in before["articles"]}
        key = row["key"]["Article No"]
        assert (key in was, key in now) == (row["op"] != "insert", row["op"] != "delete")
        for field in row["fields"]:
            at = ("Article No", "gross", "label").index(field["column"])
            assert field["before"] == (was[key][at] if key in was else None)
            assert field["after"] == (now[key][at] if key in now else None)
    shown = world("plan", "uat")
    assert f"plan {told['plan'][:12]}" in shown.out
    world.deploy("--plan", told["plan"])
    assert applied(before, world.stored()) == tables(told)
    for system in told["systems"]:
        # The way that the member itself took, as its log has it.
        assert system["way"] in (world.config.parent / f"{system['system']}.log").read_text()

    back = world.json("plan", "uat", "--release", 1)
    online = world.stored()
    assert "that is back" in " ".join(back["remarks"])
    world.deploy("--release", 1, "--plan", back["plan"])
    assert applied(online, world.stored()) == tables(back)


def test_a_stale_plan_is_refused(make_mapped: Callable[..., World]) -> None:
    world = make_mapped()
    world.deploy()
    world.change(CHANGES[0])
    told = world.json("plan", "uat")
    world.change(CHANGES[1])
    ran = world("deploy", "uat", "--plan", told["plan"], code=11)
    assert "stale" in ran.err
    again = world.json("plan", "uat")
    assert again["plan"] != told["plan"]
    # A mapping that changed is another plan, too, and loads that member anew.
    world.configure(rate="1.07")
    assert "stale" in world("deploy", "uat", "--plan", again["plan"], code=11).err
    mapped = world.json("plan", "uat")
    [crm, pos] = mapped["systems"]
    assert {table["anew"] for table in crm["tables"]} == {"the mapping changed"}
    assert [table["anew"] for table in pos["tables"]] == [""]
    assert crm["rebuild"] in ("the mapping changed", "the slot is empty")
    right = world.right()
    assert {t["table"]: t["rows_in"] for t in crm["tables"]} == {n: len(right[n]) for n in ("articles", "retired")}
    assert world("deploy", "uat", "--plan", "abc", code=11)


def test_what_is_in_the_way_is_told(make_mapped: Callable[..., World]) -> None:
    world = make_mapped()
    world.deploy()
    world("hold", "uat", "--reason", "price tests")
    world.change("UPDATE products SET name = repeat('x', 80) WHERE sku IN ('SKU-13', 'SKU-16')")
    told = world.json("plan", "uat")
    assert [text for text in told["waits_for"] if "price tests" in text]
    held = [(row["key"], row["system"], row["table"], row["column"]) for row in told["held_back"]]
    assert held == [([sku], "crm", "articles", "label") for sku in ("SKU-13", "SKU-16")]
    with psycopg.connect(world.urls["ledger"]) as ledger:
        assert ledger.execute("SELECT count(*) FROM ledger.quarantine").fetchall() == [(0,)]
    assert "would be held back: products SKU-13" in world("plan", "uat").out
    # More than may be held back is a refusal, with the reason.
    world.change("UPDATE products SET name = repeat('x', 80) WHERE active")
    told = world.json("plan", "uat", "--exit-code", code=11)
    for part in ("would be held back", "articles", "label", "longer than 60"):
        assert part in told["refused"], told["refused"]
    assert told["systems"] == []


def test_the_first_plan_of_all_counts_every_row(make_mapped: Callable[..., World]) -> None:
    world = make_mapped()
    told = world.json("plan", "uat", "--release", 0, "--exit-code")
    assert not told["different"]
    assert sum(numbers[0] for numbers in tables(world.json("plan", "uat")).values()) <= 3 * ROWS
    assert "there is no release yet" not in told["refused"]
