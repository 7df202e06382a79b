"""The processes of a measurement: the web role, and those that note when they read what (clients.py)."""

from __future__ import annotations

import contextlib
import json
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_ADDRESS = re.compile(r"http://[0-9.]+:\d+")


class Watcher:
    """Such a process, from outside."""

    def __init__(self, *arguments: str, secret: str) -> None:
        command = [sys.executable, "-m", "tests.bench.events.clients", *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._read = 0
        self._write(secret)
        self._expect("ready", 60.0)

    def wait(self, more: int, seconds: float) -> None:
        """Until every client has read `more` events beyond those that were waited for before."""
        wanted = self._read + more
        while self._read < wanted:
            self._read = int(self._expect("read ", seconds))

    def end(self) -> bytes:
        """What it has noted."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        noted = b""
        while line := self._process.stdout.readline():
            noted = line
        return noted

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _write(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())

    def _expect(self, word: str, seconds: float) -> str:
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise RuntimeError(f"nothing was read for {seconds:g} s")
        line = self._process.stdout.readline().decode()
        if not line.startswith(word):
            raise RuntimeError(f"expected {word!r}, got {line!r}")
        return line.removeprefix(word).strip()


def arrivals(watcher: Watcher) -> dict[int, list[float]]:
    """Event → when each client read it; ends the watcher."""
    return {int(seq): times for seq, times in json.loads(watcher.end()).items()}


@contextlib.contextmanager
def streaming(address: str, key: str, clients: int) -> Iterator[Watcher]:
    """Clients of the event stream."""
    with contextlib.closing(Watcher("streams", address, str(clients), secret=key)) as watcher:
        yield watcher


@contextlib.contextmanager
def listening(url: str) -> Iterator[Watcher]:
    """The peer."""
    with contextlib.closing(Watcher("listener", secret=url)) as watcher:
        yield watcher


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[str]:
    """The role `web` as users run it; its address. Raises RuntimeError when it does not come up."""
    log = directory / "web.log"
    command = [sys.executable, "-m", "distributor", "serve", "web", "--config", str(directory / "distributor.toml")]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        for _ in range(600):
            if found := _ADDRESS.search(log.read_text()):
                yield found[0]
                return
            time.sleep(0.1)
        raise RuntimeError(f"the web did not come up: {log.read_text()[-1000:]}")
    finally:
        process.terminate()
        process.wait(30)
