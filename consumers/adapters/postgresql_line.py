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
_Parameters = tuple[object, ...] | None
_CONNECT: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "application_name": "distributor",
    "client_encoding": "UTF8",
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

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that is rolled back unless `commit` is called in it.

        Raises UnreachableError when the server does not answer or the line drops; the next call connects again.
        """
        with self._turn, self._translated():
            connection = self._connected()
            transaction = Transaction(connection)
            try:
                yield transaction
            finally:
                with suppress(psycopg.Error):
                    connection.rollback()
                if connection.closed:
                    self._connection = None

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
        # Server-side prepared statements would be planned for staging tables of another size.
        connection.prepare_threshold = None
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
        connection.commit()

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
    """What is done inside `Line.transaction`. Statements without parameters are taken as they stand, `%` and all."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def run(self, statement: str, parameters: _Parameters = None) -> list[tuple[Any, ...]]:
        """Executes one statement: its rows, if it has any."""
        cursor = self._connection.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description else []

    def copy(self, statement: str, content: memoryview) -> None:
        """`COPY … FROM STDIN` with the whole content."""
        with self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.write(content)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part that is undone alone when it raises."""
        with self._connection.transaction():
            yield

    def commit(self) -> None:
        """Makes everything so far durable."""
        self._connection.commit()

    def rollback(self) -> None:
        """Undoes everything so far."""
        self._connection.rollback()


_EXAMPLE = "It looks like postgresql://user:password@host:5432/database."
