"""Messages that repeat, that are no messages, and servers that go away: nothing lost, nothing done twice."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from sqlalchemy import text

from distributor.coordination.burial import is_late
from distributor.errors import RefusedError
from distributor.ledger import deadletters, progress
from distributor.ledger.deadletters import DeadLetter, LetterState
from distributor.ledger.engine import transaction
from distributor.ledger.storable import LONGEST_TEXT
from distributor.rollout.state import RolloutState
from distributor.settings import Settings
from tests.coordination.conftest import Estate
from tests.coordination.fake_member import headers, send, stamp
from tests.coordination.test_coordinator import ask, ended
from tests.messaging.proxy import Proxy, proxied
from tests.support import wait_for

REPORT = {
    "environment": "prod",
    "system": "crm",
    "epoch": 0,
    "rollout_id": "",
    "floor": 0,
    "shows": 0,
    "shadow": None,
    "reported_at": stamp(),
}
PROGRESS = {**REPORT, "phase": "load", "rows_done": 50, "rows_total": 200, "seconds": 0.5}


@contextmanager
def channel(estate: Estate) -> Iterator[BlockingChannel]:
    with pika.BlockingConnection(pika.URLParameters(estate.settings.broker.url)) as connection:
        yield connection.channel()


def letters(estate: Estate, count: int) -> list[DeadLetter]:
    def found() -> list[DeadLetter]:
        with transaction(estate.engine) as conn:
            kept = deadletters.letters(conn)
        return kept if len(kept) >= count else []

    return wait_for(found, what=f"{count} dead letters")


def raw(on: BlockingChannel, body: bytes, **properties: Any) -> None:
    on.basic_publish("pd.reports", "report", body, pika.BasicProperties(**properties))


def test_every_kind_of_bad_message_becomes_a_dead_letter_with_its_reason(estate: Estate) -> None:
    estate.coordinate()
    good = json.dumps(PROGRESS).encode()
    with channel(estate) as on:
        raw(on, b"hello")
        raw(on, good, headers=headers("pd.member.progress.v1"), content_type="text/plain")
        raw(on, b"\xff\xfe\x00", headers=headers("pd.member.progress.v1"), content_type="application/json")
        send(on, "pd.member.progress.v9", PROGRESS)
        send(on, "pd.member.progress.v1", {**PROGRESS, "rows_done": "many"})
        send(on, "pd.member.progress.v1", {**PROGRESS, "environment": "moon"})
        send(on, "pd.member.progress.v1", {**PROGRESS, "system": "erp"})
        send(on, "pd.member.progress.v1", {**PROGRESS, "rows_done": 2**70})
        send(on, "pd.member.abandon.v1", {"environment": "prod", "system": "crm", "epoch": 1, "rollout_id": "r"})
        send(on, "pd.member.progress.v1", PROGRESS)
    reasons = [letter.reason for letter in reversed(letters(estate, 9))]
    expected = [
        "ce-id is missing",
        "content type is 'text/plain'",
        "Invalid JSON",
        "no message of type 'pd.member.progress.v9'",
        "rows_done: Input should be a valid integer",
        "no environment 'moon'",
        "prod has no system 'erp'",
        "",
        "not for a coordinator",
    ]
    assert len(reasons) == len(expected)
    for reason, words in zip(reasons, expected, strict=True):
        assert words in reason
    assert {letter.origin for letter in letters(estate, 9)} == {"pd.coordinator"}

    def arrived() -> list[progress.MemberProgress]:
        with transaction(estate.engine) as conn:
            return progress.latest(conn)

    [kept] = wait_for(arrived, what="the good message after the bad ones")
    assert (kept.system, kept.phase, kept.rows_done, kept.rows_total, kept.rate) == ("crm", "load", 50, 200, 100.0)


def test_what_postgresql_cannot_hold_is_buried_all_the_same(estate: Estate) -> None:
    estate.coordinate()
    nested: dict[str, Any] = {}
    for _ in range(50):
        nested = {"a\0": [nested]}
    with channel(estate) as on:
        send(on, "\0pd.member.staged.v1", PROGRESS)
        send(on, "pd.member.progress.v1", PROGRESS, "m\0")
        send(on, "pd.member.progress.v1", {**PROGRESS, "phase": "\0"})
        raw(on, b"\0", headers={"x": nested, "x-delivery-count": 2**60}, content_type="a\0b")
        on.basic_publish("pd.dead", "k\0", b"\0", pika.BasicProperties(headers={"ce-type": "a\0b"}))
        on.basic_publish("pd.dead", "", b"", pika.BasicProperties(headers={"x-reason": "\0", "x-origin": "q\0"}))
        long = {"x-reason": "r" * 50_000, "x-origin": "pd.member.prod.crm"}
        on.basic_publish("pd.dead", "", b"long", pika.BasicProperties(headers=long))
    kept = letters(estate, 7)
    assert {letter.type for letter in kept} >= {r"\x00pd.member.staged.v1", r"a\x00b"}
    assert {(letter.reason, letter.origin) for letter in kept} >= {(r"\x00", r"q\x00")}
    assert max(len(letter.reason) for letter in kept) == LONGEST_TEXT
    assert [letter.body for letter in kept].count(b"\0") == 2


@pytest.mark.parametrize(("check", "kept"), [("headers ? 'base64'", 2), ("false", 0)])
def test_no_message_ends_the_coordinator_even_if_it_cannot_be_buried(estate: Estate, check: str, kept: int) -> None:
    """The ledger refuses the letters, for a reason that nobody has thought of."""
    with transaction(estate.engine) as conn:
        conn.execute(text(f"ALTER TABLE ledger.dead_letters ADD CHECK ({check})"))
    estate.coordinate()
    with channel(estate) as on:
        raw(on, b"hello", headers={"colour": "red"})
        on.basic_publish("pd.dead", "", b"hello", pika.BasicProperties(headers={"colour": "red"}))
        for queue in ("pd.coordinator", "pd.dead-letters"):
            wait_for(lambda queue=queue: on.queue_declare(queue, passive=True).method.message_count == 0, what=queue)
        send(on, "pd.member.progress.v1", PROGRESS)

    def arrived() -> list[progress.MemberProgress]:
        with transaction(estate.engine) as conn:
            return progress.latest(conn)

    wait_for(arrived, what="the good message after the bad ones")
    with transaction(estate.engine) as conn:
        found = deadletters.letters(conn)
    assert [letter.body for letter in found] == [b"hello"] * kept
    for letter in found:
        assert b"colour" in base64.b64decode(str(letter.headers["base64"]))


def test_what_a_member_rejects_is_kept_with_its_origin_and_can_be_sent_again(estate: Estate) -> None:
    estate.coordinate()
    with channel(estate) as on:
        body = json.dumps({"environment": "prod", "system": "crm", "epoch": 9, "rollout_id": "r"}).encode()
        properties = pika.BasicProperties(
            headers=headers("pd.member.abandon.v1", "m1"), content_type="application/json"
        )
        on.basic_publish("pd.commands", "prod.crm", body, properties)
        for method, _, _ in on.consume("pd.member.prod.crm"):
            on.basic_reject(method.delivery_tag, requeue=False)
            break
        [letter] = letters(estate, 1)
        assert (letter.origin, letter.reason) == ("pd.member.prod.crm", "its consumer rejected it")
        assert (letter.exchange, letter.routing_key, letter.type) == ("pd.commands", "prod.crm", "pd.member.abandon.v1")
        assert letter.body == body
        with transaction(estate.engine) as conn:
            deadletters.retry(conn, letter.id, letter.at)
        for method, properties, again in on.consume("pd.member.prod.crm"):
            on.basic_ack(method.delivery_tag)
            assert (again, properties.headers["ce-type"]) == (body, "pd.member.abandon.v1")
            break
    with transaction(estate.engine) as conn:
        assert deadletters.letter(conn, letter.id).state is LetterState.RETRIED
        assert deadletters.letters(conn) == []


def test_what_a_consumer_put_aside_says_why_and_can_be_sent_again(
    estate: Estate,
) -> None:
    estate.coordinate()
    sealed = headers("pd.member.stage.v1", "m1")
    origin = {"x-origin": "pd.member.prod.crm"}
    with channel(estate) as on:
        for reason in ("stale epoch 1: epoch 1 is over, the floor is 2", "this command is for uat.crm"):
            aside = pika.BasicProperties(headers={**sealed, **origin, "x-reason": reason}, content_type="text/plain")
            on.basic_publish("pd.dead", "", b"body", aside)
    wrong, late = letters(estate, 2)
    for letter in (wrong, late):
        assert (letter.origin, letter.type, letter.attempts) == ("pd.member.prod.crm", "pd.member.stage.v1", 1)
        assert (letter.exchange, letter.routing_key, letter.body) == ("pd.commands", "prod.crm", b"body")
    assert (wrong.reason, is_late(wrong)) == ("this command is for uat.crm", False)
    assert (late.reason, is_late(late)) == ("stale epoch 1: epoch 1 is over, the floor is 2", True)


def test_what_is_given_back_for_ever_tells_how_often(estate: Estate) -> None:
    estate.coordinate()
    delivered = 0
    with channel(estate) as on:
        on.basic_publish("pd.commands", "prod.crm", b"poison", pika.BasicProperties(headers={}))
        for method, _, _ in on.consume("pd.member.prod.crm", inactivity_timeout=2):
            if method is None:
                break
            delivered += 1
            on.basic_reject(method.delivery_tag, requeue=True)
    [letter] = letters(estate, 1)
    assert letter.attempts == delivered
    assert letter.reason.startswith(f"{delivered} deliveries")


def test_what_is_no_message_can_only_be_discarded(estate: Estate) -> None:
    estate.coordinate()
    with channel(estate) as on:
        raw(on, b"hello")
    [letter] = letters(estate, 1)
    with transaction(estate.engine) as conn:
        with pytest.raises(RefusedError, match="Discard it"):
            deadletters.retry(conn, letter.id, letter.at)
        deadletters.discard(conn, letter.id)
        assert deadletters.letter(conn, letter.id).state is LetterState.DISCARDED


def test_the_same_message_twice_is_work_once(estate: Estate) -> None:
    estate.coordinate()
    with channel(estate) as on:
        send(on, "pd.member.progress.v1", PROGRESS, "m1")
        send(on, "pd.member.progress.v1", {**PROGRESS, "rows_done": 199}, "m1")
        send(on, "pd.member.progress.v1", {**PROGRESS, "system": "pos"}, "m2")

    def both() -> list[progress.MemberProgress]:
        with transaction(estate.engine) as conn:
            kept = progress.latest(conn, "prod")
        return kept if len(kept) == 2 else []

    assert [(p.system, p.rows_done) for p in wait_for(both, what="both members' progress")] == [
        ("crm", 50),
        ("pos", 50),
    ]


@contextmanager
def faulty(url: str, port: int = 0) -> Iterator[tuple[Proxy, str, asyncio.AbstractEventLoop]]:
    """A proxy that lives in a thread of its own."""
    loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[tuple[Proxy, str]] = []

    async def run() -> None:
        async with proxied(url, port) as pair:
            found.append(pair)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert ready.wait(10)
    try:
        yield *found[0], loop
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def through(settings: Settings, **urls: str) -> Settings:
    changed = {part: getattr(settings, part).model_copy(update={"url": url}) for part, url in urls.items()}
    return settings.model_copy(update=changed)


def test_a_dropped_broker_line_delays_a_rollout_and_no_more(estate: Estate) -> None:
    manifest = estate.publish("A-1")
    with faulty(estate.settings.broker.url) as (proxy, url, loop):
        stop = estate.coordinate(through(estate.settings, broker=url))
        for name in ("crm", "pos"):
            estate.member(name, manifest)
        for _ in range(3):
            rollout_id = ask(estate)
            loop.call_soon_threadsafe(proxy.cut)
            assert ended(estate, rollout_id).state is RolloutState.ONLINE
        stop()


def test_a_ledger_that_is_away_loses_no_report(estate: Estate) -> None:
    manifest = estate.publish("A-1")
    with faulty(estate.settings.ledger.url) as (proxy, url, loop):
        stop = estate.coordinate(through(estate.settings, ledger=url))
        estate.member("crm", manifest)
        estate.member("pos", manifest)
        proxy.refuses = True
        loop.call_soon_threadsafe(proxy.cut)
        with channel(estate) as on:
            send(on, "pd.member.progress.v1", PROGRESS, "m1")
        rollout_id = ask(estate)
        proxy.refuses = False
        assert ended(estate, rollout_id).state is RolloutState.ONLINE
        with transaction(estate.engine) as conn:
            assert [p.rows_done for p in progress.latest(conn)] == [50]
            assert conn.execute(text("SELECT count(*) FROM ledger.dead_letters")).scalar_one() == 0
        stop()


def test_a_sign_of_life_is_heard_and_is_no_load(estate: Estate) -> None:
    estate.coordinate()

    def heard_at() -> datetime | None:
        return estate.state().members["crm"].heard_at

    alive = {**PROGRESS, "phase": "idle", "rows_done": 0, "rows_total": 0, "seconds": 0.0}
    with channel(estate) as on:
        send(on, "pd.member.progress.v1", alive, "m1")
        first = wait_for(heard_at, what="a sign of life")
        send(on, "pd.member.progress.v1", alive, "m2")
        wait_for(lambda: heard_at() != first, what="another one")
    assert estate.state().members["crm"].worked_at is None
    with transaction(estate.engine) as conn:
        assert progress.latest(conn) == []
        assert conn.execute(text("SELECT count(*) FROM ledger.inbox")).scalar_one() == 0
