"""What `status` and `rollout` say of failures, of emptiness, and of a coordinator that is not there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine

from distributor.ledger import doubts, processes
from distributor.ledger.engine import transaction
from distributor.rollout.commands import Stage
from distributor.rollout.events import RefusalReason, Refused
from distributor.rollout.state import Clock
from distributor.telemetry.clock import now
from tests.cli.conftest import Ran, Recorded, Run


def on(run: Run, tmp_path: Path) -> Callable[..., Ran]:
    return lambda *words: run(*words, "--config", tmp_path / "d.toml")


def test_a_rollout_that_failed_is_told_and_its_reason_is_not_repeated(run: Run, tmp_path: Path, ledger: Engine) -> None:
    tell = on(run, tmp_path)
    world = Recorded.into(ledger)
    world.hello("a")
    world.hello("b")
    assert tell("status", "e").out.count(" empty ") == 2
    rollout = world.request(1)
    world.tick()
    stage = world.last(Stage, "a")
    world.feed(
        Refused(
            world.now, "a", stage.epoch, stage.rollout_id, stage.epoch, 0, None, Clock(0, 0), world.fresh(),
            reason=RefusalReason.PERMANENT, text="column colour is missing",
        )
    )  # fmt: skip
    told = tell("status", "e").out
    assert f"the last rollout, {rollout} to release 1, was abandoned at 2026-01-01 00:00:00 UTC: a refused: " in told
    whole = tell("rollout", rollout).out
    assert whole.count("column colour is missing") == 2
    assert "a refused: a" not in whole
    assert tell("status", "e", "--json").json["environments"][0]["last_ended"]["state"] == "abandoned"
    world.online(2)
    assert "the last rollout" not in tell("status", "e").out


def test_without_a_coordinator_nobody_else_is_blamed(run: Run, tmp_path: Path, ledger: Engine) -> None:
    tell = on(run, tmp_path)
    world = Recorded.into(ledger)
    world.request(1)
    world.tick()
    told = tell("status", "e").out
    assert "coordinator: none was ever started\n" in told
    assert "waiting for: a coordinator" in told

    def beat(id_: str, ago: timedelta = timedelta(0)) -> None:
        with transaction(ledger) as conn:
            processes.beat(conn, processes.Process("coordinator", id_, now() - ago, {}))

    beat("host/1", timedelta(minutes=1))
    told = tell("status", "e").out
    assert "coordinator: not heard of lately, last seen 1 m ago" in told
    assert "waiting for: the coordinator, which was not heard of lately" in told
    beat("host/2")
    told = tell("status", "e").out
    assert "coordinator: up, last seen" in told
    assert "waiting for: a (not heard from yet) and b (not heard from yet) to stage" in told
    with transaction(ledger) as conn:
        processes.gone(conn, "coordinator", "host/2")
    told = tell("status", "e").out
    assert "coordinator: none is running, last seen" in told
    assert "waiting for: a coordinator" in told


def test_an_altered_slot_is_told_with_the_command_that_mends_it(run: Run, tmp_path: Path, ledger: Engine) -> None:
    tell = on(run, tmp_path)
    world = Recorded.into(ledger)
    world.online(1)
    assert "altered" not in tell("status", "e").out
    with transaction(ledger) as conn:
        for slot, table in (("online", "products"), ("online", "prices"), ("shadow", "products")):
            found = doubts.Doubt("e", "b", slot, table, 1, "1 of 64 buckets differs", world.now, world.now)
            doubts.note(conn, found)
    told = tell("status", "e").out
    assert " online, altered " in told
    sentence = f"slot was altered, first seen {world.now:%Y-%m-%d %H:%M:%S} UTC: 1 of 64 buckets differs\n"
    assert told.count(f"e: b: its online {sentence}") == told.count(f"e: b: its shadow {sentence}") == 1
    assert told.count("e:     try: distributor verify e --systems b --repair\n") == 1
    a, b = tell("status", "e", "--json").json["environments"][0]["members"]
    assert (a["altered"], [found["slot"] for found in b["altered"]]) == ([], ["online", "shadow"])
    assert b["state"] == "online"
