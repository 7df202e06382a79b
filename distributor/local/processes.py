"""What every local server needs: a port, patience, a directory of its own, and an orderly end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from distributor.errors import UnreachableError

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A loopback TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether this loopback port could be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def remembered_ports(file: Path, count: int) -> list[int]:
    """The ports of the last start where all of them are still free, else new ones; written to `file`.

    A restarted server keeps its address as long as it can, so that URLs that were written down stay right.
    """
    with contextlib.suppress(OSError, ValueError):
        ports = [int(port) for port in file.read_text().split()]
        if len(ports) == count and all(is_free(port) for port in ports):
            return ports
    ports = []
    while len(ports) < count:
        port = free_port()
        if port not in ports:
            ports.append(port)
    file.write_text("\n".join(map(str, ports)) + "\n")
    return ports


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Polls `condition` until it holds. Raises UnreachableError, naming `what`, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise UnreachableError(f"{what} did not happen within {seconds:g} s", where="this machine")
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Whether somebody accepts connections on this loopback port."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False


def machine_environment(without: Sequence[str], extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment for a child, less every variable that starts with one of `without`, plus `extra`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(tuple(without))}  # noqa: TID251
    return {**inherited, **extra}


@contextlib.contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Makes `directory` and holds it for this process alone. Raises UnreachableError when another process has it.

    The hold ends with the process, however that dies: what still runs there afterwards is a leftover.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o711)
    with (directory / "owner").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnreachableError(
                "another process runs its servers from this directory",
                where=str(directory),
                mend="Stop that one first, or use another directory.",
            ) from None
        yield


def end_process(process: psutil.Process, seconds: float, with_signal: int) -> None:
    """Signals a process and waits until it and its children are gone; after `seconds` they are killed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        process.send_signal(with_signal)
        for survivor in psutil.wait_procs(family, seconds)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                survivor.kill()
        psutil.wait_procs(family, seconds)
