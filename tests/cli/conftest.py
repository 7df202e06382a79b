"""Runs verbs inside this process, exactly as the program does, and reads what they wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from distributor.cli.main import main
from distributor.ledger import environments, migrate
from distributor.ledger.engine import ledger_engine, transaction
from distributor.local.processes import free_port
from distributor.rollout.commands import Output
from distributor.rollout.events import Event
from tests.rollout.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Ran:
    """What a verb left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Stdout as the one object that it must be."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _room_for_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    # Workers of a parallel run are told the width of the terminal that started them, and have longer paths.
    monkeypatch.setenv("COLUMNS", "250")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `distributor WORDS…`; nothing may escape it."""

    def call(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Ran(code, captured.out, captured.err)

    return call


def config_text(master: str, ledger: str, broker: str, systems: str = "", store: str = "store") -> str:
    """A small config: products, and an environment `uat` with two systems unless told otherwise."""
    return f"""
[master]
url = "{master}"
[master.datasets.products]
table = "products"
[ledger]
url = "{ledger}"
[broker]
url = "{broker}"
[store]
path = "{store}"
[environments.uat]
{systems}
[environments.uat.systems.pos]
adapter = "sqlite"
url = "sqlite:///pos.db"
[environments.uat.systems.till]
adapter = "sqlite"
url = "sqlite:///till.db"
required = false
"""


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A config whose servers do not exist."""
    port = free_port()
    config = tmp_path / "distributor.toml"
    url = f"postgresql://somebody:hidden@127.0.0.1:{port}"
    config.write_text(config_text(f"{url}/master", f"{url}/ledger", f"amqp://somebody:hidden@127.0.0.1:{port}/"))
    return config


RELEASES = text(
    "INSERT INTO ledger.releases (number, manifest, created_at, rows, counts, schema_fingerprint)"
    " SELECT n, 'm' || n, now(), 1, '{}', 's' FROM generate_series(1, 3) n"
)


@dataclass
class Recorded(Transcript):
    """Every step is saved in a ledger."""

    ledger: Engine | None = field(default=None)

    @classmethod
    def into(cls, ledger: Engine) -> Recorded:
        """An environment `e` of two members, a and b."""
        world = cls.of()
        assert isinstance(world, Recorded)
        world.ledger = ledger
        return world

    def feed(self, event: Event) -> tuple[Output, ...]:
        before = self.state
        outputs = super().feed(event)
        if self.ledger is not None:
            with transaction(self.ledger) as conn:
                environments.lock(conn, "e")
                environments.save(conn, before, self.state, at=self.now)
        return outputs


@pytest.fixture
def ledger(database: Callable[[], str], tmp_path: Path) -> Iterator[Engine]:
    """A ledger with three releases, and a config `d.toml` that names it."""
    url = database()
    migrate.upgrade(url)
    (tmp_path / "d.toml").write_text(
        config_text("postgresql://h/m", url, "amqp://h/").replace("environments.uat", "environments.e")
    )
    engine = ledger_engine(url)
    with transaction(engine) as conn:
        conn.execute(RELEASES)
    yield engine
    engine.dispose()
