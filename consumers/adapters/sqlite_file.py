"""A connection to a system's SQLite file: WAL, explicit transactions, errors in the service's words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Literal

from consumers.adapters.sqlite_text import readable
from distributor.errors import ConfigError, DistributorError, SystemAlteredError, UnreachableError

BUSY_SECONDS = 60.0
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
}


class File:
    """One lazily opened connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def transaction(self, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[sqlite3.Connection]:
        """A transaction that is rolled back unless COMMIT is executed in it.

        IMMEDIATE waits for other writers for up to BUSY_SECONDS. Raises UnreachableError when they take longer or the
        file cannot be used, ConfigError when its directory does not exist.
        """
        try:
            connection = self._opened()
            connection.execute(f"BEGIN {kind}")
            try:
                yield connection
            finally:
                with suppress(sqlite3.Error):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self.translate(error) from error

    @property
    def in_transaction(self) -> bool:
        """Whether its own transaction is open, which a write lock that is waited for is not. From any thread."""
        return self._connection is not None and self._connection.in_transaction

    def locked(self) -> bool:
        """Whether somebody has the write lock at this moment; asked on a connection that does not wait."""
        with closing(
            sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=rw", 0, isolation_level=None, uri=True)
        ) as asking:
            try:
                asking.execute("BEGIN IMMEDIATE")
                asking.execute("ROLLBACK")
            except sqlite3.OperationalError as error:
                return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        return False

    def interrupt(self) -> None:
        """Ends the statement that runs, if one does, with an UnreachableError. For other threads."""
        connection = self._connection
        if connection is not None:
            with suppress(sqlite3.ProgrammingError):
                connection.interrupt()

    def close(self) -> None:
        """Gives the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            if not self.path.parent.is_dir():
                raise ConfigError(
                    f"the directory {self.path.parent} does not exist", where=str(self.path), mend="Create it."
                )
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            connection.text_factory = readable
            try:
                # WAL: readers go on reading while a load is written. FULL: a reported flip survives a power cut.
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                # KiB. The default of 2 MB would write pages of a large load out and read them back all the time.
                connection.execute("PRAGMA cache_size = -65536")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def translate(self, error: sqlite3.Error) -> DistributorError:
        """A driver's error as one of ours: busy, full and unreadable can pass; all else means an altered system."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _PASSING:
            return UnreachableError(f"SQLite does not serve: {error}", where=str(self.path), mend="Is the file in use?")
        return SystemAlteredError(
            f"SQLite refuses: {error}", where=str(self.path), mend="Did somebody change the file's tables by hand?"
        )
