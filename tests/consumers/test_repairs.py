"""What was altered by hand is found by an audit, and mended row by row through the shadow and a flip."""

from __future__ import annotations

import pytest

from distributor.model.certificate import bucket_of, leaf_of, row_lanes
from distributor.rollout.events import RefusalReason
from distributor.telemetry.faults import KILLED, Point
from distributor.wire.messages import (
    AuditDepth,
    FlippedReport,
    RefusedReport,
    SettledReport,
    StagedReport,
)
from tests.consumers.catalogue import Catalogue
from tests.consumers.estate import MAPPING, Coordinator, Member, certified
from tests.consumers.test_kills import answered
from tests.consumers.test_scenarios import online, publish_three, staged
from tests.support import wait_for

# Rows that no delta of `publish_three` touches, one of them moved to another key.
RENAMED, MOVED, KEY = ("P000012", "P000013"), "P000014", "by hand"
WRONG = {(sku,) for sku in (*RENAMED, MOVED, KEY)}


def alter(member: Member, slot: str) -> None:
    """Two rows with another name, and one under another key."""
    assert member.alter(slot, "items", f"SET name = 'by hand' WHERE sku IN {RENAMED}") == 2
    assert member.alter(slot, "items", f"SET sku = '{KEY}' WHERE sku = '{MOVED}'") == 1


def settled(coordinator: Coordinator, epoch: int, release: int) -> None:
    coordinator.send(coordinator.settle(epoch, release))
    coordinator.expect(SettledReport, lambda report: report.epoch == epoch)


def whole(member: Member, coordinator: Coordinator, catalogue: Catalogue, release: int) -> None:
    """Readers and both slots have what the release has, and nothing is in doubt."""
    assert (member.shows(), member.content()) == (release, catalogue.contents[release])
    expected = certified(catalogue.manifest(release)).tables
    parts = coordinator.audit(shadow=True)
    assert {part.slot for part in parts} == {"online", "shadow"}
    for part in parts:
        assert (part.release, part.doubt, part.sums) == (release, "", expected[part.table].buckets)
    assert {slot.doubt for slot in member.row().slots.values()} == {""}


