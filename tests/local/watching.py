"""Looks at processes and ports from outside, and runs an owner that a test may kill."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


def family(*pids: int) -> list[psutil.Process]:
    """These processes, their wardens, and all that they started."""
    servers = [psutil.Process(pid) for pid in pids]
    wardens = [server.parent() for server in servers]
    children = [child for server in servers for child in server.children(recursive=True)]
    return [*servers, *wardens, *children]


def ports(*pids: int) -> set[tuple[str, int]]:
    """(address, port) of everything that these processes listen on."""
    found = [connection for pid in pids for connection in psutil.Process(pid).net_connections("inet")]
    return {(c.laddr.ip, c.laddr.port) for c in found if c.status == psutil.CONN_LISTEN}


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; a zombie that nobody has waited for does not."""
    return [process for process in processes if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def owner(kind: str, directory: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Another process that owns a running server: that process, and the server's pids."""
    command = [sys.executable, "-m", "tests.local.owner", kind, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, [int(pid) for pid in process.stdout.readline().split()]
        process.kill()
