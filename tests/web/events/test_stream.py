"""`GET /v1/events`: all that is committed, in order, once, to those who may see it; whoever comes again goes on."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from distributor.access.roles import Role
from distributor.ledger import audit, progress, timeline
from distributor.ledger.engine import transaction
from distributor.telemetry.clock import now
from tests.web.conftest import Desk
from tests.web.events.conftest import Say
from tests.web.events.following import Served, Told


def texts(told: list[Told]) -> list[str]:
    return [one.data["text"] for one in told]


def release(conn: Connection, number: int) -> None:
    conn.execute(
        text(
            "INSERT INTO ledger.releases (number, manifest, created_at, rows, counts, schema_fingerprint)"
            " VALUES (:n, 'm' || :n, now(), 7, '{}', 's')"
        ),
        {"n": number},
    )


def test_what_happens_is_told_as_it_happens(desk: Desk, server: Served, say: Say) -> None:
    stream = server.follow(desk.key(Role.VIEWER)).settled()
    assert stream.status == 200
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers["cache-control"] == "no-cache, no-transform"
    say("held by anna")
    with transaction(desk.ledger) as conn:
        audit.record(conn, audit.AuditRecord(now(), "anna", "hold", "tests", "prod", {"rollout": "r1"}))
        release(conn, 4)
    told = stream.take(3)
    assert [(one.name, one.id) for one in told] == [("timeline", 1), ("audit", 2), ("release", 3)]
    assert told[0].data == {
        "seq": 1, "at": told[0].data["at"], "kind": "hold", "environment": "prod", "rollout": "r1", "member": "pos",
        "text": "held by anna", "detail": None,
    }  # fmt: skip
    assert (told[1].data["text"], told[1].data["rollout"], told[1].data["detail"]) == (
        "anna: hold: tests",
        "r1",
        {"id": 1},
    )
    assert told[2].data["detail"] == {"release": 4, "rows": 7}


def test_whoever_comes_again_misses_nothing_and_gets_nothing_twice(desk: Desk, server: Served, say: Say) -> None:
    key = desk.key(Role.VIEWER)
    first = server.follow(key).settled()
    say("one")
    assert texts(first.take(1)) == ["one"]
    first.close()
    say("two", "three")
    again = server.follow(key, Last_Event_ID=str(first.position))
    assert texts(again.take(2)) == ["two", "three"]
    say("four")
    assert texts(again.take(1)) == ["four"]
    assert texts(server.follow(key, {"after": 1}).take(3)) == ["two", "three", "four"]
    assert texts(server.follow(key, {"after": 1}, Last_Event_ID="3").take(1)) == ["four"]


def test_a_long_way_behind_is_read_in_pieces_and_goes_over_into_what_happens_now(
    desk: Desk, server: Served, say: Say
) -> None:
    with transaction(desk.ledger) as conn:
        timeline.write(conn, "prod", now(), [timeline.Entry("hold", str(n)) for n in range(1, 1201)])
    stream = server.follow(desk.key(Role.VIEWER), {"after": 0})
    told = stream.take(900)
    say(1201)
    told += stream.take(301)
    assert [one.id for one in told] == list(range(1, 1202))
    assert texts(told) == [str(n) for n in range(1, 1202)]


def test_only_what_was_asked_for_is_told(desk: Desk, server: Served, say: Say) -> None:
    key = desk.key(Role.VIEWER)
    uat = server.follow(key, {"environment": ["uat"]}).settled()
    kinds = server.follow(key, {"kind": ["release", "online"]}).settled()
    say("held", kind="hold")
    say("online", kind="online")
    say("uat", environment="uat", kind="hold")
    with transaction(desk.ledger) as conn:
        release(conn, 1)
    assert texts(uat.take(2)) == ["uat", "release 1 was made"]
    assert texts(kinds.take(2)) == ["online", "release 1 was made"]


def test_nobody_is_told_of_environments_of_others(desk: Desk, server: Served, say: Say) -> None:
    scoped = server.follow(desk.key(Role.ADMIN, "uat"), {"after": 0})
    say("prod")
    with transaction(desk.ledger) as conn:
        audit.record(conn, audit.AuditRecord(now(), "anna", "revoke key", "", None))
        audit.record(conn, audit.AuditRecord(now(), "anna", "hold", "", "prod"))
        audit.record(conn, audit.AuditRecord(now(), "anna", "hold", "", "uat"))
        release(conn, 1)
    say("uat", environment="uat")
    assert texts(scoped.take(3)) == ["anna: hold", "release 1 was made", "uat"]
    for environment, status in (("prod", 404), ("nowhere", 404), ("uat", 200)):
        assert server.follow(desk.key(Role.VIEWER, "uat"), {"environment": environment}).status == status


def test_without_a_key_nothing_is_told(desk: Desk, server: Served) -> None:
    assert server.follow("pdk_guessed").status == 401
    for query, headers in (({"after": "-1"}, {}), ({}, {"Last_Event_ID": "yesterday"}), ({"after": "x"}, {})):
        assert server.follow(desk.key(), query, **headers).status == 422


def test_a_position_that_is_no_longer_kept_is_said(desk: Desk, say: Say, request: pytest.FixtureRequest) -> None:
    say(1, 2, 3, 4)
    with transaction(desk.ledger) as conn:
        conn.execute(text("DELETE FROM ledger.events WHERE seq < 3"))
    server: Served = request.getfixturevalue("server")
    stream = server.follow(desk.key(Role.VIEWER), {"after": 0})
    gap, *rest = stream.take(3)
    assert (gap.name, gap.id, gap.data["after"], gap.data["next"]) == ("gap", 2, 0, 3)
    assert [one.id for one in rest] == [3, 4]
    assert [one.id for one in server.follow(desk.key(Role.VIEWER), {"after": 2}).take(2)] == [3, 4]


def test_a_position_that_never_was_is_said_as_after_a_restored_ledger(desk: Desk, server: Served, say: Say) -> None:
    say(1, 2)
    stream = server.follow(desk.key(Role.VIEWER), Last_Event_ID="4711")
    (gap,) = stream.take(1)
    assert (gap.name, gap.id, gap.data["after"], gap.data["next"]) == ("gap", 2, 4711, 3)
    say(3)
    assert [one.id for one in stream.take(1)] == [3]


def test_a_feed_that_goes_back_under_a_client_is_noticed(desk: Desk, server: Served, say: Say) -> None:
    stream = server.follow(desk.key(Role.VIEWER)).settled()
    say(1, 2, 3)
    stream.take(3)
    with transaction(desk.ledger) as conn:
        conn.execute(text("DELETE FROM ledger.events WHERE seq > 1"))
    (gap,) = stream.take(1)
    assert (gap.name, gap.id, gap.data["after"], gap.data["next"]) == ("gap", 1, 3, 2)
    say("anew")
    assert [one.id for one in stream.take(1)] == [2]


def test_how_far_loads_are_is_told_without_an_id_and_to_those_who_may_see_it(desk: Desk, server: Served) -> None:
    def load(environment: str, rows: int, ago: timedelta = timedelta(0)) -> None:
        with transaction(desk.ledger) as conn:
            progress.put(
                conn, progress.MemberProgress(environment, "crm", "r1", "load", rows, 900, 50.0, now() - ago)
            )  # fmt: skip

    load("prod", 1, timedelta(hours=3))
    everything = server.follow(desk.key(Role.VIEWER)).settled()
    scoped = server.follow(desk.key(Role.VIEWER, "uat")).settled()
    for rows in (100, 200):
        load("prod", rows)
        (told,) = everything.take(1)
        assert (told.name, told.id) == ("progress", None)
        assert (told.data["environment"], told.data["system"], told.data["rows_done"]) == ("prod", "crm", rows)
    load("uat", 300)
    assert everything.take(1)[0].data["rows_done"] == 300
    assert scoped.take(1)[0].data["rows_done"] == 300
    late = server.follow(desk.key(Role.VIEWER))
    assert {one.data["environment"] for one in late.take(2)} == {"prod", "uat"}


def test_a_lost_listening_line_is_replaced_and_nothing_is_missed(desk: Desk, server: Served, say: Say) -> None:
    stream = server.follow(desk.key(Role.VIEWER)).settled()
    with transaction(desk.ledger) as conn:
        ended = conn.execute(
            text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN %'"
            )
        ).scalar_one()
    assert ended == 1
    say(*range(20))
    assert texts(stream.take(20)) == [str(n) for n in range(20)]


def test_two_hundred_clients_are_told_the_same_and_end_with_the_server(desk: Desk, server: Served, say: Say) -> None:
    key = desk.key(Role.VIEWER)
    streams = [server.follow(key).settled() for _ in range(200)]
    say(*range(5))
    for stream in streams:
        assert texts(stream.take(5)) == ["0", "1", "2", "3", "4"]
    stuck = server.follow(key, {"after": 0})
    server.stop()
    for stream in streams:
        assert stream.rest().endswith(b"come again, and go on after the last id\n\n")
    assert b"come again" in stuck.rest()
