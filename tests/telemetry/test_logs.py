"""What the logs say, and what they must not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_FAILS_WITH_A_SECRET = """
from distributor.telemetry.logs import bind, configure_logs, logger
configure_logs({log_format!r}, "info")
bind(role="publisher")
def connect():
    password = "tulip-" + str(7 * 6)
    raise ValueError("no route")
try:
    connect()
except ValueError:
    logger("test").exception("it failed", release=3)
"""


def _logged(log_format: str) -> str:
    script = _FAILS_WITH_A_SECRET.format(log_format=log_format)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_traceback_tells_no_values(log_format: str) -> None:
    logged = _logged(log_format)
    assert "no route" in logged
    assert "tulip-42" not in logged


def test_a_line_of_json_has_its_fields() -> None:
    line = json.loads(_logged("json"))
    assert {"event": "it failed", "role": "publisher", "release": 3, "level": "error"}.items() <= line.items()
    assert "ValueError: no route" in line["exception"]
