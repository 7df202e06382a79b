"""A masked environment over longer ways: rows held back, bases, what is collected, and what `check` says of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli import masked
from tests.cli.masked import World
from tests.cli.test_masked import check

pytestmark = [pytest.mark.services, pytest.mark.long]
make_masked = masked.make_masked


def test_a_row_that_a_system_cannot_take_is_held_back_and_told_of_masked(make_masked: Callable[..., World]) -> None:
    world = make_masked()
    world.deploy("uat")
    before = world.asked("crm", "SELECT * FROM products WHERE sku = 'SKU-7'")
    world.release(
        "UPDATE products SET ean = '4006381777777 Clear ' || repeat('9', 60) WHERE sku = 'SKU-7'",
        "UPDATE suppliers SET name = 'Clear Other Name' WHERE id = 734100002",
    )
    told = world("deploy", "uat").out + world("quarantine", "list", "--environment", "uat").out
    assert "SKU-7" in told
    assert "4006381777777" not in told
    assert world.asked("crm", "SELECT * FROM products WHERE sku = 'SKU-7'") == before
    assert not world.leaks()
    world.release("UPDATE products SET ean = '4006381777778' WHERE sku = 'SKU-7'")
    world.deploy("uat")
    check(world)


def test_a_member_that_lost_everything_comes_back_from_a_base_of_the_edition(
    make_masked: Callable[..., World],
) -> None:
    world = make_masked(consumers=("uat.crm", "uat.pos"))
    for step in range(4):
        if step:
            world.release(f"UPDATE products SET cost = cost + {step} WHERE supplier % 7 = {step}")
        world.deploy("uat")
        if step == 1:
            assert world.json("compact")["release"] == 2
    world.settled("uat")
    assert world.json("gc")["oldest"] == 2
    assert world.asked("ledger", "SELECT release FROM ledger.editions") == {(2,), (3,), (4,)}
    world.stop("uat.pos")
    for file in world.directory.glob("uat.db*"):
        file.unlink()
    world.start("uat.pos")
    world("refresh", "uat", "--systems", "pos", "--reason", "it lost everything")
    check(world)
    world.release("UPDATE suppliers SET phone = '0999-1234567' WHERE id = 734100003")
    world.deploy("uat")
    check(world)
    assert "base of release 2" in (world.directory / "uat.pos.log").read_text()
    assert world.json("verify", "uat")["different"] is False


def test_check_says_what_is_masked_and_what_is_not(make_masked: Callable[..., World]) -> None:
    world = make_masked(consumers=())
    [edition] = world.editions

    def found(*, code: int = 0, **other: str) -> str:
        world.config.write_text(world.written(**other))
        findings = world.json("check", code=code)["findings"]
        return "\n".join(f"{one['part']}: {one['verdict']}: {one['found']}" for one in findings)

    told = found()
    assert "uat: ok: masked under test: products.cost (token), products.ean (digits)" in told
    assert f"its consumers need {edition}, and no other directory" in told
    assert "prod: note: it sees every column in clear" in told
    assert "there is no token of a" not in told
    told = found(cost='token"\nsku = "fixed"\nnam = "null', code=1)
    assert "masking.test: problem: products.sku: unlike keys must stay unlike" in told
    assert "masking.test: problem: products.nam: there is no such column" in told
    other = """
[masking.other]
secret = "another one, of sixteen"
[masking.other.columns]
suppliers = {name = "fixed"}
products = {sku = "token"}
"""
    world.config.write_text(world.written() + other)
    findings = world.json("check")["findings"]
    notes = [one["found"] for one in findings if one["part"] == "uat" and "in clear" in one["found"]]
    assert notes == ["in clear here: products.sku (masked under other)"]


def test_an_environment_begins_to_be_masked_and_ends_to_be(make_masked: Callable[..., World]) -> None:
    world = make_masked(consumers=("uat.crm", "uat.pos"))
    world.restart(masking="")
    world.deploy("uat")
    clear = "SELECT id::text, name, phone, note FROM suppliers"
    assert world.asked("crm", clear) == world.asked("master", clear)
    world.release("UPDATE suppliers SET phone = '0999-7654321' WHERE id = 734100003")
    world.restart()
    assert world.json("plan", "uat")["different"] is True
    world.deploy("uat")
    world.settled("uat")
    check(world)
    world.restart(masking="")
    world.release("UPDATE suppliers SET phone = '0999-7777777' WHERE id = 734100004")
    world.deploy("uat")
    assert world.asked("crm", clear) == world.asked("master", clear)
    assert world.json("verify", "uat")["different"] is False
    world("rollback", "uat", "--reason", "back")
    assert ("734100003", "0999-7654321") in world.asked("crm", "SELECT id::text, phone FROM suppliers")
