"""What is committed is numbered in the order of commits, told once, and sealed; whoever writes beside whom."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from alembic import command
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from distributor.ledger import audit, events, migrate, sealing, timeline
from distributor.ledger.engine import transaction
from distributor.ledger.tables import SCHEMA

AT = datetime(2026, 3, 1, 8, 15, tzinfo=UTC)
FEED_LOCK = 0x70645F66656564


def act(conn: Connection, why: str, environment: str | None = "prod", **detail: object) -> None:
    audit.record(conn, audit.AuditRecord(AT, "anna", "hold", why, environment, detail or None))


def entry(conn: Connection, said: str, environment: str = "prod") -> None:
    timeline.write(conn, environment, AT, [timeline.Entry("hold", said, "r1", "pos")])


def release(conn: Connection, number: int) -> None:
    conn.execute(
        text(
            "INSERT INTO ledger.releases (number, manifest, created_at, rows, counts, schema_fingerprint)"
            " VALUES (:n, 'm' || :n, now(), 7, '{}', 's')"
        ),
        {"n": number},
    )


def plain(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True)


def test_the_feed_tells_of_timeline_releases_and_audit_in_the_order_of_their_writing(ledger: Engine) -> None:
    with transaction(ledger) as conn:
        act(conn, "nightly tests", rollout="r1")
        entry(conn, "held by anna")
        release(conn, 3)
    with transaction(ledger) as conn:
        found = events.since(conn, 0)
        assert [(e.seq, e.kind, e.environment, e.rollout_id, e.member, e.text, e.detail) for e in found] == [
            (1, "audit", "prod", "r1", None, "anna: hold: nightly tests", {"id": 1}),
            (2, "hold", "prod", "r1", "pos", "held by anna", None),
            (3, "release", None, None, None, "release 3 was made", {"release": 3, "rows": 7}),
        ]
        assert found[0].at == found[1].at == AT
        assert [e.seq for e in events.since(conn, 1, limit=1)] == [2]
        assert events.newest(conn) == 3


def test_passwords_and_what_members_noted_stay_out_of_the_feed(ledger: Engine) -> None:
    with transaction(ledger) as conn:
        act(conn, "", token="hidden")
        act(conn, "no answer from amqp://u:hid@den@host:5672/v and host=h PASSWORD=hidden user=u")
        note = timeline.MemberNote("pos", {"certificate": "hidden"})
        timeline.write(
            conn, "prod", AT, [timeline.Entry("unfit", "see redis://:hidden@h/0 now", None, "pos")], note=note
        )
    with transaction(ledger) as conn:
        told = [event.text for event in events.since(conn, 0)]
        everything = str(events.since(conn, 0))
    assert told[1:] == ["anna: hold: no answer from amqp://u:***@host:5672/v and host=h PASSWORD=*** user=u",
                        "see redis://:***@h/0 now"]  # fmt: skip
    assert "hidden" not in everything


def test_what_is_rolled_back_is_neither_told_nor_sealed_savepoints_too(ledger: Engine, ledger_url: str) -> None:
    with ledger.connect() as conn:
        act(conn, "never")
        conn.rollback()
    with transaction(ledger) as conn:
        act(conn, "before")
        attempt = conn.begin_nested()
        act(conn, "attempt")
        entry(conn, "attempt")
        attempt.rollback()
        with conn.begin_nested():
            act(conn, "kept")
    with plain(ledger_url) as conn:
        assert [row[0] for row in conn.execute("SELECT text FROM ledger.events ORDER BY seq")] == [
            "anna: hold: before",
            "anna: hold: kept",
        ]
        assert [row[0] for row in conn.execute("SELECT audit_id FROM ledger.audit_chain ORDER BY seq")] == [2, 4]


def test_whoever_listens_is_told_once_per_transaction(ledger: Engine, ledger_url: str) -> None:
    with plain(ledger_url) as listener:
        listener.execute(f"LISTEN {events.EVENTS_CHANNEL}")
        with transaction(ledger) as conn:
            for number in range(20):
                act(conn, str(number))
                entry(conn, str(number))
        with transaction(ledger) as conn:
            entry(conn, "alone")
        heard = list(listener.notifies(timeout=20, stop_after=2))
        assert [(note.channel, note.payload) for note in heard] == [(events.EVENTS_CHANNEL, "")] * 2
        assert list(listener.notifies(timeout=0.2)) == []


def test_the_lock_is_held_while_a_transaction_commits_and_not_before(ledger: Engine, ledger_url: str) -> None:
    with plain(ledger_url) as other, ledger.connect() as conn:
        act(conn, "open for long")
        entry(conn, "open for long")
        free = other.execute("SELECT pg_try_advisory_lock(%s)", [FEED_LOCK]).fetchone()
        assert free == (True,)
        other.execute("SELECT pg_advisory_unlock(%s)", [FEED_LOCK])
        with transaction(ledger) as beside:
            act(beside, "meanwhile")
        conn.commit()
        assert [row[0] for row in other.execute("SELECT audit_id FROM ledger.audit_chain ORDER BY seq")] == [2, 1]


def test_many_writers_never_fork_the_chain_and_leave_no_gap(ledger: Engine, ledger_url: str) -> None:
    """Also: whoever looks meanwhile sees a beginning of the feed, and never one with holes that are filled later."""
    writers, each = 24, 15
    over = threading.Event()
    with plain(ledger_url) as conn:
        for name in "abc":
            conn.execute("INSERT INTO ledger.environments (name, state, version) VALUES (%s, '{}', 1)", [name])

    def write(number: int) -> int:
        choice, done = random.Random(number), 0
        with psycopg.connect(ledger_url) as conn:
            for turn in range(each):
                steps = [
                    "INSERT INTO ledger.audit (at, who, what, why, detail) VALUES (now(), 'w', 'x', '', 'null')",
                    "INSERT INTO ledger.timeline (environment, at, kind, text) VALUES ('a', now(), 'x', 'y')",
                    f"SELECT 1 FROM ledger.environments WHERE name = '{choice.choice('abc')}' FOR UPDATE",
                    "SAVEPOINT s",
                    f"NOTIFY {events.EVENTS_CHANNEL}",
                ]
                choice.shuffle(steps)
                for step in steps:
                    conn.execute(step.encode())
                if (number + turn) % 5 == 0:
                    conn.rollback()
                else:
                    conn.commit()
                    done += 1
        return done

    def watch() -> int:
        looked = 0
        with plain(ledger_url) as conn:
            while not over.is_set():
                for table in ("events", "audit_chain"):
                    row = conn.execute(f"SELECT count(*), max(seq) FROM ledger.{table}".encode()).fetchone()
                    assert row is not None
                    assert row[0] == (row[1] or 0)
                looked += 1
        return looked

    with ThreadPoolExecutor(writers + 1) as pool:
        watching = pool.submit(watch)
        try:
            committed = sum(pool.map(write, range(writers)))
        finally:
            over.set()
        assert watching.result() > 0
    with transaction(ledger) as conn:
        sealing.of_one_moment(conn)
        assert list(sealing.differences(sealing.links(conn))) == []
        assert list(sealing.unsealed(conn)) == []
        assert sum(1 for _ in sealing.links(conn)) == committed
        assert events.newest(conn) == 2 * committed


def test_a_transaction_that_sees_an_old_moment_cannot_fork_the_chain(ledger: Engine) -> None:
    with ledger.connect().execution_options(isolation_level="REPEATABLE READ") as old:
        old.execute(text("SELECT 1 FROM ledger.audit"))
        with transaction(ledger) as conn:
            act(conn, "meanwhile")
        act(old, "late")
        with pytest.raises(IntegrityError):
            old.commit()
    with transaction(ledger) as conn:
        assert [record.why for record in audit.records(conn)] == ["meanwhile"]


@pytest.mark.parametrize("table", ["audit", "audit_chain"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_what_is_sealed_only_grows(ledger: Engine, table: str, statement: str) -> None:
    column = {"audit": "who", "audit_chain": "seal"}[table]
    with transaction(ledger) as conn:
        act(conn, "stays")
    with pytest.raises(DBAPIError, match=f"{table} only grows: its rows are sealed"), transaction(ledger) as conn:
        conn.exec_driver_sql(statement.format(f"{SCHEMA}.{table}", column, column))
    with transaction(ledger) as conn:
        assert [record.why for record in audit.records(conn)] == ["stays"]


def test_a_role_that_may_only_add_acts_has_them_sealed(ledger: Engine) -> None:
    with ledger.connect() as conn:
        conn.exec_driver_sql("CREATE ROLE clerk")
        conn.exec_driver_sql("GRANT USAGE ON SCHEMA ledger TO clerk")
        conn.exec_driver_sql("GRANT INSERT, SELECT ON ledger.audit TO clerk")
        conn.exec_driver_sql("SET LOCAL ROLE clerk")
        act(conn, "as a clerk")
        conn.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
        with pytest.raises(DBAPIError, match="permission denied"), conn.begin_nested():
            conn.exec_driver_sql("SELECT * FROM ledger.audit_chain")
        conn.exec_driver_sql("RESET ROLE")
        assert conn.execute(text("SELECT audit_id FROM ledger.audit_chain")).scalar_one() == 1
        conn.rollback()


def test_rows_of_an_older_ledger_are_sealed_by_the_upgrade(ledger: Engine) -> None:
    with transaction(ledger) as conn:
        command.downgrade(migrate.alembic_config(conn), "0006")
    with transaction(ledger) as conn:
        for number in range(5):
            act(conn, f"old {number}")
    with transaction(ledger) as conn:
        command.upgrade(migrate.alembic_config(conn), "head")
    with transaction(ledger) as conn:
        act(conn, "new")
    with transaction(ledger) as conn:
        sealing.of_one_moment(conn)
        links = list(sealing.links(conn))
        assert [link.audit_id for link in links] == [1, 2, 3, 4, 5, 6]
        assert list(sealing.differences(links)) == []
        assert [event.text for event in events.since(conn, 0)] == ["anna: hold: new"]


def test_a_time_that_no_calendar_has_is_refused(ledger: Engine) -> None:
    for time in ("infinity", "0044-03-15 BC", "12000-01-01"):
        with pytest.raises(DBAPIError, match="no place for the time"), transaction(ledger) as conn:
            conn.execute(
                text("INSERT INTO ledger.audit (at, who, what, why) VALUES (cast(:t AS timestamptz), '', '', '')"),
                {"t": time},
            )


def test_a_purge_leaves_no_hole_and_never_the_numbers_to_begin_anew(ledger: Engine) -> None:
    def at(days: int) -> None:
        with transaction(ledger) as conn:
            timeline.write(conn, "prod", AT + timedelta(days=days), [timeline.Entry("hold", str(days))])

    for days in (0, 9, 1, 2, 10):
        at(days)
    with transaction(ledger) as conn:
        assert events.purge(conn, AT + timedelta(days=8)) == 1
        assert [event.seq for event in events.since(conn, 0)] == [2, 3, 4, 5]
        assert events.purge(conn, AT + timedelta(days=99)) == 3
        assert events.purge(conn, AT + timedelta(days=99)) == 0
        assert [event.seq for event in events.since(conn, 0)] == [5]
    at(11)
    with transaction(ledger) as conn:
        assert events.newest(conn) == 6


def test_an_empty_feed_is_purged_too(ledger: Engine) -> None:
    with transaction(ledger) as conn:
        assert events.purge(conn, AT) == 0
        assert (events.newest(conn), events.since(conn, 0)) == (0, [])


def test_the_next_number_costs_the_same_however_long_the_feed_is(ledger: Engine, ledger_url: str) -> None:
    """Also in a session that made its plans while the tables were empty, and known to be."""
    with plain(ledger_url) as conn:
        conn.execute("VACUUM ANALYZE ledger.events, ledger.audit_chain")
        conn.execute(
            "INSERT INTO ledger.audit (at, who, what, why) SELECT now(), 'w', 'x', '' FROM generate_series(1, 500)"
        )
        conn.execute("SELECT pg_stat_force_next_flush()")
        conn.execute("SELECT 1")
    with plain(ledger_url) as conn:
        read = conn.execute(
            "SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes"
            " WHERE indexrelname IN ('events_pkey', 'audit_chain_pkey') ORDER BY 1"
        ).fetchall()
    assert [name for name, _ in read] == ["audit_chain_pkey", "events_pkey"]
    assert all(499 <= tuples <= 1_000 for _, tuples in read), read
