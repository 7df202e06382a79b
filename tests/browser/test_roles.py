"""Who is offered what, and what becomes of those who do what they were not offered."""

from __future__ import annotations

import re

from playwright.sync_api import Page

from distributor.access.roles import Role
from tests.browser.conftest import Desk

WRITES = (
    ("/environments/uat/deploy", {"release": "1", "plan": "a" * 64}),
    ("/environments/uat/hold", {"reason": "mine"}),
    ("/environments/uat/release-hold", {"owner": "operator"}),
    ("/environments/uat/rollback", {"reason": "back"}),
    ("/environments/uat/detach", {"system": "crm", "reason": "away"}),
    ("/environments/uat/pin", {"reason": "stay"}),
    ("/environments/uat/follow", {}),
    ("/environments/uat/promote", {"source": "prod", "reason": "up"}),
    ("/requests/refresh", {"environment": "uat", "reason": "new"}),
    ("/requests/hold", {"environment": "uat", "reason": "mine"}),
    ("/requests/freeze", {"environment": "uat", "until": "2099-01-01T00:00", "reason": "stop"}),
    ("/letters/1/retry", {"reason": "again"}),
    ("/letters/1/discard", {"reason": "gone"}),
    ("/letters/held-back/retry", {"environment": "*", "dataset": "products", "key": "1", "reason": "again"}),
    ("/letters/held-back/release", {"environment": "*", "dataset": "products", "key": "1", "reason": "out"}),
)
READ = ("/", "/environments/uat", "/environments/uat/plan", "/requests", "/letters", "/audit", "/releases")


def token(page: Page) -> str:
    found = page.locator("form[action='/logout'] input[name=csrf_token]").get_attribute("value")
    assert found
    return found


def test_a_viewer_sees_no_button_that_writes_and_every_write_of_theirs_is_refused(desk: Desk) -> None:
    page = desk.as_(Role.VIEWER)
    newest = desk.world.verb("rollouts", environment="uat")["rollouts"][0]["id"]
    for path in (*READ, f"/rollouts/{newest}"):
        page.goto(path)
        writing = page.locator("form[method=post]").evaluate_all("forms => forms.map(form => form.action)")
        assert [re.sub(r"^https?://[^/]+", "", action) for action in writing] == ["/logout"], path
    before = desk.world.status("uat")["environments"]
    rollouts = [(f"/rollouts/{newest}/{act}", {"reason": "no"}) for act in ("approve", "reject", "abort")]
    for path, fields in (*WRITES, *rollouts):
        answer = page.request.post(
            path, form={**fields, "csrf_token": token(page)}, headers={"Origin": desk.world.url}, max_redirects=0
        )
        assert answer.status == 403, f"{path}: {answer.status} {answer.text()}"
    after = desk.world.status("uat")["environments"]
    assert [(e["release"], e["holds"], e["queued"], e["rollout"]) for e in after] == [
        (e["release"], e["holds"], e["queued"], e["rollout"]) for e in before
    ]


def test_no_write_is_taken_without_the_token_of_the_login_or_from_another_site(desk: Desk) -> None:
    page = desk.as_(Role.OPERATOR)
    for path, fields in WRITES:
        refused = [
            page.request.post(path, form=fields, headers={"Origin": desk.world.url}, max_redirects=0),
            page.request.post(path, form={**fields, "csrf_token": "x" * 43}, max_redirects=0),
            page.request.post(
                path,
                form={**fields, "csrf_token": token(page)},
                headers={"Origin": "https://elsewhere.example"},
                max_redirects=0,
            ),
        ]
        assert [answer.status for answer in refused] == [403, 403, 403], path
    assert not desk.world.status("uat")["environments"][0]["holds"]


def test_whoever_is_for_one_environment_sees_nothing_of_the_others(desk: Desk) -> None:
    secret = desk.world.key(Role.OPERATOR, "uat", name="only uat")
    desk.heard.refusals_expected = True
    page = desk.page()
    page.goto("/login")
    page.get_by_label("Key").fill(secret)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/")
    for path in ("/", "/requests", "/audit", "/releases", "/letters", "/products/1", "/compare"):
        page.goto(path)
        assert "prod" not in re.findall(r"[a-z]+", page.locator("main").inner_text()), path
    rollout = desk.world.verb("rollouts", environment="prod")["rollouts"][0]["id"]
    for path in ("/environments/prod", "/environments/prod/plan", f"/rollouts/{rollout}", "/audit?environment=prod"):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 404, path
