"""A MariaDB of one's own: the machine's `mariadbd` as a private process, loopback TCP, a password."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from distributor.errors import ConfigError, UnreachableError
from distributor.local import apt
from distributor.local.processes import LOOPBACK, machine_environment, owned, remembered_ports, wait_until
from distributor.local.supervised import Supervised

if TYPE_CHECKING:
    from pymysql.cursors import Cursor

USER = "distributor"
PACKAGE = "mariadb-server"
_ROOTS_SHELF = Path("/var/lib/distributor")
_PLACES = ("/usr/sbin", "/usr/bin", "/opt/homebrew/opt/mariadb/bin", "/usr/local/opt/mariadb/bin", "/usr/local/bin")
_SETTINGS = {
    "bind-address": LOOPBACK,
    "skip-name-resolve": "ON",
    "character-set-server": "utf8mb4",
    "max-connections": "200",
    "innodb-buffer-pool-size": "256M",
}
_CARELESS = {"innodb-flush-log-at-trx-commit": "0", "innodb-flush-method": "nosync", "innodb-doublewrite": "OFF"}
_ATTEMPTS = 3


def find_program(name: str) -> Path | None:
    """One of MariaDB's programs on this machine, when there is one."""
    if found := shutil.which(name):
        return Path(found)
    return next((path for place in _PLACES if (path := Path(place) / name).exists()), None)


def find_mariadbd() -> Path | None:
    """The server's program. MySQL's `mysqld` is another server."""
    return find_program("mariadbd")


def choose_mariadb(directory: Path, *, announce: Callable[[str], None], durable: bool = True) -> LocalMariaDB:
    """The server for this machine, not started yet; its state lies in `directory`.

    Where there is no `mariadbd` it is installed through apt, which `announce` hears of. Raises UnreachableError.
    """
    if find_mariadbd() is None and apt.can_install():
        directory.mkdir(parents=True, exist_ok=True)
        apt.install_package(PACKAGE, announce, directory / "apt.log", unit="mariadb")
    if find_mariadbd() is None:
        raise UnreachableError(
            "there is no MariaDB: no mariadbd on this machine, and no apt-get that could install it",
            where="this machine",
            mend="Install mariadb-server.",
        )
    return LocalMariaDB(directory, durable=durable)


