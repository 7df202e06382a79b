"""`refresh --reset` over real consumers and stores: what a test team wrote is gone, and nothing else was written."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from distributor.telemetry.faults import KILLED, Point
from tests.cli.test_verify_systems import ADDED, CHANGED, LOST, World, make_world
from tests.support import wait_for

__all__ = ["make_world"]

pytestmark = pytest.mark.services
SYSTEMS = ("crm", "pos")


def versions(world: World, table: str) -> dict[str, str]:
    """Row versions: what was written, and what was left alone."""
    with psycopg.connect(world.crm) as postgresql:
        return dict(postgresql.execute(f"SELECT sku, xmin::text FROM {table}".encode()).fetchall())


def reset(world: World, *words: str) -> dict[str, Any]:
    told = world.json("refresh", "uat", "--reset", "--reason", "the next test", *words)
    assert told["request"]["state"] == "done", told["request"]
    return told


def rollouts(world: World) -> list[tuple[str, str]]:
    told = world.json("rollouts", "uat")["rollouts"]
    return [(one["cause"], one["state"]) for one in reversed(told)]


def whole(world: World, release: int) -> None:
    """Readers and both slots have what the release has, and no audit finds anything."""
    for system in SYSTEMS:
        assert world.content(system) == world.right(release)
        assert world.content(system, world.slot(system, "shadow")) == world.right(release)
    assert not world.json("verify", "uat")["different"]


def test_a_dirtied_environment_comes_clean_to_the_newest_release(make_world: Callable[..., World]) -> None:
    world = make_world(releases=1)
    world.settled()
    for system in SYSTEMS:
        world.alter(system, "online")
    world.alter("pos", "shadow", "UPDATE {} SET name = NULL WHERE sku = 'SKU-100'")
    dirty = world.slot("crm", "online")
    before = versions(world, dirty)
    told = reset(world)
    assert (told["rollout"]["state"], told["rollout"]["cause"], told["release"]) == ("online", "refresh", 2)
    for system in SYSTEMS:
        assert world.content(system) == world.right(2)
    world.settled()
    whole(world, 2)
    now = versions(world, dirty)
    changed = {f"SKU-{n}" for n in range(0, 3000, 3)}
    assert {key for key in now if now[key] != before.get(key)} <= {CHANGED, LOST, *changed}
    assert ADDED not in now
    assert rollouts(world) == [("operator", "online"), ("refresh", "online")]
    [verified] = world.json("requests", "uat")["requests"]
    assert (verified["verification"] or "") != ""


def test_a_reset_to_what_is_shown(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.settled()
    told = reset(world)
    assert told["rollout"] is None
    assert told["request"]["outcome"] == "nothing was written behind the tables; release 2 is online"
    for system in SYSTEMS:
        world.alter(system, "online")
    assert reset(world, "--release", "2")["rollout"]["cause"] == "repair"
    world.settled()
    wait_for(lambda: world.content("pos", world.slot("pos", "shadow")) == world.right(2), 60, "the old slot, mended")
    wait_for(lambda: world.content("crm", world.slot("crm", "shadow")) == world.right(2), 60, "the old slot, mended")
    whole(world, 2)


def test_a_shadow_that_keeps_the_previous_release_may_be_dirty_too(make_world: Callable[..., World]) -> None:
    world = make_world(keep_previous="1h")
    for system in SYSTEMS:
        world.alter(system, "online")
        world.alter(system, "shadow", "UPDATE {} SET name = NULL WHERE sku = 'SKU-100'")
    assert reset(world, "--release", "1")["rollout"]["state"] == "online"
    for system in SYSTEMS:
        assert world.content(system) == world.right(1)
    world.deploy(2)
    for system in SYSTEMS:
        assert world.content(system) == world.right(2)


_WORKER = """
import sys
from distributor.coordination.desk import DeskWork
from distributor.ledger.engine import ledger_engine
from distributor.settings import load_settings
from distributor.store.directory import DirectoryStore
from distributor.verification.resetting import reset
from pathlib import Path
settings = load_settings(Path(sys.argv[1]))
store = DirectoryStore(settings.resolve(settings.store.path))
DeskWork(ledger_engine(settings.ledger.url), settings, store, lambda _: None, reset).drive("uat")
"""


def look(world: World, fault: str = "") -> int:
    """One look of a process that can reset."""
    environment = {**os.environ, "DISTRIBUTOR_FAULT": fault}
    return subprocess.run(
        [sys.executable, "-c", _WORKER, str(world.config)], env=environment, check=False, stderr=subprocess.DEVNULL
    ).returncode


@pytest.mark.long
def test_whoever_resets_may_die_between_any_two_transactions(make_world: Callable[..., World]) -> None:
    world = make_world(reset=None)
    world.settled()
    for asked, (at, passing) in enumerate(
        [(Point.RESET_BEFORE_COMMIT, 1), (Point.RESET_AFTER_COMMIT, 1), (Point.RESET_BEFORE_COMMIT, 2)], 1
    ):
        world.alter("pos", "online")
        request = world.json("refresh", "uat", "--reset", "--reason", "a test", "--no-wait")["request"]
        assert request["state"] == "waiting"
        assert look(world, f"{at}:{passing}") == KILLED
        # PostgreSQL may take a moment to see that the process is gone, and lets its lock go then.
        for _ in range(20):
            assert look(world) == 0
            [state] = [one["state"] for one in world.json("requests")["requests"] if one["id"] == request["id"]]
            if state not in ("waiting", "resetting"):
                break
            time.sleep(0.5)
        wait_for(lambda: world.json("requests", "uat", "--open")["requests"] == [], 60, "the end of the request")
        assert world.content("pos") == world.right(2)
        assert rollouts(world) == [("operator", "online")] * 2 + [("repair", "online")] * asked
        world.settled()
