"""Writes: once for each idempotency key, bound to what was seen, audited with who and why."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from distributor.access.roles import Role
from distributor.errors import RefusedError
from distributor.ledger.engine import JoinedEngine, transaction
from distributor.requests import interventions
from tests.web.conftest import Desk, fingerprint

HOLDS = "/v1/environments/uat/holds"


def asked(client: TestClient, key: str | None, path: str = HOLDS, **body: object) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(path, json={"reason": "tests", **body}, headers=headers)


def audited(desk: Desk) -> list[tuple[str, str, str]]:
    with desk.ledger.connect() as conn:
        rows = conn.execute(text("SELECT who, what, why FROM ledger.audit ORDER BY id"))
        return [(row.who, row.what, row.why) for row in rows]


def test_a_write_is_audited_with_the_keys_name_and_the_reason(desk: Desk) -> None:
    client = desk.as_(Role.TESTER, name="sit-team")
    assert asked(client, None, reason="end to end").status_code == 201
    assert audited(desk) == [("sit-team", "hold", "end to end")]


def test_the_same_key_gives_the_same_answer_and_does_nothing_again(desk: Desk) -> None:
    client = desk.as_(Role.TESTER)
    first = asked(client, "k1")
    before = fingerprint(desk.ledger)
    again = asked(client, "k1")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert fingerprint(desk.ledger) == before
    assert len(audited(desk)) == 1


def test_the_same_key_for_another_request_is_refused(desk: Desk) -> None:
    client = desk.as_(Role.TESTER)
    asked(client, "k1")
    before = fingerprint(desk.ledger)
    assert asked(client, "k1", reason="another").status_code == 422
    assert asked(client, "k1", "/v1/environments/prod/holds").status_code == 422
    assert fingerprint(desk.ledger) == before


def test_a_key_of_another_caller_is_another_key(desk: Desk) -> None:
    asked(desk.as_(Role.TESTER), "k1")
    assert "Idempotency-Replayed" not in asked(desk.as_(Role.TESTER), "k1").headers
    assert len(audited(desk)) == 2


def test_a_refused_write_is_judged_anew(desk: Desk) -> None:
    """Nothing was done, and nothing is kept: the same key may be used once what was in the way is gone."""
    client = desk.as_(Role.OPERATOR, name="op")
    gone = {"params": {"reason": "over"}, "headers": {"Idempotency-Key": "k1"}}
    assert client.delete(f"{HOLDS}/op", **gone).status_code == 409  # type: ignore[arg-type]
    asked(client, None)
    assert client.delete(f"{HOLDS}/op", **gone).status_code == 200  # type: ignore[arg-type]


def test_an_answer_is_kept_for_a_day(desk: Desk) -> None:
    client = desk.as_(Role.TESTER)
    asked(client, "k1")
    with desk.ledger.begin() as conn:
        conn.execute(text("UPDATE ledger.idempotency_keys SET at = now() - interval '25 h'"))
    assert "Idempotency-Replayed" not in asked(client, "k1", reason="a day later").headers
    assert "Idempotency-Replayed" in asked(client, "k1", reason="a day later").headers
    with desk.ledger.begin() as conn:
        conn.execute(text("UPDATE ledger.idempotency_keys SET at = now() - interval '25 h'"))
    asked(client, "k2")
    with desk.ledger.connect() as conn:
        assert conn.execute(text("SELECT array_agg(key) FROM ledger.idempotency_keys")).scalar_one() == ["k2"]


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 201, "a\tb"])
def test_a_key_that_is_none(desk: Desk, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    found = desk.as_(Role.TESTER).post(HOLDS, json={"reason": "x"}, headers=headers)
    assert found.status_code == 422
    assert audited(desk) == []


def test_two_at_once_do_it_once(desk: Desk) -> None:
    """The first one waits inside its transaction until the second was told that it is at it."""
    secret = desk.key(Role.TESTER)
    blocker = desk.ledger.connect()
    transaction_ = blocker.begin()
    blocker.execute(text("INSERT INTO ledger.environments (name, state, version) VALUES ('uat', '{}', 0)"))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(asked, desk.client(secret), "k1")
        while not _waits(desk):
            assert not first.done()
        second = asked(desk.client(secret), "k1")
        assert second.status_code == 409
        assert second.json()["retryable"] is True
        transaction_.rollback()
        assert first.result().status_code == 201
    assert asked(desk.client(secret), "k1").headers["Idempotency-Replayed"] == "true"
    assert len(audited(desk)) == 1
    blocker.close()


def test_many_at_once_do_it_once(desk: Desk) -> None:
    secret = desk.key(Role.TESTER)
    gate = threading.Barrier(8)

    def ask(_: int) -> Any:
        gate.wait()
        return asked(desk.client(secret), "k1")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert sum(answer.status_code == 201 and "Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert len(audited(desk)) == 1


def test_what_fails_before_the_answer_is_kept_undoes_the_write(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the act and its answer: both are of one transaction."""

    def crash(*_: object) -> None:
        raise MemoryError

    client = desk.as_(Role.TESTER)
    before = fingerprint(desk.ledger)
    monkeypatch.setattr("distributor.ledger.idempotency.keep", crash)
    assert asked(client, "k1").status_code == 500
    assert fingerprint(desk.ledger) == before
    monkeypatch.undo()
    assert "Idempotency-Replayed" not in asked(client, "k1").headers


