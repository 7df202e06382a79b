"""What forms do, over a real ledger, without a browser: who may, what is kept, and what is said of wrong input."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import text

from distributor.access.roles import Role
from tests.web.conftest import Desk
from tests.web.pages.test_empty import browser

EVIL = "<script>alert('x')</script>\"'&"
AUDIT = text("SELECT who, what, why, environment FROM ledger.audit ORDER BY id")
HELD = text(
    'INSERT INTO ledger.quarantine (environment, dataset, key, system, "table", "column", value, why, release, since)'
    " VALUES ('*', 'products', ARRAY['4711'], '', 'products', 'price', '-1', 'fails a rule', 1, now())"
)


class Person:
    """Somebody who has logged in and sends the forms of the pages."""

    def __init__(self, desk: Desk, role: Role, *environments: str, name: str) -> None:
        self.client: TestClient = browser(desk, desk.key(role, *environments, name=name))
        [self.token] = set(re.findall(r'name="csrf_token" value="([^"]+)"', self.client.get("/").text))

    def send(self, path: str, came_from: str = "", **fields: str | list[str]) -> Response:
        headers = {"Referer": f"http://testserver{came_from}"} if came_from else {}
        return self.client.post(path, data={**fields, "csrf_token": self.token}, headers=headers)

    def done(self, path: str, came_from: str = "", **fields: str | list[str]) -> Response:
        """Sends a form that must be taken, and gives the page that it leads to."""
        answer = self.send(path, came_from, **fields)
        assert answer.status_code == 303, answer.text
        return self.client.get(answer.headers["location"])


def acts(desk: Desk) -> list[tuple[str, ...]]:
    with desk.ledger.connect() as conn:
        return [tuple(row) for row in conn.execute(AUDIT)]


def said(answer: Response) -> str:
    """What the page says was done."""
    found = re.search(r'<p class="said good" role="status">(.*?)</p>', answer.text)
    return found[1] if found else ""


def test_a_hold_is_placed_in_the_name_of_who_is_logged_in_told_once_and_released(desk: Desk) -> None:
    tester = Person(desk, Role.TESTER, name="tess")
    placed = tester.done(
        "/environments/uat/hold", came_from="/requests?environment=uat", reason=EVIL, until="2999-01-01T10:00"
    )
    assert said(placed) == "uat is held."
    assert placed.url.path == "/requests"
    for path in ("/", "/requests", "/environments/uat"):
        again = tester.client.get(path)
        assert not said(again)
        assert "held by tess until" in again.text
        assert "&lt;script&gt;alert" in again.text
        assert "<script>alert" not in again.text
    assert said(tester.done("/environments/uat/release-hold", reason="")) == "The hold of tess in uat has ended."
    assert acts(desk) == [("tess", "hold", EVIL, "uat"), ("tess", "release-hold", "", "uat")]


def test_the_hold_of_somebody_else_takes_somebody_who_may_overrule(desk: Desk) -> None:
    tess, timo = (Person(desk, Role.TESTER, name=name) for name in ("tess", "timo"))
    tess.done("/requests/hold", environment="uat", reason="mine")
    assert "Release the hold of tess" not in timo.client.get("/environments/uat").text
    refused = timo.send("/environments/uat/release-hold", owner="tess")
    assert refused.status_code == 403
    assert "overrule" in refused.text or "end what others have asked for" in refused.text
    operator = Person(desk, Role.OPERATOR, name="olga")
    assert "Release the hold of tess" in operator.client.get("/environments/uat").text
    operator.done("/environments/uat/release-hold", owner="tess")


def test_freezes_begin_and_end_and_one_for_all_takes_a_key_for_all(desk: Desk) -> None:
    olga, only_uat = Person(desk, Role.OPERATOR, name="olga"), Person(desk, Role.OPERATOR, "uat", name="otto")
    assert only_uat.send("/requests/freeze", environment="", until="2999-01-01T00:00", reason="x").status_code == 403
    assert (
        only_uat.send("/requests/freeze", environment="prod", until="2999-01-01T00:00", reason="x").status_code == 404
    )
    page = olga.done("/requests/freeze", environment="", until="2999-01-01T00:00", reason="end of year")
    assert said(page) == "Every environment is frozen until 2999-01-01 00:00 UTC."
    [freeze] = re.findall(r"/requests/freezes/([0-9a-f]{32})/end", page.text)
    assert only_uat.send(f"/requests/freezes/{freeze}/end").status_code == 403
    assert said(olga.done(f"/requests/freezes/{freeze}/end")) == "The freeze of olga has ended."
    assert [act[:2] for act in acts(desk)] == [("olga", "freeze"), ("olga", "unfreeze")]


WRONG: tuple[tuple[str, dict[str, str], int, str], ...] = (
    ("/environments/uat/hold", {"reason": " "}, 422, "Reason is empty"),
    ("/environments/uat/hold", {"reason": "x", "until": "tomorrow"}, 422, "is no time"),
    ("/environments/uat/hold", {"reason": "x" * 501}, 422, "500"),
    ("/environments/nowhere/hold", {"reason": "x"}, 404, "no environment"),
    ("/environments/uat/rollback", {"reason": "x", "to": "last"}, 422, "is no release"),
    ("/environments/uat/rollback", {"reason": "x"}, 409, "not known"),
    ("/environments/uat/deploy", {"release": "1", "plan": "short"}, 422, "64"),
    ("/environments/uat/deploy", {"release": "1", "plan": "0" * 64}, 409, "release"),
    ("/environments/uat/detach", {"reason": "x", "system": "none"}, 409, "is no member"),
    ("/environments/uat/promote", {"reason": "x", "source": "prod"}, 409, "shows no release yet"),
    ("/requests/freeze", {"reason": "x", "environment": "uat"}, 422, "a freeze has an end"),
    ("/requests/freeze", {"reason": "x", "until": "2001-01-01T00:00"}, 422, "past"),
    (
        "/requests/refresh",
        {"reason": "x", "environment": "uat", "release": "9", "as_of": "2001-01-01T00:00"},
        422,
        "exclude",
    ),
    ("/requests/nothing/withdraw", {}, 404, "no such request"),
    ("/letters/7/retry", {"reason": "x"}, 404, "no dead letter 7"),
    (
        "/letters/held-back/retry",
        {"reason": "x", "environment": "*", "dataset": "products", "key": "1"},
        409,
        "no such row",
    ),
    ("/letters/held-back/eat", {"reason": "x", "environment": "*", "dataset": "products", "key": "1"}, 422, "retry"),
)


def test_wrong_input_changes_nothing_and_is_a_page_with_the_way_back(desk: Desk) -> None:
    person = Person(desk, Role.ADMIN, name="ada")
    for path, fields, status, what in WRONG:
        answer = person.send(path, came_from="/environments/uat?x=1", **fields)
        assert (answer.status_code, what.lower() in answer.text.lower()) == (status, True), f"{path}: {answer.text}"
        assert "Nothing was changed" in answer.text
        assert 'href="/environments/uat?x=1"' in answer.text
        assert acts(desk) == []


def test_the_way_back_leads_to_no_other_site(desk: Desk) -> None:
    olga = Person(desk, Role.OPERATOR, name="olga")
    headers = {"Referer": "https://evil.example/environments/uat"}
    for fields, leads in (({"reason": ""}, ""), ({"reason": "x"}, "/environments/uat")):
        answer = olga.client.post("/environments/uat/hold", data={**fields, "csrf_token": olga.token}, headers=headers)
        assert "evil" not in answer.text
        assert answer.headers.get("location", "") == leads


def test_what_every_environment_lacks_is_released_by_whoever_is_for_all_of_them(desk: Desk) -> None:
    with desk.ledger.begin() as conn:
        conn.execute(HELD)
    only_uat, olga = Person(desk, Role.OPERATOR, "uat", name="otto"), Person(desk, Role.OPERATOR, name="olga")
    row = {"dataset": "products", "key": ["4711"], "reason": "let it go"}
    for environment in ("uat", "*"):
        answer = only_uat.send("/letters/held-back/release", environment=environment, **row)
        assert answer.status_code == 403, environment
    assert acts(desk) == []
    olga.done("/letters/held-back/release", environment="*", **row)
    assert acts(desk) == [("olga", "quarantine release", "let it go", None)]
