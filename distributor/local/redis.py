"""A Redis of one's own: the machine's `redis-server` as a private process, with a password and files of its own."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from distributor.errors import UnreachableError
from distributor.local import apt
from distributor.local.processes import LOOPBACK, owned, remembered_ports, wait_until
from distributor.local.supervised import Supervised

PACKAGE = "redis-server"


def find_redis_server() -> Path | None:
    """The program that is a Redis on this machine, when there is one."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


def get_redis_server(announce: Callable[[str], None], log: Path) -> Path:
    """`find_redis_server`, and else Debian's package, of which `announce` hears.

    Raises UnreachableError when there is neither, or apt fails (what it said is in `log`).
    """
    if (found := find_redis_server()) is not None:
        return found
    if apt.can_install():
        apt.install_package(PACKAGE, announce, log)
    if (found := find_redis_server()) is not None:
        return found
    raise UnreachableError(
        "there is no redis-server on this machine, and no apt-get that could install it",
        where="this machine",
        mend="Install Redis 7.0 or newer.",
    )


class LocalRedis:
    """A private Redis whose data lies in `directory`; the same directory gives the same data, password and address.

    `durable=False`: nobody wants its data again, so nothing is written to disk.
    """

    kind = "private process"

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self.directory = directory.resolve()
        self.port = 0
        self._durable = durable
        self._server: Supervised | None = None
        self._holding = contextlib.ExitStack()

    def start(self) -> Self:
        """Starts the server and waits until it answers commands (well below a second, unless there is much to read).

        Raises UnreachableError when there is no `redis-server`, when it ends at once (with the last lines of its
        log), or when another process uses the directory.
        """
        program = find_redis_server()
        if program is None:
            raise UnreachableError("there is no redis-server on this machine", mend="Install Redis 7.0 or newer.")
        with contextlib.ExitStack() as stack:
            stack.enter_context(owned(self.directory))
            server = Supervised("redis", [str(program), str(self.directory / "redis.conf")], self.directory)
            # A leftover server must be gone before its port is looked at.
            server.stop_leftover()
            (self.port,) = remembered_ports(self.directory / "ports", 1)
            self._write_files()
            server.start()
            stack.callback(server.stop)
            wait_until(lambda: not server.running or self._serves(), 90, "the start of Redis")
            if not server.running:
                raise server.failure("Redis did not start")
            self._server = server
            self._holding = stack.pop_all()
        return self

    def stop(self) -> None:
        """Stops the server, which writes down first what it holds."""
        if not self._durable and self._server is not None:
            self._server.kill()
        self._holding.close()

    def kill(self) -> None:
        """Ends the server as a power cut would; the next start reads what was written down."""
        if self._server is not None:
            self._server.kill()
        self._holding.close()

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._server.pid if self._server is not None and self._server.running else 0

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.directory / "redis.log"

    def url(self, database: int = 0) -> str:
        """The URL of one of its 16 numbered databases."""
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _password(self) -> str:
        return (self.directory / "password").read_text().strip()

    def _write_files(self) -> None:
        data, password, config = (self.directory / name for name in ("data", "password", "redis.conf"))
        data.mkdir(exist_ok=True, mode=0o700)
        if not password.exists():
            password.touch(mode=0o600)
            password.write_text(secrets.token_hex(16))
        config.touch(mode=0o600)
        lines = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            "protected-mode yes",
            f"requirepass {self._password}",
            f'dir "{data}"',
            # Only the log of commands is kept: a dump beside it would say the same once more.
            'save ""',
            f"appendonly {'yes' if self._durable else 'no'}",
            # What was answered survives a power cut.
            "appendfsync always",
            "maxmemory-policy noeviction",
        ]
        config.write_text("\n".join(lines) + "\n")

    def _serves(self) -> bool:
        """Whether it answers a ping; while it still reads its files it says that it is loading."""
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
            connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
            said = b""
            while said.count(b"\r\n") < 2 and (more := connection.recv(1024)):
                said += more
            return said == b"+OK\r\n+PONG\r\n"
        return False
