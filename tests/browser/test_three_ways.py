"""One story told three times: by the command line far from the ledger, by the HTTP API, and by mouse.

A tester's hold, an operator's deploy that waits for it, its release, and the way back. Each way leaves the same acts in
the audit, the same states on the way, and the same rows in the stores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2
import psycopg
import pytest
from playwright.sync_api import expect

from distributor.access.roles import Role
from distributor.cli.main import main
from tests.browser.conftest import Desk
from tests.browser.stored import in_master, in_systems
from tests.support import wait_for

pytestmark = pytest.mark.timeout(180)
WHY = "the story"


@dataclass
class Way:
    """How the story is told."""

    desk: Desk
    monkeypatch: pytest.MonkeyPatch

    def hold(self) -> None:
        raise NotImplementedError

    def deploy(self, release: int) -> None:
        raise NotImplementedError

    def release_hold(self) -> None:
        raise NotImplementedError

    def rollback(self) -> None:
        raise NotImplementedError


class ByCommandLine(Way):
    """No config, an address and a key."""

    def hold(self) -> None:
        self._run(Role.TESTER, "hold", "uat", "--reason", WHY)

    def deploy(self, release: int) -> None:
        self._run(Role.OPERATOR, "deploy", "uat", "--release", str(release), "--reason", WHY, "--no-wait")

    def release_hold(self) -> None:
        self._run(Role.TESTER, "release-hold", "uat", "--reason", WHY)

    def rollback(self) -> None:
        self._run(Role.OPERATOR, "rollback", "uat", "--reason", WHY, "--no-wait")

    def _run(self, role: Role, *words: str) -> None:
        self.monkeypatch.setenv("DISTRIBUTOR_SERVER", self.desk.world.url)
        self.monkeypatch.setenv("DISTRIBUTOR_KEY", self.desk.world.keys[role])
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(main, words).result() == 0


class ByApi(Way):
    """Plain HTTP."""

    def hold(self) -> None:
        self._post(Role.TESTER, "holds")

    def deploy(self, release: int) -> None:
        self._post(Role.OPERATOR, "rollouts", release=release)

    def release_hold(self) -> None:
        self._ask(Role.TESTER, "DELETE", "holds/tester", params={"reason": WHY})

    def rollback(self) -> None:
        self._post(Role.OPERATOR, "rollback")

    def _post(self, role: Role, path: str, **body: object) -> None:
        self._ask(role, "POST", path, json={"reason": WHY, **body})

    def _ask(self, role: Role, method: str, path: str, **more: object) -> None:
        headers = {"Authorization": f"Bearer {self.desk.world.keys[role]}"}
        url = f"{self.desk.world.url}/v1/environments/uat/{path}"
        answer = httpx2.request(method, url, headers=headers, **more)  # type: ignore[arg-type]
        assert answer.is_success, answer.text


class ByMouse(Way):
    """Two people before their browsers."""

    def hold(self) -> None:
        page = self.desk.as_(Role.TESTER)
        page.goto("/requests?environment=uat")
        form = page.locator("#form-place-hold")
        form.get_by_label("Reason").fill(WHY)
        form.get_by_role("button", name="Place the hold").click()
        expect(page.get_by_role("status")).to_contain_text("uat is held")

    def deploy(self, release: int) -> None:
        page = self.desk.as_(Role.OPERATOR)
        page.goto("/environments/uat/plan")
        page.get_by_role("region", name="Deploy").get_by_label("Reason").fill(WHY)
        page.get_by_role("button", name=re.compile(rf"^Deploy release {release} to uat: ")).click()
        page.wait_for_url("**/rollouts/*")

    def release_hold(self) -> None:
        page = self.desk.as_(Role.TESTER)
        page.goto("/requests?environment=uat")
        page.get_by_role("button", name="Release the hold of tester in uat").click()
        expect(page.get_by_role("status")).to_contain_text("has ended")

    def rollback(self) -> None:
        page = self.desk.as_(Role.OPERATOR)
        page.goto("/environments/uat")
        page.locator("summary", has_text="Roll back").click()
        page.locator("#form-rollback").get_by_label("Reason").fill(WHY)
        page.get_by_role("button", name="Roll uat back").click()
        page.wait_for_url("**/rollouts/*")


@pytest.mark.parametrize("way", [ByCommandLine, ByApi, ByMouse])
def test_the_story(way: Callable[..., Way], desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    told, world = way(desk, monkeypatch), desk.world
    before, stood = in_systems(world, "uat"), world.shown("uat")
    acts = _acts(desk)
    release = world.change()
    told.hold()
    told.deploy(release)
    wait_for(lambda: _state(desk) == "converged", 60, "every system to be staged")
    assert in_systems(world, "uat") == before, "a hold lets it be staged, and nothing flips"
    told.release_hold()
    world.online("uat", release)
    expected = in_master(world)
    assert in_systems(world, "uat") == {place.system: expected for place in world.estate.places("uat")}
    told.rollback()
    world.online("uat", stood)
    assert in_systems(world, "uat") == before
    assert [act for act in acts() if act[0] in ("tester", "operator")] == [
        ("tester", "hold"),
        ("operator", "deploy"),
        ("tester", "release-hold"),
        ("operator", "rollback"),
    ]


def _state(desk: Desk) -> str:
    [found] = desk.world.status("uat")["environments"]
    return str(found["state"])


def _acts(desk: Desk) -> Callable[[], list[tuple[str, str]]]:
    """Who did what in uat from now on, in plain SQL."""

    def rows(after: int) -> Iterator[tuple[int, str, str, str]]:
        with psycopg.connect(desk.world.estate.ledger_url) as ledger:
            yield from ledger.execute(
                "SELECT id, who, what, why FROM ledger.audit WHERE environment = 'uat' AND id > %s ORDER BY id", [after]
            ).fetchall()

    newest = max((number for number, *_ in rows(0)), default=0)

    def since() -> list[tuple[str, str]]:
        found = list(rows(newest))
        # A button that ends one's own hold asks for no reason.
        assert {why for _, who, what, why in found if who in ("tester", "operator") and what != "release-hold"} == {WHY}
        return [(who, what) for _, who, what, _ in found]

    return since
