"""What people do with the pages, click by click, until the systems' own stores show it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from distributor.access.roles import Role
from tests.browser.conftest import Desk
from tests.browser.estate import World
from tests.browser.stored import in_master, in_systems
from tests.support import wait_for

pytestmark = pytest.mark.timeout(120)
ENDS_MS = 40_000


def deploys(page: Page, environment: str, release: int, reason: str = "a test") -> None:
    """From the first page to the rollout, by what is written on links and buttons."""
    page.goto("/")
    page.get_by_role("link", name=f"Deploy to {environment}").click()
    page.get_by_role("region", name="Deploy").get_by_label("Reason").fill(reason)
    page.get_by_role("button", name=re.compile(rf"^Deploy release {release} to {environment}: ")).click()
    page.wait_for_url("**/rollouts/*")


def stands(page: Page, state: str) -> None:
    """Waits until the page says so of its rollout; whoever waits does not load it again."""
    expect(page.get_by_role("region", name="How it stands").locator(".state").first).to_have_text(
        state, timeout=ENDS_MS
    )


def opened(page: Page, summary: str) -> None:
    page.locator("summary", has_text=summary).click()


def everywhere(world: World, environment: str) -> None:
    expected = in_master(world)
    assert in_systems(world, environment) == {p.system: expected for p in world.estate.places(environment)}


def test_a_deploy_goes_from_the_plan_to_online_and_the_page_follows_without_being_loaded_again(desk: Desk) -> None:
    release = desk.world.change()
    page = desk.as_(Role.OPERATOR)
    page.goto("/environments/uat/plan")
    expect(page.get_by_role("button", name=re.compile("^Deploy"))).to_have_text(
        f"Deploy release {release} to uat: 2 systems, 120 rows"
    )
    watcher = desk.as_(Role.VIEWER)
    watcher.goto("/")
    expect(watcher.locator("#live-word")).to_have_text("updates by itself")
    watcher.evaluate("window.sameAsBefore = true")
    deploys(page, "uat", release, "weekly prices")
    expect(page.get_by_role("status")).to_contain_text(f"Release {release} was asked for in uat")
    page.evaluate("window.sameAsBefore = true")
    stands(page, "online")
    expect(page.get_by_role("region", name="Flips of the systems")).to_be_visible()
    expect(page.get_by_role("region", name="What happened")).to_contain_text(f"release {release} is online")
    assert page.evaluate("window.sameAsBefore")
    everywhere(desk.world, "uat")
    row = watcher.locator("#environment-uat")
    expect(row.get_by_role("rowheader")).to_contain_text(f"shows {release}")
    assert watcher.evaluate("window.sameAsBefore")
    page.goto("/audit?environment=uat&what=deploy")
    expect(page.get_by_role("region", name="Audit")).to_contain_text("weekly prices")


def test_a_hold_keeps_all_from_the_flip_until_it_is_released(desk: Desk) -> None:
    before = in_systems(desk.world, "uat")
    release = desk.world.change()
    tester, operator = desk.as_(Role.TESTER), desk.as_(Role.OPERATOR)
    tester.goto("/requests?environment=uat")
    form = tester.locator("#form-place-hold")
    form.get_by_label("Reason").fill("regression run")
    form.get_by_role("button", name="Place the hold").click()
    expect(tester.get_by_role("status")).to_contain_text("uat is held")
    deploys(operator, "uat", release)
    stands(operator, "converged")
    waits = operator.get_by_role("region", name="What it waits for")
    expect(waits).to_contain_text("regression run")
    assert in_systems(desk.world, "uat") == before
    tester.get_by_role("button", name="Release the hold of tester in uat").click()
    expect(tester.get_by_role("status")).to_contain_text("has ended")
    stands(operator, "online")
    everywhere(desk.world, "uat")


def test_a_rollback_takes_every_system_back(desk: Desk) -> None:
    before = in_systems(desk.world, "uat")
    release = desk.world.change()
    page = desk.as_(Role.OPERATOR)
    deploys(page, "uat", release)
    stands(page, "online")
    page.get_by_role("link", name="uat", exact=True).first.click()
    opened(page, "Roll back")
    page.locator("#form-rollback").get_by_label("Reason").fill("wrong prices")
    page.get_by_role("button", name="Roll uat back").click()
    page.wait_for_url("**/rollouts/*")
    stands(page, "online")
    assert in_systems(desk.world, "uat") == before


def test_a_plan_that_something_has_overtaken_is_refused_and_says_what_to_do(desk: Desk) -> None:
    release = desk.world.change()
    page = desk.as_(Role.OPERATOR)
    page.goto(f"/environments/uat/plan?release={release}")
    desk.world.verb("deploy", environment="uat", release=release, timeout="40s")
    desk.heard.refusals_expected = True
    page.get_by_role("button", name=re.compile("^Deploy")).click()
    expect(page.get_by_role("alert")).to_contain_text("The plan is stale")
    page.get_by_role("link", name="Go back and look again").click()
    expect(page.get_by_text("Nothing would change")).to_be_visible()


def test_what_needs_four_eyes_waits_for_a_second_person_and_goes_on_by_itself_then(desk: Desk) -> None:
    release = desk.world.change()
    operator, approver = desk.as_(Role.OPERATOR), desk.as_(Role.APPROVER)
    operator.goto("/environments/prod/plan")
    expect(operator.get_by_text("1 approval by others than whoever asks")).to_be_visible()
    deploys(operator, "prod", release)
    stands(operator, "converged")
    expect(operator.get_by_role("button", name=re.compile("^Approve"))).to_have_count(0)
    approver.goto(operator.url)
    approver.get_by_role("button", name=f"Approve release {release} for prod").click()
    expect(approver.get_by_role("status")).to_contain_text("You have approved")
    stands(operator, "online")
    everywhere(desk.world, "prod")


def test_everything_can_be_done_without_a_script(desk: Desk) -> None:
    release = desk.world.change()
    page = desk.as_(Role.OPERATOR, java_script_enabled=False)
    deploys(page, "uat", release)
    again = page.get_by_role("link", name="read again")

    def online() -> bool:
        again.click()
        return page.get_by_role("region", name="How it stands").locator(".state").first.inner_text() == "online"

    wait_for(online, 40, "the end of the rollout")
    everywhere(desk.world, "uat")


def test_a_deploy_takes_no_mouse(desk: Desk) -> None:
    release = desk.world.change()
    page = desk.as_(Role.OPERATOR)
    tab_to(page, "Skip to the content")
    tab_to(page, "Deploy to uat")
    page.keyboard.press("Enter")
    page.wait_for_url("**/plan")
    tab_to(page, "Reason (may be left empty)")
    page.keyboard.type("by keys alone")
    tab_to(page, f"Deploy release {release} to uat")
    page.keyboard.press("Enter")
    page.wait_for_url("**/rollouts/*")
    stands(page, "online")
    everywhere(desk.world, "uat")


FOCUSED = """() => {
  const found = document.activeElement;
  const label = found.labels?.[0]?.innerText;
  const style = getComputedStyle(found);
  return {
    name: (found.getAttribute("aria-label") || label || found.innerText || "").trim().replaceAll(/\\s+/g, " "),
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
  };
}"""


def tab_to(page: Page, beginning: str) -> None:
    """Tab by Tab, and it can be seen where one is all the way."""
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if not found["name"]:
            continue
        assert found["seen"], f"{found['name']} has the focus, and nothing shows it"
        if found["name"].startswith(beginning):
            return
    raise AssertionError(f"no way to {beginning!r} by the Tab key")
