"""A load or a flip that does not get on says what it waits for, and says when it gets on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from consumers.adapters.postgresql import PostgreSQLAdapter
from consumers.inbox import Letter
from consumers.reports import Job
from consumers.stalls import Stalls
from distributor.errors import UnreachableError
from distributor.rollout.events import RefusalReason
from distributor.settings import MemberSettings
from distributor.wire.messages import (
    FlippedReport,
    HelloReport,
    RefusedReport,
    StageCommand,
    StagedReport,
    StalledReport,
)
from tests.consumers.catalogue import Catalogue
from tests.consumers.estate import ENVIRONMENT, SYSTEM, Coordinator, Member
from tests.consumers.test_scenarios import online, publish_three
from tests.support import wait_for


def test_a_load_behind_a_lock_names_the_session_over_all_attempts_and_then_gets_on(
    postgresql_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    postgresql_member.start()
    online(coordinator, 1, 1)
    with psycopg.connect(postgresql_member.url, application_name="month end") as other:
        other.execute("LOCK TABLE distributor_a.items, distributor_b.items")
        pid = other.info.backend_pid
        coordinator.send(coordinator.stage(2, 2, from_release=1))
        stalled = coordinator.expect(StalledReport)
        assert (stalled.environment, stalled.system) == (ENVIRONMENT, SYSTEM)
        assert (stalled.epoch, stalled.rollout_id, stalled.phase) == (2, "r2", "load")
        assert f"session {pid} of " in stalled.waiting_for
        assert "(month end, idle in transaction since " in stalled.waiting_for
        assert stalled.waiting_for.endswith("its last query: LOCK TABLE distributor_a.items, distributor_b.items")
        assert stalled.mend == f"SELECT pg_terminate_backend({pid})"
        refused = coordinator.expect(RefusedReport)
        assert refused.reason is RefusalReason.RETRYABLE
        coordinator.send(coordinator.stage(2, 2, from_release=1))
        again = coordinator.expect(StalledReport)
        assert (again.since, again.mend) == (stalled.since, stalled.mend), "it is the same stall"
        other.rollback()
        over = coordinator.expect(StalledReport)
        assert (over.epoch, over.waiting_for, over.mend) == (2, "", "")
        assert coordinator.expect(StagedReport).release == 2
    coordinator.send(coordinator.flip(2, 2))
    coordinator.expect(FlippedReport)
    assert postgresql_member.content() == catalogue.contents[2]
    assert not [
        report
        for report in coordinator.reports[coordinator.reports.index(over) + 1 :]
        if isinstance(report, StalledReport)
    ]


def test_a_flip_behind_a_lock_says_so_too(
    postgresql_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    postgresql_member.start()
    online(coordinator, 1, 1)
    coordinator.send(coordinator.stage(2, 2, from_release=1))
    coordinator.expect(StagedReport)
    with psycopg.connect(postgresql_member.url) as other:
        other.execute("SELECT 1 FROM distributor.member FOR UPDATE")
        coordinator.send(coordinator.flip(2, 2))
        stalled = coordinator.expect(StalledReport)
        assert (stalled.phase, stalled.mend) == ("flip", f"SELECT pg_terminate_backend({other.info.backend_pid})")
        assert "which has locked a row of distributor.member and not committed" in stalled.waiting_for
        other.rollback()
        assert coordinator.expect(StalledReport).waiting_for == ""
    assert coordinator.expect(FlippedReport).release == 2


def test_a_file_that_somebody_writes_to(sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    coordinator.expect(HelloReport)
    online(coordinator, 1, 1)
    path = sqlite_member.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        coordinator.send(coordinator.stage(2, 2, from_release=1))
        stalled = coordinator.expect(StalledReport)
        assert stalled.waiting_for.startswith(f"the write lock of {path} (database is locked")
        assert stalled.mend == f"lsof {path}"
        other.execute("ROLLBACK")
    assert coordinator.expect(StalledReport).waiting_for == ""
    assert coordinator.expect(StagedReport).release == 2


RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
AWAY = PostgreSQLAdapter(
    MemberSettings.model_validate({"adapter": "postgresql", "url": "postgresql://nobody:x@127.0.0.1:9/none"}), Path()
)


def job() -> Job:
    command = StageCommand(
        environment=ENVIRONMENT, system=SYSTEM, epoch=1, rollout_id="r1", release=1, manifest=None, from_release=0
    )
    letter = Letter(
        message_id="m",
        epoch=1,
        type=StageCommand.TYPE,
        closes=False,
        headers={},
        content_type="",
        body=b"",
        received_at=datetime.now(UTC),
        traceparent=None,
    )
    return Job(letter, command, None)


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        (AWAY, "its store: 127.0.0.1:9/none: PostgreSQL does not serve: "),
        (object(), "something that its store cannot tell"),
    ],
)
def test_where_nobody_can_be_asked_the_phase_is_named_all_the_same(adapter: Any, said: str) -> None:
    reports: list[StalledReport] = []
    stalls = Stalls(adapter, lambda report, _: reports.append(report))
    stalls.start()
    attempt = job()

    def give_up() -> None:
        with stalls.watching(attempt, lambda: None):
            wait_for(lambda: reports, what="the report")
            raise UnreachableError("it gave up for now")

    with pytest.raises(UnreachableError):
        give_up()
    assert (reports[0].phase, reports[0].rollout_id) == ("stage", "r1")
    assert reports[0].waiting_for.startswith(said)
    assert said.partition(":")[0] in RUNBOOK.read_text(encoding="utf-8")
    with stalls.watching(attempt, lambda: None):
        assert len(reports) == 1, "whoever comes again has not got on"
    assert [report.waiting_for for report in reports[1:]] == [""]
    stalls.stop()
