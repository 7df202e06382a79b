"""How users of each kind of store look at it: plain drivers, and what the adapters' pages promise; no part of ours.

Every look is one snapshot: it asks which release is shown and whether the marked products and their prices all carry
the same change batch.
"""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

import duckdb
import psycopg

from distributor.demo.catalogue import FIRST_MARKER, LAST_MARKER
from distributor.demo.tables import Table, line_of, stored_query

if TYPE_CHECKING:
    from distributor.demo.readers import Place

Look = tuple[int | None, Any, int | None, int | None]
"""Release, time of its flip, lowest and highest change batch of the marked rows."""
FILES_ENCODING = "iso-8859-15"


class NotThereError(Exception):
    """There is nothing to look at yet, or not any more."""


class Sight(Protocol):
    """An open look at one system. Every method raises the driver's own errors, or NotThereError."""

    def glance(self) -> Look:
        """One look at the marked rows."""

    def release(self) -> int:
        """The release that is shown; 0 for none."""

    def lines(self) -> dict[str, list[str]]:
        """Every row of every table as one line, all of one snapshot."""

    def close(self) -> None:
        """Closes it."""


def open_sight(place: Place) -> Sight:
    """A look at a system. Raises as `Sight` does."""
    sight: Sight = _SIGHTS[place.adapter](place)
    return sight


def errors() -> tuple[type[Exception], ...]:
    """What looking raises when a store does not answer."""
    found: list[type[Exception]] = [psycopg.Error, sqlite3.Error, duckdb.Error, OSError, NotThereError]
    for name, error in (("pymysql", "MySQLError"), ("redis", "RedisError")):
        try:
            found.append(getattr(__import__(name), error))
        except ImportError:
            continue
    return tuple(found)


def marked_query(place: Place, prefix: str = "", release: str = "release") -> str:
    """One statement for stores that speak SQL; `release` is that column's name, quoted where SQL has the word too."""
    marked = " UNION ALL ".join(
        f"SELECT revision FROM {prefix}{table} WHERE {key} BETWEEN {FIRST_MARKER} AND {LAST_MARKER}"
        for table, key in place.marked
    )
    told = f"FROM {prefix}distributor_release"
    # Release 0 has no row yet in some stores: the aggregates make it one row all the same.
    return (
        f"SELECT (SELECT max({release}) {told}), (SELECT max(flipped_at) {told}),"
        f" min(revision), max(revision) FROM ({marked}) AS marked"
    )


class _SQL:
    """A connection that is kept. Subclasses say how their driver is asked, and what begins a snapshot."""

    adapter = ""
    snapshot = ""
    column = "release"

    def __init__(self, place: Place) -> None:
        self._place = place
        self._connection = self._connected(place)

    def glance(self) -> Look:
        release, flipped_at, lowest, highest = self._ask(marked_query(self._place, release=self.column))[0]
        return release, flipped_at, lowest, highest

    def release(self) -> int:
        return self._ask(f"SELECT max({self.column}) FROM distributor_release")[0][0] or 0

    def lines(self) -> dict[str, list[str]]:
        self._ask(self.snapshot)
        try:
            queries = {table.name: stored_query(self.adapter, table) for table in self._place.facts}
            return {name: [row[0] for row in self._ask(query)] for name, query in queries.items()}
        finally:
            self._ask("COMMIT")

    def close(self) -> None:
        self._connection.close()

    def _connected(self, place: Place) -> Any:
        raise NotImplementedError

    def _ask(self, query: str) -> list[Any]:
        cursor = self._connection.cursor()
        try:
            cursor.execute(query)
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            cursor.close()


class _PostgreSQL(_SQL):
    adapter, snapshot = "postgresql", "BEGIN ISOLATION LEVEL REPEATABLE READ"

    def _connected(self, place: Place) -> Any:
        return psycopg.connect(place.url, autocommit=True, application_name="demo reader")


class _SQLite(_SQL):
    adapter, snapshot = "sqlite", "BEGIN"

    def _connected(self, place: Place) -> Any:
        address = f"file:{place.sqlite_path}?mode=rw"
        found = sqlite3.connect(address, uri=True, timeout=10, isolation_level=None, check_same_thread=False)
        found.execute("PRAGMA query_only = on")
        return found


class _MariaDB(_SQL):
    adapter, snapshot, column = "mariadb", "START TRANSACTION WITH CONSISTENT SNAPSHOT", "`release`"

    def _connected(self, place: Place) -> Any:
        import pymysql

        parts = urlsplit(place.url)
        return pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=parts.path[1:],
            autocommit=True,
            init_command="SET time_zone = '+00:00'",
        )


