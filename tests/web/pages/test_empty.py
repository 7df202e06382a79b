"""Every page of a service in which nothing has happened yet; who may see it, and what is said of wrong addresses."""

from __future__ import annotations

import itertools
import re

from fastapi.testclient import TestClient

from distributor.access.roles import Role
from distributor.web.security import COOKIE
from tests.web.conftest import Desk

PAGES = (
    "/",
    "/environments/uat",
    "/releases",
    "/compare",
    "/compare?left=uat&right=prod",
    "/requests",
    "/requests?environment=prod",
    "/letters",
    "/audit",
    "/audit?environment=uat&by=x&what=deploy",
    "/audit?check=true",
)


def browser(desk: Desk, secret: str) -> TestClient:
    """Somebody who has logged in."""
    client = TestClient(desk.app, follow_redirects=False)
    answer = client.post("/login", data={"key": secret, "next": "/requests"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/requests")
    assert COOKIE in client.cookies
    return client


def test_every_page_is_shown_to_every_role_before_anything_has_happened(desk: Desk) -> None:
    for client, path in itertools.product([browser(desk, desk.key(role)) for role in Role], PAGES):
        answer = client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert re.search(r"<title>\S.* · distributor</title>", answer.text)
        assert answer.text.count("<h1") == 1
        assert "Traceback" not in answer.text


def test_whoever_is_not_logged_in_is_led_to_the_login_and_back(desk: Desk) -> None:
    key = desk.key(Role.VIEWER)
    for path in PAGES:
        client = TestClient(desk.app, follow_redirects=False)
        answer = client.get(path)
        assert answer.status_code == 303
        login = client.get(answer.headers["location"])
        assert login.status_code == 200
        [field] = re.findall(r'name="next" value="([^"]*)"', login.text)
        led = client.post("/login", data={"key": key, "next": field.replace("&amp;", "&")})
        assert led.headers["location"] == path


def test_a_login_leads_to_no_other_site(desk: Desk) -> None:
    key = desk.key(Role.VIEWER)
    for elsewhere in ("https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:x", "/a\nb"):
        client = TestClient(desk.app, follow_redirects=False)
        assert "evil" not in client.get("/login", params={"next": elsewhere}).text
        answer = client.post("/login", data={"key": key, "next": elsewhere})
        assert answer.headers["location"] == "/", elsewhere


def test_a_key_that_opens_nothing_is_told_on_the_form(desk: Desk) -> None:
    client = TestClient(desk.app, follow_redirects=False)
    answer = client.post("/login", data={"key": "pdk_wrong", "next": "/audit"})
    assert answer.status_code == 401
    assert "opens nothing" in answer.text
    assert 'name="next" value="/audit"' in answer.text
    assert "pdk_wrong" not in answer.text
    assert COOKIE not in client.cookies


def test_logging_out_ends_the_login_and_needs_the_token_of_it(desk: Desk) -> None:
    client = browser(desk, desk.key(Role.VIEWER))
    assert client.post("/logout").status_code == 403
    [token] = set(re.findall(r'name="csrf_token" value="([^"]+)"', client.get("/").text))
    kept = client.cookies[COOKIE]
    answer = client.post("/logout", data={"csrf_token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    client.cookies.set(COOKIE, kept)
    assert client.get("/").status_code == 303


WRONG = (
    ("/nowhere", 404, "nothing at this address"),
    ("/environments/nowhere", 404, "no environment"),
    ("/environments/nowhere/plan", 404, "no environment"),
    ("/rollouts/nowhere", 404, "no rollout"),
    ("/releases/7", 404, "release 7"),
    ("/releases/seven", 422, "integer"),
    ("/environments/uat/plan", 409, "no release yet"),
    ("/products/1", 409, "no release yet"),
    ("/compare?left=uat&right=uat", 422, "one environment, not two"),
    ("/compare?left=uat&right=nowhere", 404, "no environment"),
    ("/letters/7", 404, "7"),
)


def test_what_is_not_there_is_a_page_that_says_so(desk: Desk) -> None:
    client = browser(desk, desk.key(Role.ADMIN))
    for path, status, what in WRONG:
        answer = client.get(path)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert (answer.status_code, what in answer.text) == (status, True), f"{path}: {answer.text}"
        assert "/v1/" not in answer.text.replace("/v1/events", "")


def test_a_part_of_a_page_has_the_same_address_and_no_frame(desk: Desk) -> None:
    client = browser(desk, desk.key(Role.VIEWER))
    whole, part = client.get("/"), client.get("/", headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<div id="live"')
    assert "<html" not in part.text
    assert "HX-Request" in whole.headers["vary"]
    client.cookies.clear()
    gone = client.get("/", headers={"HX-Request": "true"})
    assert (gone.status_code, gone.headers["hx-redirect"]) == (401, "/login?next=%2F")
