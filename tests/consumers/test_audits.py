"""The auditor beside the worker: what it looks at by itself, and that neither ever waits for the other."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from distributor.model.certificate import bucket_of
from distributor.wire.messages import (
    AuditCommand,
    AuditDepth,
    AuditedReport,
    FlippedReport,
    HelloReport,
    SettledReport,
    StagedReport,
)
from tests.consumers.catalogue import Catalogue, products
from tests.consumers.estate import ENVIRONMENT, SYSTEM, Coordinator, Member, certified
from tests.consumers.test_scenarios import online, publish_three, staged
from tests.support import wait_for


def asked(**more: object) -> AuditCommand:
    values = {"environment": ENVIRONMENT, "system": SYSTEM, "audit_id": uuid.uuid4().hex, "depth": AuditDepth.BUCKETS}
    return AuditCommand.model_validate({**values, **more})


@contextmanager
def in_the_way(member: Member, statement: str) -> Iterator[None]:
    """Somebody else's transaction: in SQLite it holds the file's write lock, in PostgreSQL what the statement locks."""
    if member.adapter == "sqlite":
        with closing(sqlite3.connect(member.url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
    else:
        with psycopg.connect(member.url) as postgresql:
            postgresql.execute(statement.encode())
            yield
            postgresql.rollback()


def by_hand(member: Member, statement: str) -> None:
    """Somebody with all rights and the wrong idea."""
    if member.adapter == "sqlite":
        with closing(sqlite3.connect(member.url.removeprefix("sqlite:///"), timeout=10)) as connection:
            connection.execute(statement)
            connection.commit()
    else:
        with psycopg.connect(member.url) as postgresql:
            postgresql.execute(statement.encode())


def slot_of(member: Member, which: str) -> str:
    active = member.row().active
    return f"distributor_{active if which == 'online' else 'b' if active == 'a' else 'a'}"


def is_blocked(member: Member) -> bool:
    """Whether a session of the consumer waits for a lock in PostgreSQL."""
    with psycopg.connect(member.url) as postgresql:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND application_name = 'distributor'"
        )
        return bool(postgresql.execute(query).fetchall()[0][0])


# What an audit is answered while, or what is done while an audit waits.


def test_an_audit_does_not_wait_for_a_load(member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    coordinator.send(coordinator.settle(2, 1))
    coordinator.expect(SettledReport)
    lock = f"SELECT 1 FROM {slot_of(member, 'shadow')}.items WHERE sku = 'P000003' FOR UPDATE"
    with in_the_way(member, lock):
        coordinator.send(coordinator.stage(3, 2, from_release=1))
        parts = coordinator.audit(shadow=True)
        assert {(part.release, part.doubt) for part in parts} == {(1, "")}
        assert coordinator.seen(StagedReport) is None
    assert coordinator.expect(StagedReport, lambda report: report.epoch == 3).release == 2


def test_a_flip_does_not_wait_for_an_audit(
    postgresql_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    postgresql_member.start()
    online(coordinator, 1, 1)
    staged(coordinator, 2, 2, from_release=1)
    command = asked()
    with in_the_way(postgresql_member, f"LOCK TABLE {slot_of(postgresql_member, 'online')}.prices"):
        coordinator.send(command)
        wait_for(lambda: is_blocked(postgresql_member), what="the audit in front of the lock")
        coordinator.send(coordinator.flip(2, 2))
        assert coordinator.expect(FlippedReport, lambda report: report.epoch == 2).shows == 2
        assert not any(isinstance(report, AuditedReport) for report in coordinator.reports)
    # What it tells is of the moment at which it began.
    assert {(part.slot, part.release) for part in coordinator.audited(command)} == {("online", 1)}


def test_what_is_found_while_a_load_builds_upon_it_is_not_forgotten(
    postgresql_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    postgresql_member.start()
    online(coordinator, 1, 1)
    coordinator.send(coordinator.settle(2, 1))
    coordinator.expect(SettledReport)
    postgresql_member.alter_shadow("items", "SET name = 'by hand' WHERE sku = 'P000012'")
    lock = f"SELECT 1 FROM {slot_of(postgresql_member, 'shadow')}.items WHERE sku = 'P000003' FOR UPDATE"
    with in_the_way(postgresql_member, lock):
        coordinator.send(coordinator.stage(3, 2, from_release=1))
        wait_for(lambda: is_blocked(postgresql_member), what="the load in front of the lock")
        assert {part.slot for part in coordinator.audit(shadow=True) if part.doubt} == {"shadow"}
    coordinator.expect(StagedReport, lambda report: report.epoch == 3)
    coordinator.send(coordinator.flip(3, 2))
    coordinator.expect(FlippedReport, lambda report: report.epoch == 3)
    assert postgresql_member.content() == catalogue.contents[2]


# Questions.


def test_a_repeated_question_has_one_answer(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    online(coordinator, 1, 1)
    command = asked(shadow=True)
    answers = []
    for _ in range(3):
        coordinator.send(command)
        answers.append(coordinator.audited(command))
    assert answers[0] == answers[1] == answers[2]
    assert {(part.slot, part.release, part.table) for part in answers[0]} == {
        (slot, release, table) for slot, release in (("online", 1), ("shadow", 0)) for table in ("items", "prices")
    }


def test_a_member_without_a_release_says_so(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    coordinator.expect(HelloReport)
    (part,) = coordinator.audit()
    assert (part.release, part.table, part.sums, part.doubt, part.error) == (0, "", {}, "", "")


def test_what_cannot_be_audited_is_said(sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    online(coordinator, 1, 1)
    (part,) = coordinator.audit(AuditDepth.ROWS, {"orders": (3,)})
    assert "orders" in part.error
    catalogue.store.local_path(str(catalogue.manifests[1])).unlink()
    (part,) = coordinator.audit()
    assert str(catalogue.manifests[1]) in part.error
    assert sqlite_member.stop() == 0


# What nobody asked for.


def test_always_finds_a_dirty_shadow_before_the_flip(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    member.audits("always")
    member.start()
    online(coordinator, 1, 1)
    coordinator.send(coordinator.settle(2, 1))
    coordinator.expect(SettledReport)
    # No delta touches this row: what is read back would not tell.
    member.alter_shadow("items", "SET name = 'by hand' WHERE sku = 'P000012'")
    assert {"audit", "rebuild"} <= staged(coordinator, 3, 2, from_release=1).phases.keys()
    coordinator.send(coordinator.flip(3, 2))
    coordinator.expect(FlippedReport, lambda report: report.epoch == 3)
    assert member.content() == catalogue.contents[2]
    coordinator.send(coordinator.settle(4, 2))
    coordinator.expect(SettledReport, lambda report: report.epoch == 4)
    phases = staged(coordinator, 5, 3, from_release=2).phases
    assert "audit" in phases
    assert "rebuild" not in phases


def next_bucket(member: Member) -> int:
    with closing(sqlite3.connect(member.directory / "state" / "inbox.db")) as connection:
        found = connection.execute("SELECT next_bucket FROM sample").fetchone()
        return int(found[0]) if found else 0


def test_samples_go_round_all_buckets_and_find_an_altered_row(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    catalogue.publish(products=products(300))
    catalogue.publish(products=products(5, name="Bank") | products(295, start=5))
    member.audits("sampled")
    member.start()
    online(coordinator, 1, 1)
    coordinator.send(coordinator.settle(2, 1))
    coordinator.expect(SettledReport)
    wait_for(lambda: next_bucket(member) == 8, what="the first sample")
    sku = next(row[0] for row in catalogue.contents[1]["products"] if bucket_of(row[:1]) == 60)
    assert not any(isinstance(report, AuditedReport) for report in coordinator.reports)
    member.alter_shadow("items", f"SET name = 'by hand' WHERE sku = '{sku}'")
    epoch = 2
    for first in range(16, 65, 8):
        if first == 32:
            # It goes on where it was.
            assert member.stop() == 0
            member.start()
        epoch += 1
        coordinator.send(coordinator.settle(epoch, 1))
        coordinator.expect(SettledReport, lambda report, epoch=epoch: report.epoch == epoch)  # type: ignore[misc]
        wait_for(lambda first=first: next_bucket(member) == first % 64, what=f"the sample before {first}")  # type: ignore[misc]

    report = coordinator.expect(AuditedReport)
    assert (report.audit_id, report.slot, report.table, report.part, report.parts) == ("", "shadow", "items", 1, 1)
    assert set(report.sums) <= set(range(56, 64))
    assert report.sums[60] != certified(catalogue.manifest(1)).tables["items"].buckets[60]
    assert report.doubt == member.row().shadow.doubt != ""
    # The next load does not build on it.
    assert staged(coordinator, epoch + 1, 2, from_release=1).rows_applied == 300
    coordinator.send(coordinator.flip(epoch + 1, 2))
    coordinator.expect(FlippedReport, lambda flipped: flipped.epoch > epoch)
    assert member.content() == catalogue.contents[2]


@pytest.mark.parametrize("mode", ["never", "always"])
def test_no_other_mode_looks_at_samples(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue, mode: str
) -> None:
    publish_three(catalogue)
    sqlite_member.audits(mode)
    sqlite_member.start()
    online(coordinator, 1, 1)
    coordinator.send(coordinator.settle(2, 1))
    coordinator.expect(SettledReport)
    # Between two questions the auditor would do what it does by itself.
    for _ in range(3):
        coordinator.audit()
    assert next_bucket(sqlite_member) == 0


# What readers look through.


def test_right_rows_behind_an_altered_view_are_no_right_answer(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    assert {part.error for part in coordinator.audit()} == {""}
    place = "_b_prices" if member.adapter == "sqlite" else "distributor_b.prices"
    name = "prices" if member.adapter == "sqlite" else "public.prices"
    member.lose_view("prices")
    by_hand(member, f"CREATE VIEW {name} AS SELECT sku, currency, amount * 2 AS amount FROM {place}")
    (told,) = coordinator.audit()
    assert f"the view {name} was altered: readers see through it what no slot holds" in told.error
    assert "DROP VIEW" in told.error
    member.lose_view("prices")
    online(coordinator, 2, 2, from_release=1)
    assert {part.error for part in coordinator.audit()} == {""}
    assert (member.shows(), member.content()) == (2, catalogue.contents[2])


def test_a_column_of_another_type_is_named_at_every_depth(
    postgresql_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    postgresql_member.start()
    online(coordinator, 1, 1)
    postgresql_member.lose_view("prices")
    by_hand(postgresql_member, "ALTER TABLE distributor_b.prices ALTER COLUMN amount TYPE float8")
    for depth in AuditDepth:
        (told,) = coordinator.audit(depth, {"prices": (1,)})
        assert "the column amount of distributor_b.prices is of type double precision, not numeric(" in told.error
        assert 'ALTER TABLE "distributor_b"."prices" ALTER COLUMN "amount" TYPE numeric(' in told.error


def test_readers_who_were_led_to_the_other_slot_are_told_of_and_led_back(
    postgresql_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    postgresql_member.start()
    online(coordinator, 1, 1)
    by_hand(postgresql_member, "UPDATE distributor.active SET slot = 'a'")
    (told,) = coordinator.audit()
    assert "readers see slot a (distributor.active), and slot b is online by the member's row" in told.error
    staged(coordinator, 2, 2, from_release=1)
    assert {part.error for part in coordinator.audit()} == {""}
    assert (postgresql_member.shows(), postgresql_member.content()) == (1, catalogue.contents[1])
