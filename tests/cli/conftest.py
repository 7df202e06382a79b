"""Runs verbs inside this process, exactly as the program does, and reads what they wrote."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from distributor.cli.main import main
from distributor.local.processes import free_port


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
def _logs_as_before() -> Iterator[None]:
    before = logging.getLogger().handlers[:]
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = before


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
