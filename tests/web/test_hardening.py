"""What strangers send, and what every answer carries."""

from __future__ import annotations

import json

import pytest
from fastapi import Request

from distributor.access.roles import Act, Role
from distributor.errors import RefusedError, UnreachableError
from distributor.requests import interventions
from distributor.web.api.fields import Body, Reason
from distributor.web.security import Caller, needs
from distributor.web.security.bodies import MOST_BYTES
from tests.web.conftest import Desk

SECRET = "not-to-be-repeated"


class Given(Body):
    reason: Reason


@pytest.fixture
def echo(desk: Desk) -> Desk:
    """The application with routes that take a body, and that fail."""

    @desk.app.post("/v1/try/body")
    def body(given: Given, who: Caller = needs(Act.READ)) -> Given:
        return given

    @desk.app.post("/v1/try/stream")
    async def stream(request: Request, who: Caller = needs(Act.READ)) -> int:
        return len(await request.body())

    @desk.app.get("/v1/try/fails/{how}")
    def fails(how: str, who: Caller = needs(Act.READ)) -> None:
        if how == "refused":
            raise RefusedError("no", where="uat", mend="Ask again.")
        if how == "away":
            raise UnreachableError("nobody there", where="ledger")
        raise ZeroDivisionError(SECRET)

    return desk


@pytest.mark.parametrize("path", ["/v1/me", "/nowhere", "/v1/try/fails/refused", "/v1/try/fails/boom"])
def test_every_answer_carries_the_headers(echo: Desk, path: str) -> None:
    found = echo.as_(Role.VIEWER).get(path)
    assert "'unsafe" not in found.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in found.headers["Content-Security-Policy"]
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["Referrer-Policy"] == "same-origin"
    assert found.headers["Cache-Control"] == "no-store"
    assert "server" not in found.headers
    assert "Strict-Transport-Security" not in found.headers


def test_over_https_browsers_are_told_to_stay_there(echo: Desk) -> None:
    from fastapi.testclient import TestClient

    found = TestClient(echo.app, base_url="https://testserver").get("/v1/me")
    assert found.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_a_failure_is_a_problem_and_never_a_traceback(echo: Desk) -> None:
    client = echo.as_(Role.VIEWER)
    refused = client.get("/v1/try/fails/refused")
    assert refused.status_code == 409
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json() == {
        "type": "urn:distributor:problem:conflict",
        "title": "Conflict",
        "status": 409,
        "detail": "uat: no. Ask again.",
        "what": "no",
        "where": "uat",
        "mend": "Ask again.",
        "retryable": False,
        "errors": [],
    }
    away = client.get("/v1/try/fails/away")
    assert (away.status_code, away.headers["Retry-After"], away.json()["retryable"]) == (503, "5", True)
    boom = client.get("/v1/try/fails/boom")
    assert boom.status_code == 500
    assert boom.headers["Content-Type"] == "application/problem+json"
    assert SECRET not in boom.text
    assert "Traceback" not in boom.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("DELETE", "/v1/me", 405), ("GET", "/v1/me/", 404), ("GET", "/v1/%2e%2e/me", 404)],
)
def test_addresses_that_are_none(echo: Desk, method: str, path: str, status: int) -> None:
    found = echo.as_(Role.ADMIN).request(method, path)
    assert found.status_code == status
    assert found.json()["status"] == status
    assert found.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 422),
        (b"", 422),
        (b"null", 422),
        (b'{"a": 1}', 422),
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b"9" * 10_000, 400),
        (b"\xff\xfe", 422),
        (b'{"\\ud800": 1}', 422),
        (b'{"reason": "\\ud800"}', 422),
        (b'{"reason": "a\\u0000b"}', 422),
        (b'{"reason": "\\u001b[2J"}', 422),
        (b'{"reason": " \\n "}', 422),
        (b'{"reason": "x", "more": 1}', 422),
        (b'{"reason": "two\\nlines, \\ud83d\\ude00"}', 200),
    ],
)
def test_bodies_that_are_none(echo: Desk, content: bytes, status: int) -> None:
    found = echo.as_(Role.VIEWER).post("/v1/try/body", content=content, headers={"Content-Type": "application/json"})
    assert found.status_code == status
    if status != 200:
        assert found.headers["Content-Type"] == "application/problem+json"


def test_an_invalid_field_is_named_and_not_repeated(echo: Desk) -> None:
    found = echo.as_(Role.VIEWER).post("/v1/try/body", json={"reason": {"b": SECRET}})
    assert found.status_code == 422
    assert found.json()["errors"][0]["field"] == "body.reason"
    assert SECRET not in found.text


def test_a_body_of_another_kind_is_not_read_as_json(echo: Desk) -> None:
    """A form of another site can send text/plain without asking."""
    text = json.dumps({"a": "b"})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        found = echo.as_(Role.VIEWER).post("/v1/try/body", content=text, headers={"Content-Type": kind})
        assert found.status_code == 422


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_cut_off(echo: Desk, announced: bool) -> None:
    client = echo.as_(Role.VIEWER)
    most = b"x" * MOST_BYTES
    assert client.post("/v1/try/stream", content=most).json() == MOST_BYTES
    content = most + b"x" if announced else iter([most, b"x"])
    found = client.post("/v1/try/stream", content=content)
    assert found.status_code == 413
    assert found.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999999999", "²"])
def test_a_length_that_is_none(echo: Desk, length: str) -> None:
    headers = {"Content-Length": length.encode()}
    assert echo.as_(Role.VIEWER).post("/v1/try/stream", content=b"x", headers=headers).status_code == 413


@pytest.mark.parametrize("release", [True, False, "1", 1.0], ids=repr)
@pytest.mark.parametrize(
    ("path", "field"), [("rollouts", "release"), ("rollback", "to"), ("refresh-requests", "release")]
)
def test_what_is_no_number_is_no_release(desk: Desk, path: str, field: str, release: object) -> None:
    body = {field: release, "reason": "a try"}
    answer = desk.as_(Role.OPERATOR).post(f"/v1/environments/uat/{path}", json=body)
    assert (answer.status_code, [one["field"] for one in answer.json()["errors"]]) == (422, [f"body.{field}"])
    assert "valid integer" in answer.text


def test_a_slash_may_be_part_of_a_name(desk: Desk) -> None:
    client = desk.as_(Role.OPERATOR)
    assert "there is no release yet" in client.get("/v1/products/A%2F1").text
    interventions.hold(desk.ledger, desk.settings, "uat", owner="shop/tests", reason="tests")
    ended = client.delete("/v1/environments/uat/holds/shop%2Ftests", params={"reason": "over"})
    assert (ended.status_code, client.get("/v1/environments/uat/holds").json()["holds"]) == (200, [])
