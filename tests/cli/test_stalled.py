"""A real session in the way of a real rollout: every reader names it, and what they say would help does help."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from distributor.settings import load_settings
from tests.cli.conftest import Run, config_text
from tests.coordination.conftest import coordinator
from tests.support import wait_for


@contextmanager
def consuming(config: Path, system: str) -> Iterator[None]:
    words = [sys.executable, "-m", "distributor", "serve", "consumer", "--env", "uat", "--system", system]
    with subprocess.Popen([*words, "--config", str(config)], stderr=subprocess.DEVNULL) as consumer:
        try:
            yield
        finally:
            consumer.terminate()
            assert consumer.wait(30) == 0


@pytest.fixture
def estate(tmp_path: Path, database: Callable[[], str], amqp_url: str, run: Run) -> Iterator[tuple[Path, str, str]]:
    """A master, and `uat` with pos in PostgreSQL at release 1: config, master, pos."""
    master, pos, config = database(), database(), tmp_path / "distributor.toml"
    text = config_text(master, database(), amqp_url).replace("sqlite:///pos.db", pos)
    config.write_text(text.replace('adapter = "sqlite"', 'adapter = "postgresql"', 1))
    with psycopg.connect(master) as conn:
        conn.execute("CREATE TABLE products (sku text PRIMARY KEY, price numeric(10,2))")
        conn.execute("INSERT INTO products SELECT 'A-' || n, n FROM generate_series(1, 100) n")
    assert run("init", "--config", config).code == 0
    assert run("publish", "--config", config).code == 0
    settings = load_settings(config)
    with ExitStack() as stack:
        stack.enter_context(coordinator(settings))
        for system in ("pos", "till"):
            stack.enter_context(consuming(config, system))
        assert run("deploy", "uat", "--config", config).code == 0
        yield config, master, pos


def test_the_blocking_session_its_query_and_the_command_that_helps(estate: tuple[Path, str, str], run: Run) -> None:
    config, master, pos = estate
    with psycopg.connect(master) as conn:
        conn.execute("UPDATE products SET price = price + 1")
    assert run("publish", "--config", config).code == 0
    other = psycopg.connect(pos, application_name="month end")
    other.execute("LOCK TABLE distributor_a.products, distributor_b.products")
    pid = other.info.backend_pid
    words = [sys.executable, "-m", "distributor", "deploy", "uat", "--config", str(config)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as deploy:
        assert deploy.stderr
        progress: list[str] = []
        for line in deploy.stderr:
            progress.append(line)
            if "pg_terminate_backend" in line:
                break
        command = f"SELECT pg_terminate_backend({pid})"
        assert progress[-1] == f"    try: {command}\n"
        sentence = progress[-2].removeprefix("uat: ").strip()
        assert sentence.startswith(f"pos does not get on in the phase load: it waits for session {pid} of ")
        assert "(month end, idle in transaction since " in sentence
        assert "which holds AccessExclusiveLock on distributor_" in sentence
        assert sentence.endswith("; its last query: LOCK TABLE distributor_a.products, distributor_b.products")

        found = run("status", "uat", "--json", "--config", config).json["environments"][0]
        [blocker] = found["blockers"]
        assert (blocker["reason"], blocker["who"], blocker["helps"]) == ("stalled", "pos", [command])
        assert blocker["what"] == sentence
        assert blocker["since"] is not None
        assert [(m["state"], m["contact"]) for m in found["members"] if m["system"] == "pos"] == [("stalled", "heard")]
        told = run("status", "uat", "--config", config).out
        assert "waiting for: pos (in the phase load since " in told
        for text in (told, run("rollout", found["rollout"], "--config", config).out):
            assert sentence in text
            assert f"    try: {command}\n" in text

        with psycopg.connect(pos, autocommit=True) as operator:
            operator.execute(command.encode())
        assert deploy.wait(60) == 0, deploy.stderr.read()
        deploy.communicate()
    other.close()
    whole = run("rollout", found["rollout"], "--json", "--config", config).json
    assert (whole["waiting_for"], whole["blockers"]) == ("", [])
    kinds = [entry["kind"] for entry in whole["timeline"]]
    assert (kinds.count("member-stalled"), kinds.count("member-goes-on")) == (1, 1)

    def at_rest() -> dict[str, Any] | None:
        environment: dict[str, Any] = run("status", "uat", "--json", "--config", config).json["environments"][0]
        return environment if not environment["blockers"] else None

    assert wait_for(at_rest, what="an environment at rest")["release"] == 2
