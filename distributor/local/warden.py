"""Runs one server and stops it when the process that asked for it is gone, however that one died.

The server's life hangs on a pipe and not on the parent alone: a parent-death signal is sent when the *thread* that
forked ends, and is forgotten when the user changes. This file runs as a script without site-packages: standard
library only. Its one argument is a JSON object: `command`, `log` (path), `stop` (signal number), `patience` (seconds
before the kill) and `owner` ([uid, gid] or null). The server's pid is its first line on stdout.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1


def run(options: dict[str, Any]) -> int:
    """Runs the server until it ends or stdin does. Returns the server's exit code."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    stop_signal = int(options["stop"])

    def die_with_the_warden() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, stop_signal)

    # Ctrl-C and a terminal that closes reach the whole session; the server must outlive them until its turn.
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    uid, gid = options["owner"] or (None, None)
    with Path(options["log"]).open("ab") as log:
        server = subprocess.Popen(
            options["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
            preexec_fn=die_with_the_warden,
        )

    def stop(*_: object) -> None:
        server.send_signal(stop_signal)
        try:
            server.wait(float(options["patience"]))
        except subprocess.TimeoutExpired:
            server.kill()

    def stop_at_end_of_input() -> None:
        # Not through sys.stdin: a daemon thread that holds its lock breaks the interpreter's shutdown.
        while os.read(0, 1024):
            pass
        stop()

    sys.stdout.write(f"{server.pid}\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=stop, daemon=True).start())
    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    return server.wait()


if __name__ == "__main__":
    sys.exit(abs(run(json.loads(sys.argv[1]))))
