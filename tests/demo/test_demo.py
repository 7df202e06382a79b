"""The demo as somebody would start it: what it shows, what it keeps running, and what an interrupt leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from distributor.local.mariadb import find_mariadbd
from distributor.local.redis import find_redis_server
from tests.support import wait_for

pytestmark = pytest.mark.services

PRODUCTS = 3_000
DEMO = [sys.executable, "-m", "distributor", "demo", "--products", str(PRODUCTS), "--json"]


@pytest.fixture
def state(services_directory: Path) -> Iterator[Path]:
    directory = services_directory / "new" / "demo"
    yield directory
    shutil.rmtree(directory.parent, ignore_errors=True)


def command(state: Path, amqp_url: str, *options: str) -> list[str]:
    return [*DEMO, "--state", str(state), "--broker-url", amqp_url, *options]


def processes_of(state: Path) -> list[psutil.Process]:
    """Whatever still runs with this directory on its command line."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        words = process.info["cmdline"] or []
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(state) in word for word in words):
            found.append(process)
    return found


@pytest.mark.timeout(240)
def test_everything_that_the_demo_claims_holds_and_what_it_keeps_can_be_reached_and_stopped(
    state: Path, amqp_url: str
) -> None:
    done = subprocess.run(command(state, amqp_url, "--keep"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    told: dict[str, Any] = json.loads(done.stdout)
    try:
        assert told["ok"]
        assert all(claim["held"] for claim in told["claims"])
        stores = {s["name"]: s["adapter"] for s in told["systems"]}
        assert stores == {
            **dict.fromkeys(("sales", "crm", "warehouse"), "postgresql"),
            "purchase": "mariadb" if find_mariadbd() else "postgresql",
            "reporting": "parquet",
            "pos": "sqlite",
            "billing": "files",
            "shopcache": "redis" if find_redis_server() else "sqlite",
        }
        assert {s["release"] for s in told["systems"]} == {3}
        assert all(s["release"] == 3 and s["rows"] and not s["differences"] for s in told["systems"] + told["uat"])
        assert told["waited_for"] == ["warehouse"]
        assert told["reader_errors"] == told["torn_reads"] == told["mixed_seen"] == 0
        assert told["change_to_everywhere_ms"] > 0
        assert told["skew_ms"] >= 0
        with psycopg.connect(told["kept"]["systems"]["prod.crm"]) as crm:
            assert crm.execute("SELECT release FROM distributor_release").fetchone() == (3,)
        status = [sys.executable, "-m", "distributor", "status", "--json", "--config", told["kept"]["config"]]
        shown = json.loads(subprocess.run(status, capture_output=True, check=True).stdout)
        assert {environment["release"] for environment in shown["environments"]} == {3}
    finally:
        os.kill(told["kept"]["pid"], signal.SIGTERM)
    wait_for(lambda: not processes_of(state) and not state.exists(), timeout=60, what="the end of the kept estate")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_neither_processes_nor_files(
    state: Path, amqp_url: str, number: signal.Signals
) -> None:
    with subprocess.Popen(
        command(state, amqp_url), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as demo:
        wait_for(lambda: list(state.glob("roles/*.pid")), timeout=60, what="the start of the roles")
        demo.send_signal(number)
        _, told = demo.communicate(timeout=60)
        assert demo.returncode == 130
    assert "Interrupted: stopping everything" in told
    assert "$ distributor capture install\n" in told
    wait_for(lambda: not processes_of(state), timeout=15, what="the end of what the interrupt cut in half")
    assert not state.parent.exists()


def test_a_directory_that_holds_something_else_is_left_alone(state: Path, amqp_url: str) -> None:
    state.mkdir(parents=True)
    (state / "thesis.txt").write_text("two years of work")
    done = subprocess.run(command(state, amqp_url), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "holds something else" in json.loads(done.stdout)["what"]
    assert (state / "thesis.txt").read_text() == "two years of work"
