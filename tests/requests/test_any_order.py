"""Any changes, any requests, rows that fit and do not: what is shown is whole and fits, and nothing stays back without
need. Everything is worked out once more by plain Python."""

from __future__ import annotations

from random import Random

import pytest

from distributor.coordination.unfit import hear_unfit
from distributor.ledger.engine import transaction
from distributor.model.unfit import Unfit
from distributor.requests.netting import Counted
from distributor.requests.plans import planned
from distributor.rollout.events import RefusalReason, Refused
from distributor.rollout.state import Cause
from distributor.telemetry.clock import now
from distributor.wire.messages import UnfitReport
from tests.requests import catalogue as fixtures
from tests.requests.estate import Desk, Row, Rows, report

pytestmark = pytest.mark.services
catalogue = fixtures.catalogue
NAMES = ("short", "odd #", "a long name", "n", None)
PLACES = ("1", "22", "third", None)


def statement(chance: Random) -> str:
    sku, other = (f"P{chance.randint(1, 12)}" for _ in range(2))
    name, place = (f"'{v}'" if v else "NULL" for v in (chance.choice(NAMES), chance.choice(PLACES)))
    parent = chance.choice(("NULL", f"'{other}'", f"'{sku}'", "'nobody'"))
    return chance.choice(
        (
            f"UPDATE products SET name = {name} WHERE sku = '{sku}'",
            f"UPDATE products SET place = {place}, name = {name} WHERE sku = '{sku}'",
            f"UPDATE products SET parent = {parent} WHERE sku = '{sku}'",
            f"DELETE FROM products WHERE sku = '{sku}'",
            f"INSERT INTO products VALUES ('{sku}', {name}, {place}, {parent}) ON CONFLICT (sku)"
            " DO UPDATE SET parent = excluded.parent",
            f"UPDATE prices SET price = {chance.randint(1, 99)} WHERE product = '{sku}'",
            f"UPDATE prices SET product = '{other}' WHERE id = 'X{chance.randint(1, 12)}'",
            f"INSERT INTO prices VALUES ('X{chance.randint(1, 20)}', '{sku}', 5) ON CONFLICT (id)"
            " DO UPDATE SET price = 6",
        )
    )


def odd(content: dict[str, Rows]) -> list[Row]:
    """Products that crm cannot store."""
    return [key for key, row in content["products"].items() if "#" in (row[1] or "")]


def fits(content: dict[str, Rows]) -> bool:
    places = all(row[2] is None or row[2].isdigit() for row in content["products"].values())
    titles = all(len(row[3] or "") <= 8 for row in content["prices.joined"].values())
    return places and titles and not odd(content)


def joined(content: dict[str, Rows]) -> Rows:
    names = {key[0]: row[1] for key, row in content["products"].items()}
    return {key: (*row, names.get(row[1])) for key, row in content["prices"].items()}


def moved(before: Rows, after: Rows) -> tuple[int, int, int]:
    """Rows in, changed and out."""
    changed = sum(before[key] != after[key] for key in before.keys() & after.keys())
    return len(after.keys() - before.keys()), changed, len(before.keys() - after.keys())


def _counts(counted: Counted) -> tuple[int, int, int]:
    return counted.inserted, counted.updated, counted.deleted


def until_it_fits(desk: Desk) -> None:
    """The active rollout goes online, or crm refuses it and the next one does."""
    while True:
        active = desk.state.active or desk.begin()
        sha256 = desk.manifest_of(active.release)
        assert sha256
        if not (keys := odd(desk.content(sha256))):
            desk.go_online()
            return
        rows = tuple(
            Unfit(table="products", dataset="products", key=key, column="name", value="#", why="is odd") for key in keys
        )
        desk.feed(
            lambda state, a=active: Refused(**report(state, a, "crm"), reason=RefusalReason.PERMANENT, text="odd")
        )
        told = UnfitReport(
            environment="uat",
            system="crm",
            epoch=active.epoch,
            rollout_id=active.id,
            release=active.release,
            manifest=sha256,
            total=len(rows),
            rows=rows,
            reported_at=now(),
        )
        with transaction(desk.engine) as conn:
            hear_unfit(conn, desk.settings, desk.store, told)


def walk(desk: Desk, seed: int, steps: int) -> None:
    chance = Random(seed)
    desk.release()
    taken: dict[int, dict[str, Rows]] = {1: desk.take()}
    plain = {1: taken[1]}
    newest = 1
    for _ in range(steps):
        newest_now = desk.release(*(statement(chance) for _ in range(chance.randint(1, 4)))) or newest
        if newest_now != newest:
            newest = newest_now
            plain[newest] = desk.content(desk.manifest_of(newest))
        if chance.random() < 0.3:
            continue
        release = newest if chance.random() < 0.7 else chance.choice(sorted(plain))
        before = desk.shown
        plan = planned(desk.engine, desk.settings, desk.store, "uat", release=release)
        desk.ask(release, cause=chance.choice((Cause.OPERATOR, Cause.REFRESH)))
        assert plan.wanted
        assert plan.wanted.sha256 == desk.manifest_of(release), (seed, release)
        until_it_fits(desk)
        if plan.wanted.sha256 == desk.manifest_of(release):
            [crm] = [system for system in plan.systems if system.system == "crm"]
            for table in crm.tables:
                assert _counts(table.counted) == moved(before[table.dataset], desk.shown[table.dataset]), (
                    seed,
                    release,
                )
        assert desk.state.shown == release
        shown = desk.shown
        assert fits(shown), (seed, release)
        assert shown["prices.joined"] == joined(shown), (seed, release)
        if release in taken:
            assert shown == taken[release]
            continue
        taken[release] = shown
        if release == newest and fits(plain[release]):
            assert shown == plain[release], (seed, release)
        for dataset in ("products", "prices"):
            for key in shown[dataset].keys() | plain[release][dataset].keys():
                row = shown[dataset].get(key)
                assert row in (plain[release][dataset].get(key), before[dataset].get(key)), (seed, release, key)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_shown_is_whole_and_fits(catalogue: Desk, seed: int) -> None:
    walk(catalogue, seed, 12)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 106))
def test_what_is_shown_is_whole_and_fits_for_long(catalogue: Desk, seed: int) -> None:
    walk(catalogue, seed, 40)
