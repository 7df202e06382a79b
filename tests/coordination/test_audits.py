"""What members tell of altered slots: kept, said once, and forgotten when it is mended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from distributor.coordination.audits import hear_audit, hear_of_slots
from distributor.ledger import audit, doubts, timeline, verifications
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.verifications import Verification
from distributor.wire.messages import AuditDepth, AuditedReport, FlippedReport, SettledReport
from tests.coordination.conftest import Estate
from tests.coordination.fake_member import send, stamp
from tests.coordination.test_deliveries import channel, letters
from tests.support import wait_for

pytestmark = pytest.mark.services
NOON = datetime(2026, 2, 28, 12, tzinfo=UTC)
ASKED = "0b9f4e0f5c9b4b1f8a7d3e2c1b0a9f8e"
WRONG = "products: 1 of 64 buckets differs"


def minutes(number: float) -> datetime:
    return NOON + timedelta(minutes=number)


def report(at: float, **more: Any) -> AuditedReport:
    given = {
        "environment": "prod",
        "system": "crm",
        "audit_id": "",
        "depth": "buckets",
        "part": 1,
        "parts": 1,
        "release": 3,
        "table": "products",
        "reported_at": minutes(at),
    }
    return AuditedReport.model_validate({**given, **more})


@pytest.fixture
def conn(ledger_url: str) -> Any:
    engine: Engine = ledger_engine(ledger_url)
    with transaction(engine) as connection:
        verifications.begin(connection, Verification(ASKED, "prod", NOON, "ada", "", 3))
        yield connection
    engine.dispose()


def hear(conn: Connection, at: float, **more: Any) -> None:
    told = report(at, **more)
    hear_audit(conn, told, minutes(at), body=told.model_dump_json().encode())


def alarms(conn: Connection) -> list[str]:
    told = [entry.text for entry in timeline.entries(conn, environment="prod") if entry.kind == "alarm"]
    noted = [entry for entry in audit.records(conn, "prod") if entry.what == "alarm"]
    assert [entry.why for entry in reversed(noted)] == told
    return told


def marks(conn: Connection) -> list[tuple[str, str, str]]:
    return [(doubt.system, doubt.slot, doubt.table) for doubt in doubts.doubts(conn, "prod")]


def flip(conn: Connection, at: float) -> None:
    common = {"environment": "prod", "system": "crm", "epoch": 1, "rollout_id": "r", "floor": 1}
    told = {**common, "shows": 3, "shadow": 3, "release": 3, "flipped_at": minutes(at), "reported_at": minutes(99)}
    hear_of_slots(conn, FlippedReport.model_validate(told))


def settle(conn: Connection, at: float) -> None:
    common = {"environment": "prod", "system": "crm", "epoch": 2, "rollout_id": "s", "floor": 2}
    told = {**common, "shows": 3, "shadow": 3, "release": 3, "reported_at": minutes(at)}
    hear_of_slots(conn, SettledReport.model_validate(told))


def test_a_finding_is_said_once_whoever_asked_for_the_audit(conn: Connection) -> None:
    hear(conn, 1, doubt=WRONG)
    hear(conn, 2, doubt=WRONG)
    hear(conn, 3, doubt=WRONG, audit_id=ASKED)
    hear(conn, 3, doubt=WRONG, audit_id=ASKED, table="prices")
    assert alarms(conn) == [f"crm: its online slot (release 3) was altered: {WRONG}"]
    assert marks(conn) == [("crm", "online", "prices"), ("crm", "online", "products")]
    hear(conn, 4, doubt="products: 2 of 64 buckets differ")
    hear(conn, 4, doubt=WRONG, slot="shadow", release=None)
    assert len(alarms(conn)) == 3
    assert alarms(conn)[-1] == f"crm: its shadow slot was altered: {WRONG}"


def test_only_a_later_audit_of_everything_ends_a_doubt(conn: Connection) -> None:
    hear(conn, 5, doubt=WRONG)
    hear(conn, 6)
    hear(conn, 6, audit_id=ASKED, depth="leaves")
    hear(conn, 6, audit_id=ASKED, slot="shadow")
    hear(conn, 6, audit_id=ASKED, table="prices")
    hear(conn, 6, audit_id=ASKED, error="the disk is gone")
    hear(conn, 6, audit_id=ASKED, seconds=120)
    assert marks(conn) == [("crm", "online", "products")]
    hear(conn, 7, audit_id=ASKED)
    assert marks(conn) == []
    hear(conn, 8, doubt=WRONG)
    assert len(alarms(conn)) == 2


def test_a_flip_moves_a_doubt_and_settling_ends_it(conn: Connection) -> None:
    hear(conn, 1, doubt="other", slot="shadow")
    hear(conn, 2, doubt=WRONG)
    flip(conn, 3)
    flip(conn, 3)
    assert [(d.slot, d.text) for d in doubts.doubts(conn)] == [("shadow", WRONG)]
    hear(conn, 4, doubt="newer")
    flip(conn, 3)
    assert [(d.slot, d.text) for d in doubts.doubts(conn)] == [("online", "newer"), ("shadow", WRONG)]
    settle(conn, 2)
    assert len(marks(conn)) == 2
    settle(conn, 5)
    assert marks(conn) == [("crm", "online", "products")]


def test_an_answer_in_parts_is_complete_when_all_have_come(conn: Connection) -> None:
    def complete() -> set[str]:
        return verifications.complete(conn, ASKED, AuditDepth.BUCKETS, ["crm", "pos"])

    hear(conn, 1, audit_id=ASKED, part=2, parts=2, table="prices")
    hear(conn, 1, audit_id=ASKED, part=2, parts=2, table="prices")
    hear(conn, 1, audit_id=ASKED, part=1, parts=3)
    hear(conn, 1, audit_id=ASKED, part=1, parts=2, depth="leaves")
    assert complete() == set()
    assert verifications.answer(conn, ASKED, AuditDepth.BUCKETS, "crm") == []
    hear(conn, 2, audit_id=ASKED, part=1, parts=2)
    assert complete() == {"crm"}
    answer = verifications.answer(conn, ASKED, AuditDepth.BUCKETS, "crm")
    assert [part.table for part in answer] == ["products", "prices"]
    # Asked again and answered again: the newest whole answer counts.
    hear(conn, 3, audit_id=ASKED, table="both\0")
    assert [part.table for part in verifications.answer(conn, ASKED, AuditDepth.BUCKETS, "crm")] == ["both\0"]
    assert verifications.purge(conn, minutes(3)) == 4
    assert verifications.purge(conn, minutes(9)) == 1


def test_an_answer_that_nobody_asked_for_is_not_kept_and_does_no_harm(conn: Connection) -> None:
    hear(conn, 1, audit_id="f" * 32, doubt="altered\0")
    assert verifications.complete(conn, "f" * 32, AuditDepth.BUCKETS, ["crm"]) == set()
    assert len(alarms(conn)) == 1


def test_reports_come_through_the_broker_and_strangers_are_buried(estate: Estate) -> None:
    estate.coordinate()
    told = report(1, doubt=WRONG).model_dump(mode="json") | {"reported_at": stamp()}
    with channel(estate) as on:
        send(on, "pd.member.audited.v1", told, "m1")
        send(on, "pd.member.audited.v1", told, "m1")
        send(on, "pd.member.audited.v1", {**told, "system": "erp"})

    def known() -> list[tuple[str, str, str]]:
        with transaction(estate.engine) as conn:
            return marks(conn)

    assert wait_for(known) == [("crm", "online", "products")]
    [letter] = letters(estate, 1)
    assert "prod has no system 'erp'" in letter.reason
