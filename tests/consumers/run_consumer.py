"""A consumer as a process of its own: `python -m tests.consumers.run_consumer CONFIG ENVIRONMENT SYSTEM`."""

from __future__ import annotations

import sys
from pathlib import Path

from consumers.main import run
from distributor.settings import load_settings
from distributor.telemetry.logs import configure_logs

if __name__ == "__main__":
    configure_logs("json", "debug")
    raise SystemExit(run(load_settings(Path(sys.argv[1])), sys.argv[2], sys.argv[3]))
