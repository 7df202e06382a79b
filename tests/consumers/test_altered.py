"""A slot that was altered by hand is loaded anew by the next command that notices it, without an operator."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from consumers.adapters.sqlite import SQLiteAdapter
from distributor.rollout.events import RefusalReason
from distributor.rollout.member_row import other
from distributor.settings import load_settings
from distributor.wire.messages import FlippedReport, RefusedReport, SettledReport
from tests.consumers.catalogue import Catalogue
from tests.consumers.estate import ENVIRONMENT, SYSTEM, Coordinator, Member, certified
from tests.consumers.test_scenarios import online, publish_three, staged

ALTERED = {"a row that the delta changes": "P000003", "a row that the delta deletes": "P000037"}


@pytest.mark.parametrize("sku", ALTERED.values(), ids=ALTERED)
def test_a_delta_that_meets_an_altered_row_becomes_a_rebuild(
    member: Member, coordinator: Coordinator, catalogue: Catalogue, sku: str
) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    coordinator.send(coordinator.settle(2, 1))
    coordinator.expect(SettledReport)
    member.alter_shadow("items", f"SET weight = -778 WHERE sku = '{sku}'")

    report = staged(coordinator, 3, 2, from_release=1)
    assert "rebuild" in report.phases
    coordinator.send(coordinator.flip(3, 2))
    coordinator.expect(FlippedReport)
    assert (member.shows(), member.content()) == (2, catalogue.contents[2])
    # What follows is a plain delta again.
    coordinator.send(coordinator.settle(4, 2))
    coordinator.expect(SettledReport)
    assert "rebuild" not in staged(coordinator, 5, 3, from_release=2).phases


def test_settling_rebuilds_too(member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    online(coordinator, 2, 2, from_release=1)
    member.alter_shadow("items", "SET name = 'by hand' WHERE sku = 'P000003'")
    coordinator.send(coordinator.settle(3, 2))
    coordinator.expect(SettledReport)
    online(coordinator, 4, 3, from_release=2)
    assert member.content() == catalogue.contents[3]


def test_a_release_whose_certificate_is_another_one_is_not_there_already(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue, tmp_path: Path
) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    online(coordinator, 1, 1)
    staged(coordinator, 2, 2, from_release=1)
    coordinator.send(coordinator.abandon(2))
    assert staged(coordinator, 3, 2, from_release=1).rows_applied == 0
    coordinator.send(coordinator.abandon(3))
    adapter = SQLiteAdapter(load_settings(sqlite_member.config).environments[ENVIRONMENT].systems[SYSTEM], tmp_path)
    with adapter.member() as transaction:
        row = transaction.row
        shadow = other(row.active)
        wrong = certified(catalogue.manifest(3)).model_dump_json()
        altered = row.slots[shadow].model_copy(update={"certificate": wrong})
        transaction.save(row.model_copy(update={"slots": {**row.slots, shadow: altered}}))
    adapter.close()
    assert staged(coordinator, 4, 2, from_release=1).rows_applied > 0
    coordinator.send(coordinator.flip(4, 2))
    coordinator.expect(FlippedReport)
    assert sqlite_member.content() == catalogue.contents[2]


def test_a_store_that_was_emptied_is_prepared_again_without_a_restart(
    postgresql_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    postgresql_member.start()
    online(coordinator, 1, 1)
    with psycopg.connect(postgresql_member.url) as connection:
        connection.execute("DROP SCHEMA distributor, distributor_a, distributor_b CASCADE")
    coordinator.send(coordinator.stage(2, 2, from_release=1))
    assert "distributor.member" in coordinator.expect(RefusedReport).text
    online(coordinator, 3, 2)
    assert (postgresql_member.shows(), postgresql_member.content()) == (2, catalogue.contents[2])


def test_what_is_over_is_said_to_be_over_when_its_release_is_gone_too(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    staged(coordinator, 2, 1)
    coordinator.send(coordinator.stage(1, 2).model_copy(update={"manifest": "0" * 64}))
    refused = coordinator.expect(RefusedReport)
    assert (refused.reason, refused.epoch, refused.floor) == (RefusalReason.STALE, 1, 2)
