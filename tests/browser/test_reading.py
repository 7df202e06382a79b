"""Every page in a browser: no complaint, nothing from elsewhere, and it can be read, heard and used at any width."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from distributor.access.roles import Role
from tests.browser.conftest import Desk
from tests.browser.estate import World

NO_NAME = """() => [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary")]
  .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length || one.textContent?.trim()))
  .map((one) => one.outerHTML)"""
TWICE = """() => { const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  return ids.filter((id, at) => ids.indexOf(id) !== at); }"""
HEADINGS = """() => [...document.querySelectorAll("h1, h2, h3, h4")].map((one) => Number(one.tagName[1]))"""
NOT_TOLD = """() => [...document.querySelectorAll("img:not([alt]), svg:not([aria-hidden]):not([aria-label])")]
  .map((one) => one.outerHTML.slice(0, 200))"""
HEADERS = """() => [...document.querySelectorAll("th:not([scope])")].map((one) => one.outerHTML)"""
POOR = """() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const bed = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const one of document.querySelectorAll("body *:not(svg *)")) {
    const text = [...one.childNodes].some((node) => node.nodeType === 3 && node.nodeValue.trim());
    if (!text || !one.checkVisibility({ visibilityProperty: true }) || one.matches(":disabled")) continue;
    const [a, b] = [light(parts(getComputedStyle(one).color)), light(bed(one))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push(`${one.tagName}.${one.className}: ${one.innerText.slice(0, 40)}`);
  }
  return [...new Set(found)];
}"""
TOO_WIDE = "() => document.documentElement.scrollWidth > window.innerWidth"


def pages(world: World) -> Iterator[str]:
    """All of them, each with something on it."""
    newest = world.verb("rollouts", environment="uat")["rollouts"][0]["id"]
    yield from (
        "/",
        "/environments/uat",
        "/environments/prod/plan?release=1",
        "/environments/uat/plan",
        f"/rollouts/{newest}",
        "/releases",
        "/releases/1?dataset=products",
        "/products/1",
        "/compare?left=uat&right=prod",
        "/requests?environment=uat",
        "/letters",
        "/audit",
    )


def looked_at(page: Page, path: str) -> None:
    """What everybody needs who does not see, or does not point."""
    page.goto(path)
    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.get_by_role("banner")).to_have_count(1)
    expect(page.get_by_role("navigation", name="Pages")).to_have_count(1)
    assert page.locator("html").get_attribute("lang") == "en"
    for what in (NO_NAME, TWICE, NOT_TOLD, HEADERS):
        assert page.evaluate(what) == [], path
    headings = page.evaluate(HEADINGS)
    assert headings.count(1) == 1, path
    assert headings[0] == 1, path
    assert all(after - before <= 1 for before, after in pairwise(headings)), path


def test_every_page_can_be_heard_and_used_and_complains_of_nothing(desk: Desk) -> None:
    desk.world.change()
    page = desk.as_(Role.ADMIN)
    for path in pages(desk.world):
        looked_at(page, path)
        if page.locator("#live-word").count():
            expect(page.locator("#live-word"), path).to_have_text("updates by itself", timeout=20_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(desk: Desk, scheme: str) -> None:
    page = desk.as_(Role.ADMIN, color_scheme=scheme)
    for path in pages(desk.world):
        page.goto(path)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.evaluate(POOR) == [], path


@pytest.mark.parametrize("width", [380, 2560])
def test_no_page_is_wider_than_its_window(desk: Desk, width: int) -> None:
    page = desk.as_(Role.ADMIN, viewport={"width": width, "height": 900})
    for path in pages(desk.world):
        page.goto(path)
        assert not page.evaluate(TOO_WIDE), path


def test_on_paper_there_is_what_was_done_and_no_button(desk: Desk) -> None:
    page = desk.as_(Role.ADMIN)
    page.emulate_media(media="print")
    for path in (*pages(desk.world),):
        page.goto(path)
        assert page.locator("button:visible, nav:visible, input:visible").count() == 0, path
        assert page.locator("main").inner_text().strip()