class _Parquet:
    """Attaches the catalogue anew for every look: an attached one is one release for ever."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._catalogue = Path(place.url.removeprefix("parquet:///")) / "current" / "catalog.duckdb"

    def glance(self) -> Look:
        release, flipped_at, lowest, highest = self._ask([marked_query(self._place, "r.")])[0][0]
        return release, flipped_at, lowest, highest

    def release(self) -> int:
        return self._ask(["SELECT max(release) FROM r.distributor_release"])[0][0][0] or 0

    def lines(self) -> dict[str, list[str]]:
        queries = [stored_query("parquet", table, "r.") for table in self._place.facts]
        found = self._ask(queries)
        return {table.name: [row[0] for row in rows] for table, rows in zip(self._place.facts, found, strict=True)}

    def close(self) -> None:
        """Nothing is open between two looks."""

    def _ask(self, queries: list[str]) -> list[list[Any]]:
        if not self._catalogue.exists():
            raise NotThereError(str(self._catalogue))
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"ATTACH '{self._catalogue}' AS r (READ_ONLY)")
            return [connection.execute(query).fetchall() for query in queries]


class _Files:
    """Goes into the directory that `current` leads to, once for every look."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._link = Path(place.url.removeprefix("files:///")) / "current"

    def glance(self) -> Look:
        directory = self._directory()
        release, flipped_at = self._shown(directory)
        found = []
        for table in self._place.facts:
            if table.marked:
                content = (directory / f"{table.name}.csv").read_bytes()
                found += [int(row[-1]) for row in self._marked_rows(table, content)]
        return release, flipped_at, min(found, default=None), max(found, default=None)

    def release(self) -> int:
        return self._shown(self._directory())[0] or 0

    def lines(self) -> dict[str, list[str]]:
        directory = self._directory()
        return {table.name: list(self._lines(directory, table)) for table in self._place.facts}

    def close(self) -> None:
        """Nothing is open between two looks."""

    def _directory(self) -> Path:
        if not self._link.exists():
            raise NotThereError(str(self._link))
        return self._link.resolve()

    def _shown(self, directory: Path) -> tuple[int | None, str | None]:
        text = (directory / "distributor_release.csv").read_text(FILES_ENCODING)
        row = next(iter(csv.DictReader(io.StringIO(text), delimiter=";")), None)
        return (int(row["release"]), row["flipped_at"] or None) if row else (None, None)

    def _marked_rows(self, table: Table, content: bytes) -> Iterator[list[str]]:
        """Rows are in the order of their keys, and `revision` is the last column."""
        assert table.names[-1] == "revision"
        for number in range(FIRST_MARKER, LAST_MARKER + 1):
            start = content.find(b"\n%d;" % number)
            if start >= 0:
                end = content.index(b"\n", start + 1)
                yield content[start + 1 : end].decode(FILES_ENCODING).strip().split(";")

    def _lines(self, directory: Path, table: Table) -> Iterator[str]:
        with (directory / f"{table.name}.csv").open(encoding=FILES_ENCODING, newline="") as file:
            rows = csv.reader(file, delimiter=";")
            assert tuple(next(rows)) == table.names
            for row in rows:
                # No text of this catalogue is empty: nothing between two delimiters is NULL.
                yield line_of(table, [cell or None for cell in row])


class _Redis:
    def __init__(self, place: Place) -> None:
        import redis

        self._place = place
        self._prefix = f"{place.environment}.{place.system}"
        self._client: Any = redis.Redis.from_url(place.url, decode_responses=True)

    def glance(self) -> Look:
        found: list[int] = []
        with self._client.pipeline(transaction=True) as snapshot:
            snapshot.hgetall(f"{self._prefix}:distributor_release")
            for table, _ in self._place.marked:
                keys = [str(number) for number in range(FIRST_MARKER, LAST_MARKER + 1)]
                snapshot.fcall_ro("distributor_get", 1, self._prefix, table, *keys)
            shown, *answers = snapshot.execute()
        for _, names, *rows in answers:
            found += [int(row[names.index("revision")]) for row in rows if row]
        release = int(shown["release"]) if shown else None
        return release, shown.get("flipped_at"), min(found, default=None), max(found, default=None)

    def release(self) -> int:
        return int(self._client.hget(f"{self._prefix}:distributor_release", "release") or 0)

    def lines(self) -> dict[str, list[str]]:
        return {table.name: list(self._lines(table)) for table in self._place.facts}

    def close(self) -> None:
        self._client.close()

    def _lines(self, table: Table) -> Iterator[str]:
        cursor = "0"
        while True:
            _, names, cursor, *rows = self._client.fcall_ro(
                "distributor_scan", 1, self._prefix, table.name, cursor, 5000
            )
            order = [names.index(name) for name in table.names]
            for row in rows:
                yield line_of(table, [row[at] for at in order])
            if str(cursor) == "0":
                return


_SIGHTS: dict[str, Any] = {
    "postgresql": _PostgreSQL,
    "sqlite": _SQLite,
    "mariadb": _MariaDB,
    "parquet": _Parquet,
    "files": _Files,
    "redis": _Redis,
}
