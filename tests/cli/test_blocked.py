"""`status` and `rollout` name what is in the way, and the command that would help, for each kind of blocker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from yarl import URL

from distributor.ledger import environments, processes, timeline
from distributor.ledger.engine import transaction
from distributor.local.processes import free_port
from distributor.rollout.commands import Flip, Revert
from distributor.rollout.events import Aborted, HoldPlaced
from distributor.rollout.state import Cause
from distributor.telemetry.clock import now
from tests.cli.conftest import Recorded, Run
from tests.coordination.test_deliveries import faulty
from tests.support import wait_for

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
SERVE = "distributor serve consumer --env e --system"


@pytest.fixture
def world(ledger: Engine) -> Recorded:
    """Both members show release 1, and a coordinator is up."""
    with transaction(ledger) as conn:
        processes.beat(conn, processes.Process("coordinator", "host/1", now(), {}))
    made = Recorded.into(ledger)
    made.now = now()
    made.online(1, Cause.AUTO)
    return made


@pytest.fixture
def tell(run: Run, tmp_path: Path) -> Callable[..., Any]:
    """What a verb says: with `--json` its object, else its text."""

    def call(*words: str) -> Any:
        ran = run(*words, "--config", tmp_path / "d.toml")
        assert ran.code == 0, ran
        return ran.json if "--json" in words else ran.out

    return call


def quoted(said: str) -> bool:
    """Whether people who look it up find it, under the names that the runbook uses."""
    text = said.replace("e does not follow to release 3", "prod does not follow to release 7")
    return text.replace("release 3", "release 7") in RUNBOOK.read_text(encoding="utf-8")


def blockers(tell: Callable[..., Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tell("status", "e", "--json")["environments"][0]["blockers"]
    return found


def forget(world: Recorded, system: str, since: timedelta) -> None:
    """A member is not heard of any more."""
    assert world.ledger
    before = world.state
    heard = replace(before.members[system], heard_at=now() - since)
    world.state = replace(before, members={**before.members, system: heard})
    with transaction(world.ledger) as conn:
        environments.save(conn, before, world.state, at=now())


def test_a_hold_and_its_owner(world: Recorded, tell: Callable[..., Any]) -> None:
    world.state = replace(world.state, follow=False)
    rollout = world.request(2)
    world.tick()
    world.feed(HoldPlaced(world.now, "qa", "price tests", None))
    world.stage_all()
    [found] = blockers(tell)
    assert (found["reason"], found["who"], found["what"]) == ("hold", "qa", "held by qa: price tests")
    assert found["helps"] == ["distributor release-hold e"]
    for told in (tell("status", "e"), tell("rollout", rollout)):
        assert told.count("held by qa: price tests\n    try: distributor release-hold e\n") == 1 or (
            "e: held by qa: price tests\ne:     try: distributor release-hold e\n" in told
        )
    assert tell("rollout", rollout, "--json")["blockers"] == [found]


def test_a_dead_member_before_and_after_the_decision(world: Recorded, tell: Callable[..., Any]) -> None:
    world.state = replace(world.state, follow=False)
    world.request(2)
    world.tick()
    forget(world, "b", timedelta(minutes=4))
    detach = "distributor detach e b --reason …"
    silent = [found for found in blockers(tell) if found["who"] == "b"]
    assert [(found["reason"], found["helps"]) for found in silent] == [("silent", [f"{SERVE} b", detach])]
    assert silent[0]["what"].startswith("b was not heard of since ")
    members = {member["system"]: member for member in tell("status", "e", "--json")["environments"][0]["members"]}
    assert {name: member["contact"] for name, member in members.items()} == {"a": "heard", "b": "silent"}
    assert "(silent)" in tell("status", "e")
    world.stage_all()
    world.tick()
    world.do(world.last(Flip, "a"))
    world.feed(Aborted(world.now, "ann", "", world.fresh()))
    world.do(world.last(Revert, "a"))
    forget(world, "b", timedelta(minutes=4))
    [silent_again] = blockers(tell)
    assert (silent_again["who"], silent_again["helps"]) == ("b", [f"{SERVE} b", detach])
    assert f"    try: {SERVE} b\n" in tell("status", "e")
    assert f"    or: {detach}\n" in tell("status", "e")


def test_the_ledger_itself_is_away(run: Run, nowhere: Path) -> None:
    ran = run("status", "--config", nowhere)
    assert ran.code == 1
    for said in ("the ledger did not answer: ", "Is PostgreSQL running there, and are user and password right?"):
        assert said in ran.err
        assert quoted(said)


def test_no_coordinator(world: Recorded, tell: Callable[..., Any], ledger: Engine) -> None:
    world.request(2)
    world.tick()
    forget(world, "b", timedelta(minutes=4))
    with transaction(ledger) as conn:
        processes.beat(conn, processes.Process("coordinator", "host/1", now() - timedelta(minutes=3), {}))
    [silent] = blockers(tell)
    assert silent["what"] == "no coordinator has been seen for 3 m: it has not said that it stops"
    with transaction(ledger) as conn:
        processes.gone(conn, "coordinator", "host/1")
    [stopped] = blockers(tell)
    assert stopped["what"].startswith("no coordinator has been seen for ")
    assert stopped["what"].endswith(": the last one was stopped")
    for found in (silent, stopped):
        assert (found["reason"], found["helps"]) == ("coordinator", ["distributor serve coordinator"])
    assert "    try: distributor serve coordinator\n" in tell("status", "e")
    assert quoted(silent["what"])
    assert quoted("no coordinator has been seen for 3 m: the last one was stopped")


def test_a_coordinator_without_its_broker(world: Recorded, tell: Callable[..., Any], ledger: Engine) -> None:
    world.request(2)
    world.tick()
    trouble = processes.Trouble(world.now, "broker h:5672/: the broker did not answer: refused.")
    with transaction(ledger) as conn:
        processes.beat(conn, processes.Process("coordinator", "host/1", now(), trouble.detail))
    [found] = blockers(tell)
    assert (found["reason"], found["helps"]) == ("broker", ["distributor check"])
    assert "the coordinator can do nothing since " in tell("status", "e")
    assert quoted("the coordinator does not reach the broker since ")
    with transaction(ledger) as conn:
        processes.beat(conn, processes.Process("coordinator", "host/2", now(), {}))
    assert [found["reason"] for found in blockers(tell)] == ["unanswered", "unanswered"], "another one does the work"


def test_a_real_coordinator_says_that_its_broker_is_away_and_that_it_is_back(
    ledger: Engine, tmp_path: Path, tell: Callable[..., Any], amqp_url: str
) -> None:
    config, port = tmp_path / "d.toml", free_port()
    through = str(URL(amqp_url).with_host("127.0.0.1").with_port(port))
    config.write_text(config.read_text().replace("amqp://h/", through))
    words = [sys.executable, "-m", "distributor", "serve", "coordinator", "--config", str(config)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as coordinator:
        try:
            tell("deploy", "e", "--release", "0", "--no-wait")

            def away() -> Any:
                found = blockers(tell)
                return found if found and found[0]["reason"] == "broker" else None

            [found] = wait_for(away, timeout=60, what="the coordinator's word")
            assert "Is RabbitMQ running there" in found["what"]
            assert tell("status", "e", "--json")["coordinator_trouble"]["since"] == found["since"]
            with faulty(amqp_url, port):
                wait_for(
                    lambda: tell("status", "e", "--json")["coordinator_trouble"] is None, timeout=60, what="a well one"
                )
                assert {found["reason"] for found in blockers(tell)} == {"unheard"}
                coordinator.terminate()
                assert coordinator.wait(30) == 0
        finally:
            coordinator.kill()


def not_followed(tell: Callable[..., Any]) -> tuple[str, list[str]]:
    [found] = blockers(tell)
    assert found["reason"] == "not-followed"
    assert f"e: {found['what'].removeprefix('e ')}\n" in tell("status", "e")
    assert quoted(found["what"].partition(" again from ")[0].partition("aborted by")[0])
    return found["what"], found["helps"]


def test_why_an_environment_does_not_follow(world: Recorded, tell: Callable[..., Any], ledger: Engine) -> None:
    deploy = ["distributor deploy e --release 3"]
    begins = "e does not follow to release 3: "
    assert blockers(tell) == [], "it is about to be asked for"
    text = "release 3 cannot be asked for yet: the store is away"
    with transaction(ledger) as conn:
        timeline.write(conn, "e", now(), [timeline.Entry("not-followed", text)])
    assert not_followed(tell) == (f"{begins}the store is away", ["distributor check"])

    world.online(2, Cause.AUTO)
    world.decided(3, Cause.AUTO)
    world.feed(Aborted(world.now, "ann", "enough", world.fresh()))
    for name in ("a", "b"):
        world.do(world.last(Revert, name))
    what, helps = not_followed(tell)
    assert what == f"{begins}release 3 was flipped back: aborted by ann: enough"
    assert helps == deploy
    world.state = replace(world.state, pinned="")
    world.tick()
    forget(world, "a", timedelta())
    assert not_followed(tell) == (f"{begins}release 3 was flipped back here", deploy)
    world.state = replace(world.state, pinned="rolled back to release 5 by ann")
    forget(world, "a", timedelta())
    assert not_followed(tell) == (f"{begins}rolled back to release 5 by ann", deploy)
    world.state = replace(world.state, pinned="", barred=frozenset())
    forget(world, "a", timedelta())
    assert not_followed(tell) == (f"{begins}an operator called its rollout off", deploy)


def test_a_release_that_fails_is_tried_again_by_itself(world: Recorded, tell: Callable[..., Any]) -> None:
    world.request(3, Cause.AUTO)
    world.tick()
    world.tick(hours=1)
    assert world.state.active is None
    assert world.ledger
    for name in ("a", "b"):
        forget(world, name, timedelta())
    what, _ = not_followed(tell)
    assert what.startswith("e does not follow to release 3: it was tried once in vain, and is tried again from ")


def test_an_operator_passed_it_over(world: Recorded, tell: Callable[..., Any]) -> None:
    world.now = now() + timedelta(seconds=1)
    world.online(2)
    assert not_followed(tell)[0] == (
        "e does not follow to release 3: ann deployed release 2 when release 3 was there already"
    )


def test_who_follows_nothing_by_itself_is_told_so(world: Recorded, tell: Callable[..., Any]) -> None:
    world.online(2)
    world.state = replace(world.state, follow=False)
    forget(world, "a", timedelta())
    [found] = blockers(tell)
    assert found["what"] == 'e follows no release by itself (follow = "manual"): release 3 is there'
    assert found["helps"] == ["distributor deploy e --release 3"]
    assert 'prod follows no release by itself (follow = "manual")' in RUNBOOK.read_text(encoding="utf-8")
