"""A connection to a system's PostgreSQL: fixed settings, reopened after a loss, errors in the service's words."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from distributor.errors import ConfigError, DistributorError, SystemAlteredError, UnreachableError

OLDEST_SERVER = 140000
BEGIN = b"BEGIN"
# Not READ ONLY: how the server spells a view is found out by making one, for a moment.
SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ"
_Parameters = tuple[object, ...] | None
_CONNECT: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "application_name": "distributor",
    "client_encoding": "UTF8",
    # `Transaction` begins by itself, in one journey with the first statement.
    "autocommit": True,
}
# The first six are what canonical text is defined under; the keepalives free a vanished client's locks.
_SESSION = {
    "DateStyle": "ISO, YMD",
    "TimeZone": "UTC",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "search_path": "pg_catalog, pg_temp",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "120s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    # Deltas are looked up key by key in a table that is larger than they are, on storage without moving arms.
    "random_page_cost": "1.1",
    "jit": "off",
    # A staging table that is there already is no news.
    "client_min_messages": "warning",
}


class Line:
    """One lazily opened connection, used by one thread at a time. `where` names the server without its password."""

    def __init__(self, url: str) -> None:
        try:
            parts = conninfo_to_dict(url)
        except psycopg.Error:
            # The driver's complaint quotes the URL, password and all.
            raise ConfigError("this is no PostgreSQL URL", where="url", mend=_EXAMPLE) from None
        self.where = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None
        self._turn = threading.Lock()

    @property
    def backend_pid(self) -> int | None:
        """The server process of the connection, if it is open. May be asked from any thread, at any time."""
        connection = self._connection
        return None if connection is None or connection.closed else connection.info.backend_pid

    @contextmanager
    def transaction(self, begin: bytes = BEGIN) -> Iterator[Transaction]:
        """A transaction that is rolled back unless `commit` is called in it; `begin` is the statement it begins with.

        Raises UnreachableError when the server does not answer or the line drops; the next call connects again.
        """
        with self._turn, self._translated():
            connection = self._connected()
            transaction = Transaction(connection, begin)
            try:
                yield transaction
            finally:
                with suppress(psycopg.Error):
                    connection.rollback()
                if connection.closed:
                    self._connection = None

    def cancel(self) -> None:
        """Ends the statement that runs, if one does, with an UnreachableError. For other threads."""
        connection = self._connection
        if connection is not None:
            with suppress(psycopg.Error):
                connection.cancel()

    def close(self) -> None:
        """Gives the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            connection = psycopg.connect(self._url, **_CONNECT)
            try:
                self._set_up(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _set_up(self, connection: psycopg.Connection[Any]) -> None:
        if connection.info.server_version < OLDEST_SERVER:
            version = connection.info.parameter_status("server_version")
            raise ConfigError(f"PostgreSQL {version} is too old", where=self.where, mend="Version 14 is the oldest.")
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise ConfigError(
                f"the database is encoded in {encoding}",
                where=self.where,
                mend="Only a UTF8 database holds every text.",
            )
        for name, value in _SESSION.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise self.translate(error) from error

    def translate(self, error: psycopg.Error) -> DistributorError:
        """A driver's error as one of ours: lost, busy and full can pass; whatever else means an altered system."""
        said = error.diag.message_primary or str(error).strip() or type(error).__name__
        state = error.sqlstate or ""
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) or state.startswith("25"):
            return UnreachableError(f"PostgreSQL does not serve: {said}", where=self.where, mend="Is it running?")
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return ConfigError(
                f"PostgreSQL refuses: {said}", where=self.where, mend="Grant it to the role of the member's url."
            )
        return SystemAlteredError(
            f"PostgreSQL refuses: {said}", where=self.where, mend="Did somebody change the system's tables by hand?"
        )


class Transaction:
    """What is done inside `Line.transaction`. Statements without parameters are taken as they stand, `%` and all.

    What needs no answer waits for the next statement and travels with it: one journey to the server for all.
    """

    def __init__(self, connection: psycopg.Connection[Any], begin: bytes = BEGIN) -> None:
        self._connection = connection
        # The client puts parameters in: the server takes several statements at once only without any.
        self._cursor = psycopg.ClientCursor(connection)
        self._begin = begin
        self._waiting = [begin]

    @property
    def server_version(self) -> int:
        """As libpq numbers versions: 180001 is 18.1."""
        return self._connection.info.server_version

    def later(self, statement: str, parameters: _Parameters = None) -> None:
        """Executes one statement together with the next one that is run; what it fails with is raised there."""
        text = statement.encode()
        self._waiting.append(text if parameters is None else self._cursor.mogrify(text, parameters).encode())

    def run(self, statement: str, parameters: _Parameters = None) -> list[tuple[Any, ...]]:
        """Executes one statement, after those that wait: its rows, if it has any."""
        self.later(statement, parameters)
        return self._answers()[-1]

    def run_all(self, *statements: str) -> list[list[tuple[Any, ...]]]:
        """Executes statements in one journey, after those that wait: the rows of each."""
        for statement in statements:
            self.later(statement)
        return self._answers()[-len(statements) :]

    def copy(self, statement: str, content: memoryview) -> None:
        """`COPY … FROM STDIN` with the whole content."""
        self._flush()
        with self._cursor.copy(statement.encode()) as copy:
            copy.write(content)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part that is undone alone when it raises."""
        self._flush()
        with self._connection.transaction():
            yield

    def commit(self) -> None:
        """Makes everything so far durable."""
        self.later("COMMIT")
        self._flush()
        self._waiting = [self._begin]

    def rollback(self) -> None:
        """Undoes everything so far."""
        self._connection.rollback()
        self._waiting = [self._begin]

    def _flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._cursor.execute(b";\n".join(waiting))

    def _answers(self) -> list[list[tuple[Any, ...]]]:
        self._flush()
        answers = [self._rows()]
        while self._cursor.nextset():
            answers.append(self._rows())
        return answers

    def _rows(self) -> list[tuple[Any, ...]]:
        return self._cursor.fetchall() if self._cursor.description else []


_EXAMPLE = "It looks like postgresql://user:password@host:5432/database."
