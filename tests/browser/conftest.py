"""A real Chromium before the pages of a real estate. Whatever a page complains of fails the test that showed it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from distributor.access.roles import Role
from tests.browser.estate import World, running_world
from tests.services.rabbitmq import RabbitMQServer

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is; on Debian and Ubuntu it is installed when it is missing and we may."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(
                ["apt-get", *command], env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, capture_output=True
            )
        found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no Chromium here: `sudo apt-get install chromium` gets it")
    return found


@pytest.fixture(scope="session")
def world(chromium: str, services_directory: Path, rabbitmq_server: RabbitMQServer) -> Iterator[World]:
    """One estate for all tests of a run: each makes a release of its own and leaves its environment idle."""
    url = rabbitmq_server.create("pages")
    with running_world(services_directory / "pages", url) as found:
        yield found
    rabbitmq_server.delete("pages")


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    # A browser of root has no sandbox; what it opens here is ours alone.
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


@dataclass
class Heard:
    """What pages complained of, and whom they asked."""

    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    refusals_expected: bool = False

    def console(self, message: ConsoleMessage) -> None:
        # A page that a refusal is shown on is a failed request, as Chromium tells it.
        told = message.type == "error" and not (self.refusals_expected and "Failed to load resource" in message.text)
        if told or message.type == "warning":
            self.complaints.append(f"{message.type}: {message.text}")

    def request(self, request: Request) -> None:
        self.hosts.add("/".join(request.url.split("/")[:3]))


@dataclass
class Desk:
    """Opens pages for people."""

    world: World
    browser: Browser
    heard: Heard
    contexts: list[BrowserContext] = field(default_factory=list)

    def page(self, **options: object) -> Page:
        """A page of a fresh browser, nobody logged in."""
        context = self.browser.new_context(base_url=self.world.url, **options)  # type: ignore[arg-type]
        context.set_default_timeout(20_000)
        context.add_init_script(_TELL_VIOLATIONS)
        context.on("console", self.heard.console)
        context.on("weberror", lambda error: self.heard.complaints.append(str(error.error)))
        context.on("request", self.heard.request)
        self.contexts.append(context)
        return context.new_page()

    def as_(self, role: Role, **options: object) -> Page:
        """Somebody of this role, logged in, before the first page."""
        page = self.page(**options)
        page.goto("/")
        page.get_by_label("Key", exact=False).last.fill(self.world.keys[role])
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/")
        return page


@pytest.fixture
def desk(world: World, browser: Browser) -> Iterator[Desk]:
    """People before the pages. Ends with: no complaint, no policy violated, nobody else asked."""
    found = Desk(world, browser, Heard())
    yield found
    for context in found.contexts:
        context.close()
    world.free()
    assert not found.heard.complaints
    assert found.heard.hosts <= {world.url}
