"""A connection to a system's MariaDB: fixed settings, reopened after a loss, errors in the service's words."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql
from pymysql.constants import CR, ER, SERVER_STATUS
from pymysql.cursors import Cursor, SSCursor

from consumers.adapters.mariadb_text import COLLATION, literal
from distributor.errors import ConfigError, DistributorError, SystemAlteredError, UnreachableError

BEGIN = ("START TRANSACTION",)
SNAPSHOT = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)
OLDEST_SERVER = (10, 11)
LOCK_SECONDS = 10
_SCHEMES = ("mariadb", "mysql")
_EXAMPLE = "It looks like mariadb://user:password@host:3306/database."
# What canonical text is defined under, and an end to every wait: for rows, for tables, for a vanished client.
_SESSION = {
    "sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
    "time_zone": "'+00:00'",
    "autocommit": "1",
    "innodb_lock_wait_timeout": str(LOCK_SECONDS),
    "lock_wait_timeout": str(LOCK_SECONDS),
    "idle_transaction_timeout": "120",
    "max_statement_time": "0",
    # For a slice's keys, which may have 3,072 octets each, and its hashes, 17 octets each.
    "max_heap_table_size": "67108864",
    "group_concat_max_len": "16777216",
    "net_write_timeout": "600",
    "wait_timeout": "28800",
}
_KEEPALIVES = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
_PASSING = {
    CR.CR_CONNECTION_ERROR,
    CR.CR_CONN_HOST_ERROR,
    CR.CR_SERVER_GONE_ERROR,
    CR.CR_SERVER_LOST,
    ER.CON_COUNT_ERROR,
    ER.SERVER_SHUTDOWN,
    ER.TOO_MANY_USER_CONNECTIONS,
    ER.LOCK_WAIT_TIMEOUT,
    ER.LOCK_DEADLOCK,
    ER.CHECKREAD,
    ER.DISK_FULL,
    ER.RECORD_FILE_FULL,
    ER.LOCK_TABLE_FULL,
    ER.OPTION_PREVENTS_STATEMENT,
    ER.QUERY_INTERRUPTED,
    1927,  # connection was killed
    1969,  # max_statement_time
}
_FORBIDDEN = {
    ER.DBACCESS_DENIED_ERROR,
    ER.ACCESS_DENIED_ERROR,
    ER.TABLEACCESS_DENIED_ERROR,
    ER.COLUMNACCESS_DENIED_ERROR,
    ER.SPECIFIC_ACCESS_DENIED_ERROR,
}


def unusable(version: str, logged: bool, log_form: str) -> str:
    """Why a server cannot be a member's store; empty when it can. `logged`: it writes a binary log in `log_form`."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if "MariaDB" not in version or not numbers:
        return f"this is no MariaDB, but {version}"
    if (int(numbers[1]), int(numbers[2])) < OLDEST_SERVER:
        return f"MariaDB {version} is too old"
    if logged and log_form == "STATEMENT":
        return "binlog_format is STATEMENT, and no load can be written to such a log"
    return ""


