"""One server process that never outlives its owner."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from distributor.errors import UnreachableError
from distributor.local import warden
from distributor.local.processes import end_process


class Supervised:
    """One server under a warden: it stops with this object, and with this process even when that is killed.

    In `directory` it keeps `NAME.log` and `NAME.pid`; what a killed predecessor left running there is stopped first.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        *,
        stop_signal: int = signal.SIGTERM,
        patience: float = 20.0,
        environment: Mapping[str, str] | None = None,
        owner: tuple[int, int] | None = None,
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._pid_file = directory / f"{name}.pid"
        self._command = list(command)
        self._stop_signal = stop_signal
        self._patience = patience
        self._environment = environment
        self._owner = owner
        self._warden: subprocess.Popen[str] | None = None
        self.pid = 0

    def start(self) -> None:
        """Starts the server. Raises UnreachableError when the program cannot be run."""
        self.stop_leftover()
        options = {
            "command": self._command,
            "log": str(self.log),
            "stop": int(self._stop_signal),
            "patience": self._patience,
            "owner": self._owner,
        }
        with self.log.open("ab") as log:
            self._warden = subprocess.Popen(
                [sys.executable, "-I", "-S", warden.__file__, json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd="/",
                env=self._environment,
                start_new_session=True,
            )
        assert self._warden.stdout is not None
        first_line = self._warden.stdout.readline().strip()
        if not first_line:
            self.stop()
            raise self.failure(f"{self._command[0]} could not be run")
        self.pid = int(first_line)
        with contextlib.suppress(psutil.NoSuchProcess):
            started = psutil.Process(self.pid).create_time()
            self._pid_file.write_text(json.dumps({"pid": self.pid, "started": started}))

    @property
    def running(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._warden is not None and self._warden.poll() is None

    def stop(self) -> None:
        """Stops the server and its warden; does nothing when they are not running."""
        ward, self._warden = self._warden, None
        if ward is None:
            return
        assert ward.stdin is not None
        assert ward.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            ward.stdin.close()
        try:
            ward.wait(self._patience + 5)
        except subprocess.TimeoutExpired:
            ward.kill()
            ward.wait()
        ward.stdout.close()
        self.stop_leftover()

    def kill(self) -> None:
        """Ends the server at once, as a power cut would."""
        if self.running:
            with contextlib.suppress(psutil.NoSuchProcess):
                end_process(psutil.Process(self.pid), self._patience, signal.SIGKILL)
        self.stop()

    def stop_leftover(self) -> None:
        """Stops what the pid file names, if that very process still runs: a pid alone may be a stranger's by now."""
        with contextlib.suppress(OSError, ValueError, KeyError, psutil.NoSuchProcess):
            noted = json.loads(self._pid_file.read_text())
            process = psutil.Process(noted["pid"])
            if abs(process.create_time() - noted["started"]) < 1.0:
                end_process(process, self._patience, self._stop_signal)
        self._pid_file.unlink(missing_ok=True)

    def failure(self, what: str) -> UnreachableError:
        """`what`, with the last lines of the log."""
        lines = self.log.read_text(errors="replace").strip().splitlines()[-5:] if self.log.exists() else []
        return UnreachableError(what, where=self.name, mend=f"Its log {self.log} ends: {' | '.join(lines)}")
