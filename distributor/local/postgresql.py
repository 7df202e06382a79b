"""A PostgreSQL of one's own: the wheel's binaries, loopback TCP, a password, the settings that capture needs."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from distributor.local.cluster import USER, Cluster
from distributor.local.processes import LOOPBACK, machine_environment, owned, remembered_ports, wait_until
from distributor.local.supervised import Supervised

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_connections": "200",
    "max_prepared_transactions": "20",
    "max_wal_size": "2GB",
}
_CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_ATTEMPTS = 3


class LocalPostgreSQL:
    """A private PostgreSQL server whose state lies in `directory`; the same directory gives the same server again.

    `durable=False` trades crash safety for speed: for data that nobody wants again. As root the server runs as the
    system's `postgres` or `nobody`; where that user cannot walk to `directory`, the data lies in /var/lib/distributor.
    """

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self.directory = directory.resolve()
        self.port = 0
        self._durable = durable
        self._cluster = Cluster(self.directory)
        self._server: Supervised | None = None
        self._holding = contextlib.ExitStack()

    def start(self) -> Self:
        """Starts the server and waits until it takes connections.

        Raises UnreachableError with the last lines of the log, or when another process uses the directory.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(owned(self.directory))
            self._cluster.create(durable=self._durable)
            for _ in range(_ATTEMPTS):
                server = self._prepared()
                server.start()
                stack.callback(server.stop)
                if self._takes_connections(server):
                    self._server = server
                    self._holding = stack.pop_all()
                    return self
            raise server.failure("PostgreSQL did not start")

    def stop(self) -> None:
        """Stops the server: running transactions are rolled back, committed ones are on disk."""
        self._holding.close()

    def kill(self) -> None:
        """Ends the server as a power cut would; the next start recovers."""
        if self._server is not None:
            self._server.kill()
        self._holding.close()

    def remove(self) -> None:
        """Stops the server and deletes its data and its directory."""
        self.stop()
        self._cluster.remove()

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._server.pid if self._server is not None and self._server.running else 0

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.directory / "postgresql.log"

    def url(self, database: str = "postgres") -> str:
        """The URL of one database, for SQLAlchemy and psycopg alike."""
        password = quote(self._cluster.password, safe="")
        return f"postgresql://{USER}:{password}@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    def create_database(self, name: str) -> str:
        """Creates an empty database; one that is there already is left as it is. Returns its URL."""
        with (
            psycopg.connect(self.url(), autocommit=True) as connection,
            contextlib.suppress(psycopg.errors.DuplicateDatabase),
        ):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepared(self) -> Supervised:
        (self.port,) = remembered_ports(self.directory / "ports", 1)
        settings = _SETTINGS | {"port": str(self.port)} | ({} if self._durable else _CARELESS)
        return Supervised(
            "postgresql",
            [
                str(self._cluster.binaries() / "postgres"),
                *("-D", str(self._cluster.data)),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            self.directory,
            stop_signal=signal.SIGINT,
            environment=machine_environment(("PG",), {}),
            owner=self._cluster.account,
        )

    def _takes_connections(self, server: Supervised) -> bool:
        """Waits; False when the server ended first, as it does when somebody took the port meanwhile."""

        def settled() -> bool:
            if not server.running:
                return True
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url(), connect_timeout=2).close()
                return True
            return False

        # Recovery after a crash replays the log first, and refuses connections meanwhile.
        wait_until(settled, 120, "the start of PostgreSQL")
        return server.running