def test_an_audit_names_buckets_leaves_and_rows(member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    settled(coordinator, 2, 1)
    assert [part.slot for part in coordinator.audit()] == ["online", "online"]
    whole(member, coordinator, catalogue, 1)

    alter(member, "online")
    items, prices = coordinator.audit()
    assert (items.table, items.slot, items.release, items.mapping) == ("items", "online", 1, MAPPING.version)
    assert items.doubt == prices.doubt == member.row().online.doubt
    assert items.doubt.startswith("items: 40 rows stored, 40 expected")
    expected = certified(catalogue.manifest(1)).tables
    assert prices.sums == expected["prices"].buckets
    numbers = expected["items"].buckets.keys() | items.sums.keys()
    wrong = {n for n in numbers if items.sums.get(n) != expected["items"].buckets.get(n)}
    assert wrong == {bucket_of(key) for key in WRONG}

    (leaves,) = coordinator.audit(AuditDepth.LEAVES, {"items": tuple(sorted(wrong))})
    assert {(leaf >> 8) % 64 for leaf in leaves.sums} <= wrong
    assert sum(leaf.rows for leaf in leaves.sums.values()) == sum(items.sums[n].rows for n in wrong if n in items.sums)
    (rows,) = coordinator.audit(AuditDepth.ROWS, {"items": tuple(sorted(leaf_of(key) for key in WRONG))})
    right = {row[:1]: row_lanes("products", row) for row in catalogue.contents[1]["products"]}
    different = {key for key, first, second in rows.rows if right.get(key) != (int(first, 16), int(second, 16))}
    assert different == WRONG - {(MOVED,)}
    assert {part.slot for part in coordinator.audit(shadow=True) if part.doubt} == {"online"}


def test_wrong_rows_are_mended_through_the_shadow_and_the_old_slot_when_it_settles(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    settled(coordinator, 2, 1)
    for slot in ("online", "shadow"):
        alter(member, slot)
    assert all(part.doubt for part in coordinator.audit(shadow=True))

    coordinator.send(coordinator.repair(3, 1, catalogue.repair(1, products=WRONG)))
    report = coordinator.expect(StagedReport)
    assert report.certificate == certified(catalogue.manifest(1)).digest
    assert report.rows_applied == len(WRONG)
    assert "audit" in report.phases
    assert "rebuild" not in report.phases
    coordinator.send(coordinator.flip(3, 1))
    coordinator.expect(FlippedReport)
    assert member.content() == catalogue.contents[1]
    assert member.row().shadow.doubt
    settled(coordinator, 4, 1)
    whole(member, coordinator, catalogue, 1)
    assert "loaded anew" not in member.log.read_text()


def test_a_whole_shadow_needs_no_list(sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    online(coordinator, 1, 1)
    settled(coordinator, 2, 1)
    alter(sqlite_member, "online")
    coordinator.audit()
    coordinator.send(coordinator.repair(3, 1, catalogue.repair(1, products=WRONG)))
    assert coordinator.expect(StagedReport).rows_applied == 0
    coordinator.send(coordinator.flip(3, 1))
    coordinator.expect(FlippedReport)
    assert sqlite_member.content() == catalogue.contents[1]


def test_a_list_is_laid_over_the_end_of_a_chain_or_over_its_beginning(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    online(coordinator, 2, 2, from_release=1)
    for slot in ("online", "shadow"):
        alter(member, slot)
    coordinator.audit(shadow=True)

    # The shadow holds release 1: the chain first.
    coordinator.send(coordinator.repair(3, 2, catalogue.repair(2, products=WRONG)))
    changes = [sum(count.total for count in catalogue.manifest(n).counts.values()) for n in range(4) if n]
    assert coordinator.expect(StagedReport).rows_applied == changes[1] + len(WRONG)
    coordinator.send(coordinator.flip(3, 2))
    coordinator.expect(FlippedReport)
    assert member.content() == catalogue.contents[2]
    # The old slot holds release 2, of which the list is: the list first.
    assert staged(coordinator, 4, 3, from_release=2).rows_applied == changes[2] + len(WRONG)
    coordinator.send(coordinator.flip(4, 3))
    coordinator.expect(FlippedReport)
    assert member.content() == catalogue.contents[3]
    assert "loaded anew" not in member.log.read_text()


def test_a_list_that_does_not_mend_everything_is_followed_by_a_rebuild(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    settled(coordinator, 2, 1)
    for slot in ("online", "shadow"):
        alter(member, slot)
    coordinator.audit(shadow=True)
    coordinator.send(coordinator.repair(3, 1, catalogue.repair(1, products=WRONG - {(KEY,)})))
    assert "rebuild" in coordinator.expect(StagedReport).phases
    coordinator.send(coordinator.flip(3, 1))
    coordinator.expect(FlippedReport)
    settled(coordinator, 4, 1)
    whole(member, coordinator, catalogue, 1)


def test_without_a_list_a_slot_in_doubt_is_loaded_anew(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    online(coordinator, 1, 1)
    settled(coordinator, 2, 1)
    alter(sqlite_member, "shadow")
    coordinator.audit(shadow=True)
    assert staged(coordinator, 3, 2, from_release=1).rows_applied == 35 + 80
    coordinator.send(coordinator.flip(3, 2))
    coordinator.expect(FlippedReport)
    assert sqlite_member.content() == catalogue.contents[2]


def test_a_list_that_is_missing_is_waited_for_and_one_that_is_gone_is_not(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    online(coordinator, 1, 1)
    settled(coordinator, 2, 1)
    for slot in ("online", "shadow"):
        alter(sqlite_member, slot)
    coordinator.audit(shadow=True)
    sha256 = catalogue.repair(1, products=WRONG)
    path = catalogue.store.local_path(sha256)
    content = path.read_bytes()
    path.unlink()
    coordinator.send(coordinator.repair(3, 1, sha256))
    refused = coordinator.expect(RefusedReport)
    assert refused.reason is RefusalReason.RETRYABLE
    assert sha256 in refused.text
    path.write_bytes(content)
    coordinator.send(coordinator.repair(3, 1, sha256))
    assert coordinator.expect(StagedReport).rows_applied == len(WRONG)
    coordinator.send(coordinator.flip(3, 1))
    coordinator.expect(FlippedReport)
    path.unlink()
    settled(coordinator, 4, 1)
    whole(sqlite_member, coordinator, catalogue, 1)


def test_what_is_staged_and_comes_into_doubt_does_not_flip(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    staged(coordinator, 2, 2, from_release=1)
    alter(member, "shadow")
    assert {part.slot for part in coordinator.audit(shadow=True) if part.doubt} == {"shadow"}
    coordinator.send(coordinator.flip(2, 2))
    assert coordinator.expect(RefusedReport).reason is RefusalReason.NOT_STAGED
    online(coordinator, 2, 2, from_release=1)
    assert member.content() == catalogue.contents[2]


@pytest.mark.long
@pytest.mark.parametrize("point", [Point.LOAD_BETWEEN_BATCHES, Point.LOAD_BEFORE_COMMIT, Point.LOAD_AFTER_COMMIT])
def test_killed_while_it_mends(member: Member, coordinator: Coordinator, catalogue: Catalogue, point: Point) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    settled(coordinator, 2, 1)
    for slot in ("online", "shadow"):
        alter(member, slot)
    coordinator.audit(shadow=True)
    assert member.stop() == 0
    kills: list[int] = []
    member.start(fault=point)
    repair = coordinator.repair(3, 1, catalogue.repair(1, products=WRONG))
    assert answered(member, coordinator, repair, StagedReport, kills).release == 1
    assert answered(member, coordinator, coordinator.flip(3, 1), FlippedReport, kills).shows == 1
    assert answered(member, coordinator, coordinator.settle(4, 1), SettledReport, kills).shadow == 1
    wait_for(lambda: kills == [KILLED], what=f"the death at {point}")
    whole(member, coordinator, catalogue, 1)
