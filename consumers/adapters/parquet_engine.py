"""DuckDB inside the consumer's process: it joins, writes and reads Parquet, and keeps nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from distributor.errors import DistributorError, SystemAlteredError, UnreachableError

THREADS = min(4, os.cpu_count() or 1)
_PASSING = (duckdb.IOException, duckdb.InterruptException, duckdb.OutOfMemoryException, duckdb.ConnectionException)


class Engine:
    """One database in memory, opened when it is first used. What exceeds `memory_mb` is spilled into `spill`."""

    def __init__(self, where: str, memory_mb: int, spill: Path) -> None:
        self._where = where
        self._memory_mb = memory_mb
        self._spill = spill
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._sessions: set[duckdb.DuckDBPyConnection] = set()

    @contextmanager
    def session(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own, so that threads may work beside each other. Errors come as ours."""
        with self.translated():
            connection = self._opened().cursor()
            self._sessions.add(connection)
            try:
                yield connection
            finally:
                self._sessions.discard(connection)
                with suppress(duckdb.Error):
                    connection.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """DuckDB's errors as ours: a disk or memory that is full can pass; all else means an altered system."""
        try:
            yield
        except duckdb.Error as error:
            raise self._translate(error) from error

    def interrupt(self) -> None:
        """Ends every statement that runs with an UnreachableError. For other threads."""
        for connection in list(self._sessions):
            with suppress(duckdb.Error):
                connection.interrupt()

    def close(self) -> None:
        """Ends what runs, and forgets everything."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(duckdb.Error):
                connection.close()

    def _opened(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            config: dict[str, str | bool | int | float | list[str]] = {
                "memory_limit": f"{self._memory_mb}MB",
                "threads": THREADS,
                "preserve_insertion_order": False,
                # What is read back must come from the file.
                "enable_external_file_cache": False,
                "autoinstall_known_extensions": False,
                # Unless it is told one, DuckDB takes a folder wherever its process was started.
                "temp_directory": str(self._spill),
            }
            connection = duckdb.connect(config=config)
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            self._connection = connection
        return self._connection

    def _translate(self, error: duckdb.Error) -> DistributorError:
        said = str(error).split("\n", 1)[0]
        if isinstance(error, _PASSING):
            return UnreachableError(
                f"DuckDB does not serve: {said}", where=self._where, mend="Is the disk full, or memory_mb too small?"
            )
        return SystemAlteredError(
            f"DuckDB refuses: {said}", where=self._where, mend="Did somebody change the files by hand?"
        )
