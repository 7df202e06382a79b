"""What a stream costs has an end: clients that do not read, too many of them, too much at once, revoked keys."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import text

from distributor.access.roles import Role
from distributor.ledger import timeline
from distributor.ledger.engine import transaction
from distributor.telemetry.clock import now
from distributor.web import events
from distributor.web.events import Hub, stream
from tests.web.conftest import Desk
from tests.web.events.conftest import Say
from tests.web.events.following import Served

REMEMBERED = 50


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Served:
    """A web role that remembers little and takes three clients."""
    monkeypatch.setattr(events, "Hub", partial(Hub, remembered=REMEMBERED, most_clients=3))
    monkeypatch.setattr(stream, "SLOW_SECONDS", 0.2)
    served: Served = request.getfixturevalue("server")
    return served


def much(desk: Desk, count: int, size: int = 8_000) -> None:
    with transaction(desk.ledger) as conn:
        timeline.write(conn, "prod", now(), [timeline.Entry("hold", f"{n} {'x' * size}") for n in range(count)])


def test_who_does_not_read_is_cut_off_and_goes_on_where_it_was(desk: Desk, small: Served) -> None:
    key = desk.key(Role.VIEWER)
    slow = small.follow(key, buffer=4096).settled()
    quick = small.follow(key).settled()
    for first in range(1, 2_000, 20):
        much(desk, 20)
        assert [one.id for one in quick.take(20)] == list(range(first, first + 20))
    got = [one.id for one in slow]
    assert slow.comments[-1].startswith("cut off: this client reads too slowly")
    assert got == list(range(1, len(got) + 1))
    assert len(got) < 2_000
    again = small.follow(key, Last_Event_ID=str(slow.position))
    assert [one.id for one in again.take(2_000 - len(got))] == list(range(len(got) + 1, 2_001))


def test_far_more_at_once_than_is_remembered_cuts_nobody_off(desk: Desk, small: Served, say: Say) -> None:
    clients = [small.follow(desk.key(Role.VIEWER)).settled() for _ in range(3)]
    much(desk, 40 * REMEMBERED, size=100)
    say("later")
    for client in clients:
        assert [one.id for one in client.take(2_001)] == list(range(1, 2_002))


def test_there_is_room_for_so_many_and_for_others_when_they_have_gone(desk: Desk, small: Served) -> None:
    key = desk.key(Role.VIEWER)
    streams = [small.follow(key).settled() for _ in range(3)]
    refused = small.follow(key)
    assert refused.status == 503
    assert "retry-after" in refused.headers
    assert b"3 clients follow the events of this process already" in refused.rest()
    for number in range(12):
        streams[number % 3].close()
        while (late := small.follow(key)).status == 503:
            late.close()
        streams[number % 3] = late.settled()


def test_a_quiet_stream_shows_that_it_lives_and_how_far_it_is(
    desk: Desk, server: Served, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    quiet = server.follow(desk.key(Role.VIEWER), {"kind": "release"}).settled()
    assert quiet.position == 0
    assert next(quiet.blocks()) == [": still here"]
    say(1, 2, 3)
    # Nothing of that is for this client: when it comes again, it need not look at it again.
    while quiet.position != 3:
        quiet.settled()


def test_a_stream_ends_so_that_its_client_shows_its_key_again(
    desk: Desk, server: Served, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LASTS_SECONDS", 0.5)
    key = desk.key(Role.VIEWER)
    first = server.follow(key)
    say(1)
    assert first.rest().endswith(b": this stream is over; come again, and go on after the last id\n\n")
    with transaction(desk.ledger) as conn:
        conn.execute(text("UPDATE ledger.api_keys SET revoked_at = now()"))
    assert server.follow(key).status == 401


def test_a_stream_ends_with_its_key(desk: Desk, server: Served, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    revoked, other = (server.follow(desk.key(Role.VIEWER, name=name)).settled() for name in ("lena", "tom"))
    with transaction(desk.ledger) as conn:
        conn.execute(text("UPDATE ledger.api_keys SET revoked_at = now() WHERE name = 'lena'"))
    assert revoked.rest().endswith(b": this stream is over: its key opens nothing any more\n\n")
    say("later")
    assert [one.data["text"] for one in other.take(1)] == ["later"]
