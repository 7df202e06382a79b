"""What `status` and `rollout` say of failures, of emptiness, and of a coordinator that is not there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine

from distributor.ledger import processes
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
