"""Keys and logins: what opens, what no longer does, and what is never said."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from distributor.access.roles import Role
from distributor.ledger import keys
from distributor.telemetry.clock import now
from tests.web.conftest import Desk, fingerprint


def test_a_key_opens_and_only_its_sha256_is_kept(desk: Desk) -> None:
    secret = desk.key(Role.TESTER, "uat", name="sit-team")
    found = desk.client(secret).get("/v1/me")
    assert found.status_code == 200
    assert found.json()["name"] == "sit-team"
    assert found.json()["environments"] == ["uat"]
    with desk.ledger.connect() as conn:
        kept = conn.execute(text("SELECT to_jsonb(k)::text FROM ledger.api_keys k")).scalar_one()
    assert secret.startswith("pdk_")
    assert len(secret) == 47
    assert secret not in kept
    assert secret.removeprefix("pdk_") not in kept


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer pdk_",
        "Bearer pdk_" + "A" * 43,
        "Basic dXNlcjpwYXNz",
        "Bearer \x7f\x80",
        "Bearer " + "x" * 100_000,
    ],
)
def test_what_is_no_key_opens_nothing(desk: Desk, header: str | None) -> None:
    before = fingerprint(desk.ledger)
    given = {} if header is None else {"Authorization": header.encode("latin-1")}
    found = desk.client().get("/v1/me", headers=given)
    assert found.status_code == 401
    assert found.headers["WWW-Authenticate"] == 'Bearer realm="distributor"'
    assert found.headers["Content-Type"] == "application/problem+json"
    assert fingerprint(desk.ledger) == before


@pytest.mark.parametrize("ended", ["revoked_at", "expires_at"])
def test_an_ended_key_opens_nothing(desk: Desk, ended: str) -> None:
    secret = desk.key(Role.ADMIN, **{ended: now() - timedelta(seconds=1)})
    assert desk.client(secret).get("/v1/me").status_code == 401


def test_a_key_that_ends_later_opens_until_then(desk: Desk) -> None:
    secret = desk.key(Role.ADMIN, expires_at=now() + timedelta(hours=1))
    assert desk.client(secret).get("/v1/me").status_code == 200


def test_a_use_is_noted_at_most_once_a_minute(desk: Desk) -> None:
    client = desk.as_(Role.VIEWER, name="often")

    def noted() -> object:
        client.get("/v1/me")
        with desk.ledger.connect() as conn:
            return conn.execute(text("SELECT last_used_at FROM ledger.api_keys")).scalar_one()

    first = noted()
    assert first is not None
    assert noted() == first
    with desk.ledger.begin() as conn:
        conn.execute(text("UPDATE ledger.api_keys SET last_used_at = now() - interval '61 s'"))
    assert noted() != first


def test_secrets_differ_and_look_alike() -> None:
    made = {keys.new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(secret) for secret in made} == {47}
