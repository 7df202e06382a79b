"""Logins of the pages: made from a key, ended with it, and of no use to another site."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import pytest
from fastapi import Form, Request, Response
from fastapi.testclient import TestClient
from sqlalchemy import text

from distributor.access.roles import Act, Role
from distributor.telemetry.clock import now
from distributor.web.backstage import AtHand
from distributor.web.security import COOKIE, Caller, anyone, forget, log_in, log_out, needs, remember
from tests.web.conftest import Desk


@pytest.fixture
def pages(desk: Desk) -> Desk:
    """The application with a page to log in, and one that writes."""

    @desk.app.post("/v1/try/login", dependencies=[anyone])
    def login(request: Request, backstage: AtHand, key: Annotated[str, Form()]) -> Response:
        answer = Response()
        remember(answer, request, log_in(request, backstage, key))
        return answer

    @desk.app.post("/v1/try/logout")
    def logout(request: Request, backstage: AtHand, who: Caller = needs(Act.READ)) -> Response:
        log_out(request, backstage)
        answer = Response()
        forget(answer, request)
        return answer

    @desk.app.get("/v1/try/form")
    def form(who: Caller = needs(Act.READ)) -> dict[str, str]:
        assert who.session is not None
        return {"csrf": who.session.csrf}

    @desk.app.post("/v1/try/write")
    def write(reason: Annotated[str, Form()] = "", who: Caller = needs(Act.READ)) -> dict[str, str]:
        return {"reason": reason, "by": who.name}

    return desk


def logged_in(pages: Desk, role: Role = Role.OPERATOR, **more: object) -> tuple[TestClient, str]:
    client = pages.client()
    assert client.post("/v1/try/login", data={"key": pages.key(role, **more)}).status_code == 200  # type: ignore[arg-type]
    return client, client.get("/v1/try/form").json()["csrf"]


def test_the_cookie_is_for_no_script_and_no_other_site(pages: Desk) -> None:
    client = pages.client()
    cookie = client.post("/v1/try/login", data={"key": pages.key(Role.VIEWER)}).headers["set-cookie"].lower()
    assert {"httponly", "samesite=lax", "path=/", "max-age=43199"} <= {
        part.strip().replace("43200", "43199") for part in cookie.split(";")
    }
    assert "secure" not in cookie
    safe = TestClient(pages.app, base_url="https://testserver")
    assert "; secure" in safe.post("/v1/try/login", data={"key": pages.key(Role.VIEWER)}).headers["set-cookie"].lower()


def test_the_ledger_knows_the_token_by_its_sha256_only(pages: Desk) -> None:
    client, _ = logged_in(pages)
    with pages.ledger.connect() as conn:
        kept = conn.execute(text("SELECT to_jsonb(s)::text FROM ledger.web_sessions s")).scalar_one()
    assert client.cookies[COOKIE] not in kept


def test_a_wrong_key_does_not_log_in(pages: Desk) -> None:
    client = pages.client()
    assert client.post("/v1/try/login", data={"key": "pdk_" + "A" * 43}).status_code == 401
    assert not client.cookies


def test_a_token_that_was_known_before_the_login_is_worth_nothing(pages: Desk) -> None:
    """Session fixation: whoever planted a cookie has planted nothing."""
    client = pages.client()
    client.cookies.set(COOKIE, "planted")
    client.post("/v1/try/login", data={"key": pages.key(Role.ADMIN)})
    assert client.get("/v1/try/form").status_code == 200
    stranger = pages.client()
    stranger.cookies.set(COOKIE, "planted")
    assert stranger.get("/v1/try/form").status_code == 401


def test_logging_in_again_ends_the_login_before(pages: Desk) -> None:
    client, _ = logged_in(pages)
    before = client.cookies[COOKIE]
    client.post("/v1/try/login", data={"key": pages.key(Role.VIEWER)})
    other = pages.client()
    other.cookies.set(COOKIE, before)
    assert other.get("/v1/try/form").status_code == 401
    assert client.get("/v1/try/form").status_code == 200


def test_logging_out_ends_it_everywhere(pages: Desk) -> None:
    client, csrf = logged_in(pages)
    kept = client.cookies[COOKIE]
    assert client.post("/v1/try/logout", headers={"X-CSRF-Token": csrf}).status_code == 200
    client.cookies.set(COOKIE, kept)
    assert client.get("/v1/try/form").status_code == 401


@pytest.mark.parametrize("ended", ["revoked_at", "expires_at"])
def test_a_login_dies_with_its_key(pages: Desk, ended: str) -> None:
    client, _ = logged_in(pages)
    with pages.ledger.begin() as conn:
        conn.execute(text(f"UPDATE ledger.api_keys SET {ended} = now() - interval '1 s'"))
    assert client.get("/v1/try/form").status_code == 401


def test_a_login_expires(pages: Desk) -> None:
    client, _ = logged_in(pages)
    with pages.ledger.begin() as conn:
        conn.execute(text("UPDATE ledger.web_sessions SET expires_at = now() - interval '1 s'"))
    assert client.get("/v1/try/form").status_code == 401


def test_a_login_never_outlasts_its_key(pages: Desk) -> None:
    until = now() + timedelta(hours=1)
    logged_in(pages, expires_at=until)
    with pages.ledger.connect() as conn:
        assert conn.execute(text("SELECT expires_at FROM ledger.web_sessions")).scalar_one() == until


def test_a_write_needs_the_token_of_its_login(pages: Desk) -> None:
    client, csrf = logged_in(pages)
    _, others = logged_in(pages)
    assert client.post("/v1/try/write", data={"reason": "x"}).status_code == 403
    assert client.post("/v1/try/write", data={"reason": "x", "csrf_token": others}).status_code == 403
    assert client.post("/v1/try/write", data={"csrf_token": ""}).status_code == 403
    assert client.post("/v1/try/write", headers={"X-CSRF-Token": "é".encode()}).status_code == 403
    assert client.post("/v1/try/write", headers={"X-CSRF-Token": csrf}).status_code == 200
    in_form = client.post("/v1/try/write", data={"reason": "because", "csrf_token": csrf})
    assert in_form.json()["reason"] == "because"
    multipart = client.post("/v1/try/write", files={"reason": (None, "because"), "csrf_token": (None, csrf)})
    assert multipart.json()["reason"] == "because"


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://testserver.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://[::1"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, False),
    ],
)
def test_another_site_writes_nothing_even_with_the_token(pages: Desk, headers: dict[str, str], passes: bool) -> None:
    client, csrf = logged_in(pages)
    found = client.post("/v1/try/write", data={"csrf_token": csrf}, headers=headers)
    assert found.status_code == (200 if passes else 403)
    assert client.post("/v1/try/login", data={"key": pages.key()}, headers=headers).status_code == found.status_code


def test_a_key_needs_no_token(pages: Desk) -> None:
    """No browser sends a key by itself."""
    assert pages.as_(Role.OPERATOR).post("/v1/try/write", headers={"Origin": "http://a.example"}).status_code == 200


def test_a_key_goes_before_a_cookie(pages: Desk) -> None:
    client, _ = logged_in(pages, name="the login")
    secret = pages.key(Role.VIEWER, name="the key")
    found = client.post("/v1/try/write", headers={"Authorization": f"Bearer {secret}"})
    assert found.json()["by"] == "the key"
