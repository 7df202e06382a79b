"""A dataset that changes its shape on its way to members: planned, loaded, flipped, taken back, and settled."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumers.explaining import told
from consumers.planning import Plan, plan, target_of
from distributor.mapping.compiled import expected_of
from distributor.model.dataset import Column
from distributor.model.types import LogicalType
from distributor.rollout.member_row import Slot
from distributor.store.bases import base_of
from distributor.store.ways import Ways
from distributor.telemetry.faults import KILLED
from distributor.wire.messages import HelloReport, RevertedReport, SettledReport
from tests.consumers.catalogue import PRODUCTS, Catalogue, Row, prices, products
from tests.consumers.estate import MAPPING, Coordinator, Member
from tests.consumers.test_scenarios import online, staged

COLOUR = Column(name="colour", type=LogicalType.parse("text"))
COLOURED = PRODUCTS.model_copy(update={"columns": (*PRODUCTS.columns, COLOUR)})


def coloured(rows: set[Row]) -> set[Row]:
    return {(*row, "grün") for row in rows}


def publish_four(catalogue: Catalogue) -> None:
    """Products get a column in release 3; in 2 and 4 a few rows change."""
    catalogue.publish(products=products(40), prices=prices(40))
    catalogue.publish(products=products(39), prices=prices(39))
    catalogue.reshape(COLOURED, coloured(products(39)))
    catalogue.publish(products=coloured(products(41)))


@pytest.fixture
def four(tmp_path: Path) -> Catalogue:
    catalogue = Catalogue(tmp_path)
    publish_four(catalogue)
    return catalogue


def slot_with(catalogue: Catalogue, release: int) -> Slot:
    manifest = catalogue.manifest(release)
    target = target_of(MAPPING, release, catalogue.manifests[release], manifest)
    certificate = expected_of(MAPPING, manifest)
    assert certificate is not None
    return Slot(identity=target.identity, manifest=target.manifest, certificate=certificate.model_dump_json())


def plan_to(catalogue: Catalogue, release: int, slot: Slot) -> Plan:
    target = target_of(MAPPING, release, catalogue.manifests[release], catalogue.manifest(release))
    return plan(slot, target, Ways(catalogue.store, target.manifest, release))


def test_the_way_over_another_shape_empties_that_table_alone(four: Catalogue) -> None:
    four.publish(prices=prices(200))
    found = plan_to(four, 4, slot_with(four, 1))
    assert (found.rebuild, found.anew) == ("", {"items"})
    assert found.base.tables.keys() == {"prices"}
    assert told(found) == "delta of 43 rows over 3 releases, items anew in another shape"
    assert found.rows == 2 + 39 + 2
    assert plan_to(four, 4, slot_with(four, 3)).anew == frozenset()


def test_the_way_back_over_another_shape_is_a_rebuild(four: Catalogue) -> None:
    found = plan_to(four, 2, slot_with(four, 4))
    assert found.rebuild == "there is no way back to the former shape of items"
    assert plan_to(four, 3, slot_with(four, 4)).rebuild == ""


def test_a_base_on_the_way_is_of_the_shape_of_its_release(four: Catalogue) -> None:
    for release in (2, 4):
        base_of(four.store, release, str(four.manifests[release]))
    assert plan_to(four, 2, slot_with(four, 4)).chain.rows == 39 + 78
    assert plan_to(four, 4, Slot()).chain.rows == 41 + 78


def test_members_go_over_another_shape_and_back(member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    publish_four(catalogue)
    member.start()
    coordinator.expect(HelloReport)
    online(coordinator, 1, 1)
    assert staged(coordinator, 2, 4, from_release=1).rows_applied == 41 + 78
    assert member.content() == plain(catalogue, 1)
    online(coordinator, 3, 4, from_release=1)
    assert (member.shows(), colours(member), member.content()) == (4, {"grün"}, plain(catalogue, 4))
    coordinator.send(coordinator.revert(4, 3))
    assert coordinator.expect(RevertedReport, lambda r: r.epoch == 4).shows == 1
    assert member.content() == plain(catalogue, 1)
    online(coordinator, 5, 4, from_release=1)
    coordinator.send(coordinator.settle(6, 4))
    coordinator.expect(SettledReport, lambda r: r.epoch == 6)
    catalogue.publish(products=coloured(products(42)))
    assert staged(coordinator, 7, 5, from_release=4).rows_applied == 1
    online(coordinator, 8, 5, from_release=4)
    assert (member.shows(), colours(member), member.content()) == (5, {"grün"}, plain(catalogue, 5))
    # An ordinary rollout to an older release, whose shape nobody holds any more.
    online(coordinator, 9, 1, from_release=5)
    assert member.content() == plain(catalogue, 1)
    online(coordinator, 10, 5, from_release=1)
    assert member.content() == plain(catalogue, 5)


@pytest.mark.long
@pytest.mark.parametrize("fault", ["load.between_batches", "load.before_commit", "flip.before_commit"])
def test_a_member_that_dies_meanwhile_goes_on(
    member: Member, coordinator: Coordinator, catalogue: Catalogue, fault: str
) -> None:
    publish_four(catalogue)
    member.start()
    coordinator.expect(HelloReport)
    online(coordinator, 1, 1)
    assert member.stop() == 0
    member.start(f"consumer.{fault}")
    coordinator.send(coordinator.stage(2, 4, from_release=1))
    coordinator.send(coordinator.flip(2, 4))
    assert member.died() == KILLED
    assert member.content() == plain(catalogue, 1)
    member.start()
    online(coordinator, 3, 4, from_release=1)
    assert (colours(member), member.content()) == ({"grün"}, plain(catalogue, 4))


def plain(catalogue: Catalogue, release: int) -> dict[str, set[Row]]:
    """A release's content in the columns that it had first."""
    content = catalogue.contents[release]
    return {**content, "products": {row[:4] for row in content["products"]}}


def colours(member: Member) -> set[str | None]:
    return {row[0] for row in member._query("SELECT colour FROM items")}
