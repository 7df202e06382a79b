"""`python -m tests.chaos [--faults N] [--seed S] [--json] [--markdown FILE]`: faults in a running estate."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.chaos.runner import Runner

FAULTS, SEED = 150, 7


def main() -> int:
    """Parses the command line, runs, prints; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="deploy/run chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=FAULTS, metavar="N", help=f"how many (default {FAULTS})")
    parser.add_argument("--seed", type=int, default=SEED, metavar="S", help=f"what chance begins with (default {SEED})")
    parser.add_argument("--only", default="", metavar="TEXT", help="faults whose row in the matrix has it in it")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="writes figures and matrix there, too")
    parser.add_argument("--keep-logs", type=Path, metavar="DIR", help="copies the logs of all processes there")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {text}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="distributor-chaos-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o711)
        runner = Runner(Path(directory) / "estate", given.seed, say, only=given.only, keep_logs=given.keep_logs)
        report = runner.run(given.faults)
    if given.markdown:
        given.markdown.write_text(report.markdown())
    if given.json:
        print(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        report.show(Console(highlight=False, soft_wrap=not sys.stdout.isatty()))
    return 0 if report.ok else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
