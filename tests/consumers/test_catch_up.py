"""Over any distance: real members that were away, that come late, that lost a slot or go far back, by the cheap way."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import psycopg
import pytest

from distributor.store.bases import base_of
from distributor.store.ways import read_base
from distributor.wire.messages import FlippedReport, SettledReport
from tests.consumers.catalogue import Catalogue, prices, products
from tests.consumers.estate import Coordinator, Member
from tests.consumers.test_scenarios import online, staged

RELEASES, PRODUCTS, EACH = 300, 400, 3
BASE = 250


@pytest.fixture
def long(catalogue: Catalogue) -> Catalogue:
    """RELEASES small releases: each renames EACH products, and what was renamed before gets its name back."""
    ordinary = {row[0]: row for row in products(PRODUCTS)}
    catalogue.publish(products=set(ordinary.values()), prices=prices(50))
    for turn in range(RELEASES):
        renamed = {f"P{(turn * EACH + n) % PRODUCTS:06}" for n in range(EACH)}
        content = {
            sku: (row[0], f"of turn {turn}", *row[2:]) if sku in renamed else row for sku, row in ordinary.items()
        }
        catalogue.publish(products=set(content.values()))
    return catalogue


def base(catalogue: Catalogue, release: int) -> None:
    base_of(catalogue.store, release, str(catalogue.manifests[release]))


def ways(member: Member) -> list[str]:
    """What the member's log says of the ways that it took."""
    lines = [json.loads(line) for line in member.log.read_text().splitlines() if line.startswith("{")]
    return [line["way"] for line in lines if line["event"] == "loading"]


def lose_shadow(member: Member) -> None:
    """What was half written when the store's machine went down: the shadow's row says that nobody knows."""
    row = member.row()
    shadow = "b" if row.active == "a" else "a"
    torn = row.model_copy(update={"slots": {**row.slots, shadow: row.shadow.model_copy(update={"intact": False})}})
    if member.adapter == "sqlite":
        with closing(sqlite3.connect(member.url.removeprefix("sqlite:///"), timeout=10)) as connection:
            connection.execute("UPDATE _distributor_member SET row = ?", [torn.model_dump_json()])
            connection.commit()
        return
    with psycopg.connect(member.url) as connection:
        connection.execute("UPDATE distributor.member SET row = %s", [torn.model_dump_json()])


@pytest.mark.long
def test_a_member_that_was_away_takes_the_net_of_hundreds_of_releases(
    member: Member, coordinator: Coordinator, long: Catalogue
) -> None:
    member.start()
    online(coordinator, 1, 1)
    coordinator.send(coordinator.settle(2, 1))
    coordinator.expect(SettledReport)
    assert member.stop() == 0
    # From release 1 on there are more changed rows than the catalogue has.
    base(long, BASE)
    member.start()
    report = staged(coordinator, 3, RELEASES + 1, from_release=1)
    assert (member.shows(), report.shadow) == (1, RELEASES + 1)
    coordinator.send(coordinator.flip(3, RELEASES + 1))
    coordinator.expect(FlippedReport)
    coordinator.send(coordinator.settle(4, RELEASES + 1))
    coordinator.expect(SettledReport)
    assert (member.shows(), member.content()) == (RELEASES + 1, long.contents[-1])
    assert ways(member)[0] == "everything anew: 500 rows over 1 release"
    base_way = f"base of release {BASE} (500 rows) + {RELEASES + 1 - BASE} releases"
    assert ways(member)[2:] == [base_way, base_way]


def test_a_member_that_was_away_not_so_long_takes_the_delta(
    member: Member, coordinator: Coordinator, long: Catalogue
) -> None:
    base(long, BASE)
    member.start()
    online(coordinator, 1, RELEASES - 40)
    coordinator.send(coordinator.settle(2, RELEASES - 40))
    coordinator.expect(SettledReport)
    report = staged(coordinator, 3, RELEASES + 1, from_release=RELEASES - 40)
    assert report.rows_applied == 2 * EACH
    assert ways(member)[-1] == "delta of 246 rows over 41 releases"
    coordinator.send(coordinator.flip(3, RELEASES + 1))
    coordinator.expect(FlippedReport)
    coordinator.send(coordinator.settle(4, RELEASES + 1))
    coordinator.expect(SettledReport)
    assert member.content() == long.contents[-1]


def test_one_that_joins_late_or_lost_its_shadow_starts_at_the_nearest_base(
    member: Member, coordinator: Coordinator, long: Catalogue
) -> None:
    base(long, BASE)
    member.start()
    online(coordinator, 1, BASE + 1)
    assert ways(member) == [f"base of release {BASE} (500 rows) + 1 release"]
    coordinator.send(coordinator.settle(2, BASE + 1))
    coordinator.expect(SettledReport)
    assert member.stop() == 0
    lose_shadow(member)
    member.start()
    online(coordinator, 3, BASE + 2, from_release=BASE + 1)
    assert ways(member)[-1] == f"base of release {BASE} (500 rows) + 2 releases"
    assert (member.shows(), member.content()) == (BASE + 2, long.contents[BASE + 2])


def test_far_back_by_whichever_way_is_shorter(member: Member, coordinator: Coordinator, long: Catalogue) -> None:
    base(long, 1)
    base(long, BASE)
    member.start()
    online(coordinator, 1, RELEASES + 1)
    coordinator.send(coordinator.settle(2, RELEASES + 1))
    coordinator.expect(SettledReport)
    online(coordinator, 3, BASE + 30, from_release=RELEASES + 1)
    assert ways(member)[-1] == "21 releases back (126 rows)"
    assert member.content() == long.contents[BASE + 30]
    coordinator.send(coordinator.settle(4, BASE + 30))
    coordinator.expect(SettledReport)
    online(coordinator, 5, 10, from_release=BASE + 30)
    assert ways(member)[-1] == "base of release 1 (500 rows) + 9 releases"
    assert (member.shows(), member.content()) == (10, long.contents[10])


def test_what_lies_before_the_base_may_be_gone(member: Member, coordinator: Coordinator, long: Catalogue) -> None:
    """A member whose release was collected meanwhile, as nobody had heard of it for so long."""
    member.start()
    online(coordinator, 1, 5)
    assert member.stop() == 0
    base(long, BASE)
    kept = read_base(long.store, str(long.manifests[BASE]))
    assert kept is not None
    for release in range(1, BASE):
        for chunk in set(long.manifest(release).chunks) - set(kept.chunks):
            long.store.local_path(chunk.sha256).unlink(missing_ok=True)
        long.store.local_path(str(long.manifests[release])).unlink()
    member.start()
    online(coordinator, 2, RELEASES, from_release=5)
    assert ways(member)[-1] == f"base of release {BASE} (500 rows) + {RELEASES - BASE} releases"
    assert (member.shows(), member.content()) == (RELEASES, long.contents[RELEASES])