def test_a_secret_is_told_once_and_never_again(desk: Desk) -> None:
    client = desk.as_(Role.ADMIN)
    body = {"name": "new", "role": "viewer", "expires_at": None}
    first = asked(client, "k1", "/v1/keys", **body).json()
    assert desk.client(first["secret"]).get("/v1/me").json()["name"] == "new"
    again = asked(client, "k1", "/v1/keys", **body)
    assert again.json() == {**first, "secret": None}
    with desk.ledger.connect() as conn:
        kept = conn.execute(text("SELECT string_agg(k::text, '') FROM ledger.idempotency_keys k")).scalar_one()
        assert first["secret"].encode().hex() not in kept


def test_a_write_bound_to_what_was_seen(desk: Desk) -> None:
    client = desk.as_(Role.OPERATOR, name="op")
    asked(client, None)
    seen = client.get("/v1/environments/uat")
    tag = seen.headers["ETag"]
    other = desk.as_(Role.OPERATOR)

    def bound(tag: str, name: str) -> int:
        return int(
            client.post(f"/v1/environments/uat/{name}", json={"reason": "x"}, headers={"If-Match": tag}).status_code
        )

    assert bound(tag, "holds") == 201
    assert bound(tag, "holds") == 412
    before = fingerprint(desk.ledger)
    assert bound(tag, "holds") == 412
    assert fingerprint(desk.ledger) == before
    assert bound("*", "holds") == 201
    assert bound(f'{client.get("/v1/environments/uat").headers["ETag"]}, "0-0000000000000000"', "holds") == 201
    assert bound("W/" + client.get("/v1/environments/uat").headers["ETag"], "holds") == 201
    assert bound('"another"', "holds") == 422
    assert bound('"0-0000000000000000"', "holds") == 412
    assert other.get("/v1/environments/uat").headers["ETag"] != tag


def test_of_two_who_saw_the_same_one_writes(desk: Desk) -> None:
    clients = [desk.as_(Role.OPERATOR) for _ in range(6)]
    asked(clients[0], None)
    tag = clients[0].get("/v1/environments/uat").headers["ETag"]
    gate = threading.Barrier(len(clients))

    def ask(client: TestClient) -> int:
        gate.wait()
        return int(client.post(HOLDS, json={"reason": "x"}, headers={"If-Match": tag}).status_code)

    with ThreadPoolExecutor(len(clients)) as pool:
        assert sorted(pool.map(ask, clients)) == [201, 412, 412, 412, 412, 412]


def test_the_same_answer_is_not_sent_again(desk: Desk) -> None:
    client = desk.as_(Role.VIEWER)
    seen = client.get("/v1/environments/uat")
    same = client.get("/v1/environments/uat", headers={"If-None-Match": seen.headers["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    weak = client.get("/v1/environments/uat", headers={"If-None-Match": f'"x", W/{seen.headers["ETag"]}'})
    assert weak.status_code == 304
    asked(desk.as_(Role.TESTER), None)
    changed = client.get("/v1/environments/uat", headers={"If-None-Match": seen.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != seen.headers["ETag"]


def test_an_environment_that_somebody_keeps_locked_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributor.web.writing._PATIENCE", text("SET LOCAL lock_timeout = '50ms'"))
    client = desk.as_(Role.TESTER)
    asked(client, None)
    with desk.ledger.begin() as conn:
        conn.execute(text("SELECT 1 FROM ledger.environments FOR UPDATE"))
        found = asked(client, "k1")
    assert (found.status_code, found.json()["retryable"]) == (503, True)
    assert asked(client, "k1").status_code == 201


def test_what_joins_a_transaction_is_kept_with_it_or_not_at_all(desk: Desk) -> None:
    before = fingerprint(desk.ledger)
    with desk.ledger.connect() as conn:
        engine = JoinedEngine(conn)
        interventions.hold(engine, desk.settings, "uat", owner="a", reason="x")
        with pytest.raises(RefusedError):
            interventions.release_hold(engine, desk.settings, "uat", by="a", owner="b")
        with transaction(engine) as inner:
            assert inner is conn
        with pytest.raises(TypeError, match="connection of its own"):
            engine.connect()
        conn.rollback()
    assert fingerprint(desk.ledger) == before


def test_only_ones_own_hold_is_ended_by_a_tester(desk: Desk) -> None:
    mine, other = desk.as_(Role.TESTER, name="mine"), desk.as_(Role.TESTER, name="other")
    asked(mine, None)
    assert other.delete(f"{HOLDS}/mine", params={"reason": "x"}).status_code == 403
    assert mine.delete(f"{HOLDS}/mine", params={"reason": "x"}).status_code == 200
    assert mine.delete(f"{HOLDS}/mine").status_code == 422


def _waits(desk: Desk) -> bool:
    mine = "wait_event_type = 'Lock' AND datname = current_database()"
    with desk.ledger.connect() as conn:
        return bool(conn.execute(text(f"SELECT count(*) FROM pg_stat_activity WHERE {mine}")).scalar_one())
