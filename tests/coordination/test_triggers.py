"""Triggers with a real ledger and a real broker: fired once, said in a sentence, and never against a pin."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from sqlalchemy import text

from distributor.coordination.following import Following
from distributor.errors import RefusedError, UsageError
from distributor.ledger import audit, deadletters, releases, rollouts, triggers
from distributor.ledger.audit import AuditRecord
from distributor.ledger.engine import transaction
from distributor.requests import abort, request_rollout, rollback
from distributor.requests.calls import CALL, call_trigger
from distributor.rollout.state import Cause, Rollout, RolloutState
from distributor.triggers import patience
from distributor.triggers.lagging import not_followed
from tests.coordination.conftest import Estate
from tests.coordination.fake_member import headers
from tests.support import wait_for

WEEKLY = {"name": "weekly", "on": "schedule", "cron": "0 6 * * mon", "timezone": "Europe/Vienna"}
ERP = {"name": "erp-done", "on": "message"}
CALL_BODY = {"environment": "prod", "trigger": "erp-done", "by": "erp", "reason": "prices are in"}


@contextmanager
def channel(estate: Estate) -> Iterator[BlockingChannel]:
    with pika.BlockingConnection(pika.URLParameters(estate.settings.broker.url)) as connection:
        yield connection.channel()


def send(on: BlockingChannel, body: object, id_: str | None = None, type_: str = "pd.trigger.call.v1") -> None:
    """A call, as any program could send it: the exchange, the key and the headers are written out by hand."""
    properties = pika.BasicProperties(headers=headers(type_, id_), content_type="application/json", delivery_mode=2)
    on.basic_publish("pd.triggers", "call", json.dumps(body).encode(), properties, mandatory=True)


def asked(estate: Estate) -> list[Rollout]:
    with transaction(estate.engine) as conn:
        return [record.rollout for record in reversed(rollouts.rollouts(conn, "prod"))]


def said(estate: Estate, who: str) -> list[str]:
    with transaction(estate.engine) as conn:
        return [entry.why for entry in reversed(audit.records(conn)) if entry.who == who]


def decision(estate: Estate, name: str) -> triggers.RuleRow:
    with transaction(estate.engine) as conn:
        return triggers.rows(conn, "prod")[name]


def outcome(estate: Estate, call: str) -> str:
    def found() -> str:
        with transaction(estate.engine) as conn:
            row = triggers.called(conn, call)
        return row.outcome if row else ""

    return wait_for(found, what="what became of the call")


def last_looked_at(estate: Estate, ago: timedelta) -> None:
    """As if the last coordinator had stopped so long ago."""
    seen = (datetime.now(UTC) - ago).isoformat()
    with transaction(estate.engine) as conn:
        conn.execute(
            text("UPDATE ledger.trigger_rules SET detail = jsonb_set(detail, '{seen}', to_jsonb(cast(:seen AS text)))"),
            {"seen": seen},
        )


def test_a_missed_schedule_fires_once_with_two_coordinators_and_after_a_restart(
    make_estate: Callable[..., Estate],
) -> None:
    estate = make_estate(triggers=[WEEKLY])
    manifest = estate.publish("A-1")
    stop = estate.coordinate()
    wait_for(lambda: decision(estate, "weekly").decided_at, what="the first look")
    assert asked(estate) == []
    stop()
    for name in ("crm", "pos"):
        estate.member(name, manifest)
    last_looked_at(estate, timedelta(days=15))
    stop_first = estate.coordinate()
    stop_second = estate.coordinate()
    wait_for(lambda: estate.state().shown == 1, what="release 1 online")
    stop_first()
    estate.coordinate()
    stop_second()
    following = Following(estate.engine, estate.settings, estate.store)
    assert following.follow("prod") is None
    [rollout] = asked(estate)
    assert (rollout.cause, rollout.by, rollout.release) == (Cause.TRIGGER, "trigger weekly", 1)
    [sentence] = said(estate, "trigger weekly")
    assert sentence == rollout.reason
    assert sentence.startswith("schedule `0 6 * * mon` (Europe/Vienna) came ")
    assert sentence.endswith(" 06:00: once for all, asked for release 1")
    assert decision(estate, "weekly").decision == sentence


def test_whoever_looks_at_the_same_moment_only_one_asks(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(triggers=[WEEKLY, ERP])
    estate.publish("A-1")
    looking = [Following(estate.engine, estate.settings, estate.store) for _ in range(6)]
    looking[0].follow("prod")
    last_looked_at(estate, timedelta(days=8))
    calls = [
        call_trigger(estate.engine, estate.settings, "prod", "erp-done", by=who, reason="go") for who in ("ann", "bob")
    ]
    together = threading.Barrier(len(looking))

    def look(one: Following) -> None:
        together.wait()
        one.follow("prod")

    with ThreadPoolExecutor(len(looking)) as pool:
        list(pool.map(look, looking))
    [rollout] = asked(estate)
    assert said(estate, "trigger weekly") == [rollout.reason]
    outcomes = [outcome(estate, call) for call in calls]
    assert outcomes == [
        f"{who} called erp-done: go; release 1 is on its way already: nothing to do" for who in ("ann", "bob")
    ]
    assert [said(estate, who)[1:] for who in ("ann", "bob")] == [[one] for one in outcomes]


def test_a_schedule_with_nothing_to_do_says_so_once(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(triggers=[WEEKLY])
    following = Following(estate.engine, estate.settings, estate.store)
    assert following.follow("prod") is None
    last_looked_at(estate, timedelta(days=7, minutes=-1))
    others = [Following(estate.engine, estate.settings, estate.store) for _ in range(3)]
    for one in (following, *others, following):
        one.follow("prod")
    [sentence] = said(estate, "trigger weekly")
    assert sentence.endswith("; there is no release yet: nothing to do")
    assert asked(estate) == []


def test_a_rule_that_was_taken_out_begins_anew_when_it_comes_back(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(triggers=[WEEKLY])
    estate.publish("A-1")
    Following(estate.engine, estate.settings, estate.store).follow("prod")
    last_looked_at(estate, timedelta(days=15))
    bare = estate.settings.environments["prod"].model_copy(update={"triggers": ()})
    without = estate.settings.model_copy(update={"environments": {"prod": bare}})
    for settings in (without, estate.settings):
        following = Following(estate.engine, settings, estate.store)
        with transaction(estate.engine) as conn:
            following.begin(conn, "prod")
        following.follow("prod")
    assert asked(estate) == []


def test_a_message_calls_once_however_often_it_comes(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(triggers=[ERP])
    manifest = estate.publish("A-1")
    estate.coordinate()
    for name in ("crm", "pos"):
        estate.member(name, manifest)
    with channel(estate) as on:
        send(on, CALL_BODY, "call-1")
        send(on, CALL_BODY, "call-1")
    wait_for(lambda: estate.state().shown == 1, what="release 1 online")
    with channel(estate) as on:
        send(on, CALL_BODY, "call-1")
        send(on, {**CALL_BODY, "reason": "once more"}, "call-2")
    wait_for(lambda: len(said(estate, "erp")) == 4, what="the second call")
    assert said(estate, "erp") == [
        "prices are in",
        "erp called erp-done: prices are in, asked for release 1",
        "once more",
        "erp called erp-done: once more; release 1 is shown already: nothing to do",
    ]
    [rollout] = asked(estate)
    assert (rollout.cause, rollout.by) == (Cause.TRIGGER, "erp")
    with transaction(estate.engine) as conn:
        called = next(entry for entry in audit.records(conn) if entry.what == CALL)
        [asking] = [entry for entry in audit.records(conn) if (entry.detail or {}).get("rollout")]
        assert deadletters.letters(conn) == []
    assert _of(called, "trigger", "source", "message") == ("erp-done", "/fake", "call-2")
    assert (asking.what, *_of(asking, "trigger", "release", "rollout")) == ("trigger", "erp-done", 1, rollout.id)


def _of(entry: AuditRecord, *names: str) -> tuple[object, ...]:
    detail: Mapping[str, object] = entry.detail or {}
    return tuple(detail.get(name) for name in names)


def test_a_bad_call_is_a_dead_letter_with_its_reason(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(triggers=[ERP, WEEKLY])
    estate.publish("A-1")
    estate.coordinate()
    bodies: list[Any] = [
        {**CALL_BODY, "environment": "moon"},
        {**CALL_BODY, "trigger": "weakly"},
        {**CALL_BODY, "trigger": "weekly"},
        {**CALL_BODY, "reason": ""},
        {**CALL_BODY, "release": 1},
    ]
    with channel(estate) as on:
        for body in bodies:
            send(on, body)
        send(on, {"release": 1, "manifest": "m", "rows": 1}, type_="pd.release.announced.v1")

    def letters() -> list[deadletters.DeadLetter]:
        with transaction(estate.engine) as conn:
            found = deadletters.letters(conn)
        return found if len(found) == len(bodies) + 1 else []

    kept = wait_for(letters, what="the dead letters")
    expected = [
        "there is no environment 'moon'",
        "there is no trigger 'weakly' in prod. Triggers with on = \"message\" can be called; prod has: erp-done.",
        "the trigger weekly is on schedule, and cannot be called",
        "reason: String should have at least 1 character",
        "release: Extra inputs are not permitted",
        "a pd.release.announced.v1 calls no trigger",
    ]
    for letter, reason in zip(reversed(kept), expected, strict=True):
        assert reason in letter.reason
        assert (letter.origin, letter.exchange, letter.routing_key) == ("pd.trigger-calls", "pd.triggers", "call")
    assert asked(estate) == []


def test_a_call_of_the_api_is_taken_at_once(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(triggers=[ERP, WEEKLY])
    estate.publish("A-1")
    estate.coordinate()
    call = call_trigger(estate.engine, estate.settings, "prod", "erp-done", by="ann", reason="now")
    assert outcome(estate, call) == "ann called erp-done: now, asked for release 1"
    [rollout] = asked(estate)
    assert (rollout.cause, rollout.by, rollout.reason) == (Cause.TRIGGER, "ann", outcome(estate, call))
    for name, error in (("weekly", RefusedError), ("nightly", RefusedError)):
        with pytest.raises(error, match="prod has: erp-done"):
            call_trigger(estate.engine, estate.settings, "prod", name, by="ann", reason="now")
    with pytest.raises(UsageError, match="there is no environment 'moon'"):
        call_trigger(estate.engine, estate.settings, "moon", "erp-done", by="ann", reason="now")


def test_calls_that_waited_for_a_coordinator_are_all_answered(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(triggers=[ERP])
    estate.publish("A-1")
    calls = [
        call_trigger(estate.engine, estate.settings, "prod", "erp-done", by=who, reason="go") for who in ("ann", "bob")
    ]
    estate.coordinate()
    assert [outcome(estate, call) for call in calls] == [
        "ann called erp-done: go, asked for release 1",
        "bob called erp-done: go; release 1 is on its way already: nothing to do",
    ]
    assert len(asked(estate)) == 1


def test_a_pinned_environment_refuses_every_trigger_in_a_sentence(make_estate: Callable[..., Estate]) -> None:
    quiet = {"name": "calm", "on": "change", "quiet_period": "1ms"}
    estate = make_estate(follow="auto", triggers=[quiet, WEEKLY, ERP])
    empty = estate.publish()
    estate.coordinate()
    for name in ("crm", "pos"):
        estate.member(name, empty)
    wait_for(lambda: estate.state().shown == 1, what="release 1 online")
    estate.publish()
    wait_for(lambda: estate.state().shown == 2, what="release 2 online")
    rollback(estate.engine, estate.settings, estate.store, "prod", by="ann", reason="wrong prices")
    wait_for(lambda: estate.state().shown == 1, what="the way back")
    estate.publish()
    pinned = estate.state().pinned
    refusal = f"new releases are not asked for: {pinned}"
    wait_for(lambda: said(estate, "trigger calm")[-1] == refusal, what="the refusal")
    call = call_trigger(estate.engine, estate.settings, "prod", "erp-done", by="bob", reason="now")
    assert outcome(estate, call) == f"bob called erp-done: now; release 3 is not asked for: {pinned}"
    last_looked_at(estate, timedelta(days=8))
    wait_for(lambda: said(estate, "trigger weekly"), what="the schedule")
    assert said(estate, "trigger weekly")[0].endswith(f"; release 3 is not asked for: {pinned}")
    estate.publish()
    following = Following(estate.engine, estate.settings, estate.store)
    assert [following.follow("prod") for _ in range(3)] == [None] * 3
    assert said(estate, "trigger calm")[2:] == [refusal]
    assert [rollout.release for rollout in asked(estate)] == [1, 2, 1]


def test_a_change_rule_waits_for_quiet(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(follow="auto", triggers=[{"name": "calm", "on": "change", "quiet_period": "700ms"}])
    estate.coordinate()
    estate.publish("A-1")
    estate.publish("A-1", "A-2")
    [rollout] = wait_for(lambda: asked(estate), what="the rollout")
    with transaction(estate.engine) as conn:
        made_at = releases.release(conn, 2).created_at
    assert (rollout.release, rollout.cause) == (2, Cause.AUTO)
    assert rollout.requested_at >= made_at + timedelta(milliseconds=700)
    assert rollout.reason.startswith("waited ")
    assert rollout.reason.endswith(" for quiet, then asked for release 2")
    assert said(estate, "trigger calm") == [rollout.reason]
    assert "waits" not in decision(estate, "calm").detail


def test_what_waits_is_not_written_again_at_every_look(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(follow="auto", triggers=[{"name": "calm", "on": "change", "quiet_period": "1h"}])
    estate.publish("A-1")
    following = Following(estate.engine, estate.settings, estate.store)
    # The environment follows once a coordinator has told the ledger of it.
    estate.coordinate()()

    def version() -> Any:
        with transaction(estate.engine) as conn:
            return conn.execute(text("SELECT xmin::text FROM ledger.trigger_rules")).scalar_one()

    before = version()
    assert str(decision(estate, "calm").detail["waits"]).startswith("waits for quiet until ")
    for _ in range(3):
        assert following.follow("prod") is None
    assert version() == before
    with transaction(estate.engine) as conn:
        head = releases.head(conn)
        assert head is not None
        told = not_followed(conn, [estate.state()], head).get(estate.state().name)
    assert told is not None
    assert told.what.startswith("prod does not follow to release 1: it waits for quiet until ")
    until = following.next_at("prod")
    assert until is not None
    assert timedelta(minutes=59) < until - datetime.now(UTC) < timedelta(hours=1)


def test_what_a_trigger_asked_for_is_tried_again_until_somebody_calls_it_off(
    make_estate: Callable[..., Estate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", timedelta(milliseconds=100))
    estate = make_estate(triggers=[ERP], stage_deadline="500ms")
    estate.publish("A-1")
    estate.coordinate()
    call = call_trigger(estate.engine, estate.settings, "prod", "erp-done", by="ann", reason="now")
    began = outcome(estate, call).partition(",")[0]
    wait_for(lambda: len(asked(estate)) >= 2, what="another try")
    assert asked(estate)[1].reason == f"{began}; release 1 was tried once in vain, asked for it again"

    def called_off() -> bool:
        try:
            abort(estate.engine, estate.settings, "prod", by="bob", reason="enough")
        except RefusedError:
            return False
        return True

    wait_for(called_off, what="a rollout to call off")
    sentence = f"{began}; release 1 is not asked for: an operator called its rollout off"
    wait_for(lambda: said(estate, "ann")[-1] == sentence, what="the end of it")
    tried = len(asked(estate))
    following = Following(estate.engine, estate.settings, estate.store)
    assert following.follow("prod") is None
    assert len(asked(estate)) == tried


def test_a_call_is_carried_out_once_the_store_is_back(
    make_estate: Callable[..., Estate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", timedelta(milliseconds=100))
    estate = make_estate(triggers=[ERP])
    away = estate.store.path.with_name("away")
    estate.publish("A-1")
    estate.store.path.rename(away)
    estate.coordinate()
    call = call_trigger(estate.engine, estate.settings, "prod", "erp-done", by="ann", reason="now")
    assert outcome(estate, call).startswith("release 1 cannot be asked for yet: ")
    assert asked(estate) == []
    away.rename(estate.store.path)
    [rollout] = wait_for(lambda: asked(estate), what="the rollout")
    assert rollout.reason == "ann called erp-done: now; asked for release 1 by now"


def test_an_operator_goes_before_what_a_trigger_asked_for(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(triggers=[ERP])
    manifest = estate.publish("A-1")
    estate.publish("A-1", "A-2")
    estate.coordinate()
    call = call_trigger(estate.engine, estate.settings, "prod", "erp-done", by="erp", reason="now")
    outcome(estate, call)
    for name in ("crm", "pos"):
        estate.member(name, manifest)
    request_rollout(
        estate.engine, estate.settings, estate.store, "prod", release=1, cause=Cause.OPERATOR, by="ann", reason="older"
    )
    wait_for(lambda: estate.state().shown == 1, what="release 1 online")
    wait_for(lambda: len(said(estate, "erp")) == 3, what="the end of the call")
    assert said(estate, "erp")[-1].endswith(
        "; release 2 is not asked for: ann deployed release 1 when release 2 was there already"
    )
    assert {r.release: r.state for r in asked(estate)} == {2: RolloutState.ABANDONED, 1: RolloutState.ONLINE}
    assert replace(estate.state(), ended=()).queue == ()