class Line:
    """One lazily opened connection, used by one thread at a time. `where` names the server without its password,
    `lock_name` the lock of the member's row: one that DDL, which commits, does not give back.

    `ca` is the file of the certificate authority that the server must be proved by; without it the connection is
    encrypted where the server offers that, and proves nothing.
    """

    def __init__(self, url: str, *, ca: str = "") -> None:
        try:
            parts = urlsplit(url)
            self._port = parts.port or 3306
        except ValueError:
            # The complaint would quote the URL, password and all.
            raise ConfigError("this is no MariaDB URL", where="url", mend=_EXAMPLE) from None
        self.database = unquote(parts.path.removeprefix("/"))
        if parts.scheme not in _SCHEMES or not parts.hostname or not self.database:
            raise ConfigError("this is no MariaDB URL", where="url", mend=_EXAMPLE)
        self._host = parts.hostname
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._ca = ca
        self.where = f"{self._host}:{self._port}/{self.database}"
        self.lock_name = f"distributor member {hashlib.sha256(self.database.encode()).hexdigest()[:32]}"
        self._connection: pymysql.Connection[Cursor] | None = None
        self._turn = threading.Lock()
        self._packet = 0

    @property
    def thread_id(self) -> int | None:
        """The server's number for the connection, if it is open. May be asked from any thread, at any time."""
        connection = self._connection
        return None if connection is None or not connection.open else _inside(connection).server_thread_id[0]

    @contextmanager
    def transaction(self, begin: Sequence[str] = BEGIN) -> Iterator[Transaction]:
        """A transaction that is rolled back unless `commit` is called in it; `begin` are the statements that begin it.

        Raises UnreachableError when the server does not answer or the line drops; the next call connects again.
        """
        with self.statements() as transaction:
            for statement in begin:
                transaction.run(statement)
            yield transaction

    @contextmanager
    def statements(self) -> Iterator[Transaction]:
        """Statements that each commit by themselves, as all that makes tables does. Raises as `transaction` does."""
        with self._turn, self._translated():
            transaction = Transaction(self._connected(), self._packet)
            try:
                yield transaction
            finally:
                self._end(transaction)

    def cancel(self) -> None:
        """Ends the statement that runs, if one does, with an UnreachableError. For other threads."""
        if (thread := self.thread_id) is None:
            return
        with suppress(pymysql.Error), self._opened() as killer:
            Transaction(killer).run(f"KILL QUERY {thread}")

    def close(self) -> None:
        """Gives the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(pymysql.Error):
                connection.close()

    def _end(self, transaction: Transaction) -> None:
        connection = transaction.connection
        try:
            if connection.open:
                transaction.end()
        except pymysql.Error:
            with suppress(pymysql.Error):
                connection.close()
        if not connection.open and self._connection is connection:
            self._connection = None

    def _connected(self) -> pymysql.Connection[Cursor]:
        if self._connection is None or not self._connection.open:
            connection = self._opened()
            try:
                self._set_up(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _opened(self) -> pymysql.Connection[Cursor]:
        return pymysql.connect(
            host=self._host,
            port=self._port,
            user=self._user,
            # As text it would be encoded in Latin-1.
            password=self._password.encode(),
            database=self.database,
            charset="utf8mb4",
            collation=COLLATION,
            connect_timeout=10,
            max_allowed_packet=1024 * 1024 * 1024,
            program_name="distributor",
            ssl_ca=self._ca or None,
            ssl_verify_identity=True if self._ca else None,
        )

    def _set_up(self, connection: pymysql.Connection[Cursor]) -> None:
        for name, value in _KEEPALIVES.items():
            # The driver turns keepalives on, and leaves the first one for two hours later.
            if (option := getattr(socket, name, None)) and isinstance(
                line := getattr(connection, "_sock", None), socket.socket
            ):
                line.setsockopt(socket.IPPROTO_TCP, option, value)
        statements = Transaction(connection)
        asked = "SELECT VERSION(), @@log_bin, @@binlog_format, @@max_allowed_packet"
        ((version, logged, form, self._packet),) = statements.run(asked)
        if why := unusable(version, bool(logged), form):
            raise ConfigError(why, where=self.where, mend="Use MariaDB 10.11 or newer, and binlog_format MIXED or ROW.")
        settings = ", ".join(f"{name} = {value}" for name, value in _SESSION.items())
        statements.run(f"SET SESSION {settings}")
        statements.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except pymysql.Error as error:
            raise self.translate(error) from error

    def translate(self, error: pymysql.Error) -> DistributorError:
        """A driver's error as one of ours: lost, busy and full can pass; whatever else means an altered system."""
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        said = str(error.args[1] if len(error.args) > 1 else error) or type(error).__name__
        if code in _PASSING or isinstance(error, pymysql.InterfaceError):
            return UnreachableError(f"MariaDB does not serve: {said}", where=self.where, mend="Is it running?")
        if code in _FORBIDDEN:
            return ConfigError(
                f"MariaDB refuses: {said}", where=self.where, mend="Grant it to the account of the member's url."
            )
        if code == CR.CR_SSL_CONNECTION_ERROR:
            return ConfigError(f"MariaDB is not proved: {said}", where=self.where, mend="See the option ssl_ca.")
        if code == ER.BAD_DB_ERROR:
            return ConfigError(f"MariaDB refuses: {said}", where=self.where, mend="Create the database.")
        if code == ER.NET_PACKET_TOO_LARGE:
            return ConfigError(f"MariaDB refuses: {said}", where=self.where, mend="Set max_allowed_packet higher.")
        return SystemAlteredError(
            f"MariaDB refuses: {said}", where=self.where, mend="Did somebody change the system's tables by hand?"
        )


class Transaction:
    """What is done inside `Line.transaction`, or `Line.statements`."""

    def __init__(self, connection: pymysql.Connection[Cursor], packet: int = 0) -> None:
        self.connection = connection
        self._packet = packet
        self._locked = False

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Executes one statement, taken as it stands: its rows, if it has any."""
        if 0 < self._packet <= 4 * len(statement) and (octets := len(statement.encode())) >= self._packet:
            # The server would hang up without a word.
            said = f"a statement has {octets:,} octets, and max_allowed_packet is {self._packet:,}"
            raise pymysql.OperationalError(ER.NET_PACKET_TOO_LARGE, said)
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def stream(self, statement: str) -> Iterator[tuple[Any, ...]]:
        """The rows of one query, as they come; nothing else may be run meanwhile."""
        with self.connection.cursor(SSCursor) as cursor:
            cursor.execute(statement)
            yield from cursor.fetchall_unbuffered()

    def glance(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query in a transaction that goes on, without standing in the way of a RENAME of its tables."""
        if not _inside(self.connection).server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS:
            return self.run(query)
        self.run("SAVEPOINT glance")
        found = self.run(query)
        self.run("ROLLBACK TO SAVEPOINT glance")
        return found

    def lock(self, name: str) -> None:
        """Waits for a lock of this name, which commits do not give back. Raises UnreachableError after LOCK_SECONDS."""
        if self.run(f"SELECT GET_LOCK({literal(name)}, {LOCK_SECONDS})") != [(1,)]:
            raise UnreachableError(
                f"the member's row was locked for {LOCK_SECONDS} s",
                where=name,
                mend="By another consumer of the member?",
            )
        self._locked = True

    def commit(self) -> None:
        """Makes everything so far durable."""
        self.connection.commit()

    def rollback(self) -> None:
        """Undoes everything so far."""
        self.connection.rollback()

    def end(self) -> None:
        """Undoes what was not committed, and gives locks back."""
        self.connection.rollback()
        if self._locked:
            self.run("DO RELEASE_ALL_LOCKS()")


def _inside(connection: pymysql.Connection[Cursor]) -> Any:
    """What the driver's stubs do not tell of."""
    return connection