class LocalMariaDB:
    """A private MariaDB server whose state lies in `directory`; the same directory gives the same server again.

    `durable=False` trades crash safety for speed: for data that nobody wants again. As root the server runs as the
    system's `mysql` or `nobody`; where that user cannot walk to `directory`, the data lies in /var/lib/distributor.
    """

    kind = "private process"

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self.directory = directory.resolve()
        self.port = 0
        self._durable = durable
        self._account = _unprivileged_account()
        self._server: Supervised | None = None
        self._holding = contextlib.ExitStack()

    def start(self) -> Self:
        """Starts the server and waits until it takes connections.

        Raises UnreachableError when there is no `mariadbd`, with the last lines of the log when it does not start, or
        when another process uses the directory.
        """
        program = find_mariadbd()
        if program is None:
            raise UnreachableError("there is no mariadbd on this machine", mend="Install mariadb-server.")
        with contextlib.ExitStack() as stack:
            stack.enter_context(owned(self.directory))
            self._create()
            for _ in range(_ATTEMPTS):
                server = self._prepared(program)
                server.start()
                stack.callback(server.stop)
                if self._takes_connections(server):
                    self._server = server
                    self._holding = stack.pop_all()
                    return self
            raise server.failure("MariaDB did not start")

    def stop(self) -> None:
        """Stops the server: running transactions are rolled back, committed ones are on disk."""
        if not self._durable and self._server is not None:
            self._server.kill()
        self._holding.close()

    def kill(self) -> None:
        """Ends the server as a power cut would; the next start recovers."""
        if self._server is not None:
            self._server.kill()
        self._holding.close()

    def remove(self) -> None:
        """Stops the server and deletes its data and its directory."""
        self.stop()
        shelf = self._shelf()
        shutil.rmtree(shelf, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._server.pid if self._server is not None and self._server.running else 0

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.directory / "mariadb.log"

    def url(self, database: str = "mysql") -> str:
        """The URL of one database."""
        return f"mariadb://{USER}:{self._password}@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    def create_database(self, name: str) -> str:
        """Creates an empty database; one that is there already is left as it is. Returns its URL."""
        with self._cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {_quoted(name)} CHARACTER SET utf8mb4")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drops a database with all that is in it."""
        with self._cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {_quoted(name)}")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _password(self) -> str:
        return (self.directory / "password").read_text().strip()

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Cursor]:
        # The driver is an extra, and only who asks for databases needs it.
        import pymysql

        connection = pymysql.connect(host=LOOPBACK, port=self.port, user=USER, password=self._password)
        with connection, connection.cursor() as cursor:
            yield cursor

    def _shelf(self) -> Path:
        """Where data and first statements lie, as the server's user reads them; decided once, and kept."""
        elsewhere = self.directory / "data-lies-in"
        if elsewhere.exists():
            return Path(elsewhere.read_text().strip())
        walk = (self.directory, *self.directory.parents)
        if self._account is None or all(place.stat().st_mode & stat.S_IXOTH for place in walk):
            return self.directory / "server"
        # Opening the parents (root's home, as a rule) to everybody is not ours to do.
        _ROOTS_SHELF.mkdir(parents=True, exist_ok=True)
        shelf = Path(tempfile.mkdtemp(prefix="mariadb-", dir=_ROOTS_SHELF))
        shelf.chmod(0o711)
        elsewhere.write_text(f"{shelf}\n")
        return shelf

    def _create(self) -> None:
        """Makes the data directory when there is none. Raises UnreachableError with what the installer said."""
        shelf = self._shelf()
        data, made = shelf / "data", shelf / "made"
        if made.exists():
            return
        installer = find_program("mariadb-install-db")
        if installer is None:
            raise UnreachableError("there is no mariadb-install-db on this machine", mend="Install mariadb-server.")
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        data.chmod(0o700)
        password, statements = self.directory / "password", shelf / "init.sql"
        for secret in (password, statements):
            secret.touch(mode=0o600)
        password.write_text(secrets.token_hex(16) + "\n")
        # Run at every start, before anybody can connect: the one account that has a password is the only one left.
        who = f"'{USER}'@'{LOOPBACK}'"
        statements.write_text(
            f"CREATE USER IF NOT EXISTS {who} IDENTIFIED BY '{self._password}';\n"
            f"GRANT ALL PRIVILEGES ON *.* TO {who} WITH GRANT OPTION;\n"
            "DELETE FROM mysql.global_priv WHERE NOT (User = 'distributor' OR User = 'mariadb.sys');\n"
            "FLUSH PRIVILEGES;\n"
        )
        if self._account:
            for path in (data, statements):
                os.chown(path, *self._account)
        done = subprocess.run(
            [
                installer,
                *("--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"),
                *("--skip-test-db", "--skip-name-resolve", "--innodb-flush-method=nosync"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=machine_environment(("MYSQL", "MARIADB"), {}),
            user=self._account[0] if self._account else None,
            group=self._account[1] if self._account else None,
            extra_groups=[] if self._account else None,
        )
        if done.returncode != 0:
            shutil.rmtree(data, ignore_errors=True)
            raise UnreachableError("a MariaDB could not be made", where=str(data), mend=done.stderr.strip()[-500:])
        made.touch()

    def _prepared(self, program: Path) -> Supervised:
        (self.port,) = remembered_ports(self.directory / "ports", 1)
        shelf = self._shelf()
        # Its own: what cleans up a machine's /tmp takes tables away.
        temporary = shelf / "tmp"
        temporary.mkdir(mode=0o700, exist_ok=True)
        if self._account:
            os.chown(temporary, *self._account)
        settings = {
            **_SETTINGS,
            **({} if self._durable else _CARELESS),
            "datadir": str(shelf / "data"),
            "init-file": str(shelf / "init.sql"),
            "tmpdir": str(temporary),
            "port": str(self.port),
            # A path for a socket may have 107 characters, and nobody needs one.
            "socket": "",
        }
        return Supervised(
            "mariadb",
            [str(program), "--no-defaults", *(f"--{name}={value}" for name, value in settings.items())],
            self.directory,
            environment=machine_environment(("MYSQL", "MARIADB"), {}),
            owner=self._account,
        )

    def _takes_connections(self, server: Supervised) -> bool:
        """Waits; False when the server ended first, as it does when somebody took the port meanwhile."""
        # Recovery after a crash comes first, and the port is not open meanwhile.
        wait_until(lambda: not server.running or _greets(self.port), 120, "the start of MariaDB")
        return server.running


def _greets(port: int) -> bool:
    """Whether the server speaks first, as it does once it serves: what it is told before that, its end too, is lost."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1) as line:
        return bool(line.recv(1))
    return False


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _unprivileged_account() -> tuple[int, int] | None:
    """(uid, gid) that the server must run under when this process is root, else None: MariaDB refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("mysql", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise ConfigError(
        "MariaDB does not run as root, and there is neither a user mysql nor a user nobody",
        where="this machine",
        mend="Run this as an ordinary user.",
    )
