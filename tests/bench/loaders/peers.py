"""What somebody would write who needs no shadow, no proof and no flip: each store's own bulk loader, on a plain table.

Every peer takes a `Delta` to its table and commits; making the rows into what the driver wants is part of its time.
"""

from __future__ import annotations

import csv
import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Protocol

import duckdb
import psycopg
import pyarrow as pa
import redis

from tests.bench.loaders.rows import NAMES, Delta
from tests.services.mariadb import connected

_UPDATED = ", ".join(f"{name} = excluded.{name}" for name in NAMES[1:])


class Peer(Protocol):
    """One store's plain table."""

    def apply(self, delta: Delta) -> None:
        """Takes the table further, and commits."""


class PostgreSQLPeer:
    """COPY into a temporary table, then one INSERT … ON CONFLICT and one DELETE."""

    def __init__(self, url: str) -> None:
        self._conn = psycopg.connect(url)
        self._conn.execute(
            "CREATE TABLE peer (sku text PRIMARY KEY, name text, price numeric(12,2), stock bigint, since date)"
        )
        self._conn.execute("CREATE INDEX ON peer (stock)")
        self._conn.commit()

    def apply(self, delta: Delta) -> None:
        conn = self._conn
        conn.execute("CREATE TEMPORARY TABLE given (LIKE peer) ON COMMIT DROP")
        conn.execute("CREATE TEMPORARY TABLE gone (sku text) ON COMMIT DROP")
        for table, rows in (("given", delta.upserts), ("gone", [row[:1] for row in delta.deletes])):
            with conn.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
                for row in rows:
                    copy.write_row(row)
        conn.execute("ANALYZE given")
        conn.execute(f"INSERT INTO peer SELECT * FROM given ON CONFLICT (sku) DO UPDATE SET {_UPDATED}".encode())
        conn.execute("DELETE FROM peer USING gone WHERE peer.sku = gone.sku")
        conn.commit()


class MariaDBPeer:
    """LOAD DATA LOCAL INFILE into a temporary table, then one INSERT … ON DUPLICATE KEY and one DELETE."""

    def __init__(self, url: str, directory: Path) -> None:
        self._conn = connected(url, autocommit=False, local_infile=True)
        self._file = directory / "peer.csv"
        self._run(
            "CREATE TABLE peer (sku varchar(20) PRIMARY KEY, name text, price decimal(12,2), stock bigint, since date,"
            " KEY (stock)) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        )
        self._run("CREATE TEMPORARY TABLE given LIKE peer")
        self._run("CREATE TEMPORARY TABLE gone (sku varchar(20) PRIMARY KEY) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")

    def apply(self, delta: Delta) -> None:
        for table, rows in (("given", delta.upserts), ("gone", [row[:1] for row in delta.deletes])):
            self._run(f"DELETE FROM {table}")
            with self._file.open("w", newline="") as file:
                csv.writer(file).writerows(rows)
            self._run(
                f"LOAD DATA LOCAL INFILE '{self._file}' INTO TABLE {table} CHARACTER SET utf8mb4"
                " FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' LINES TERMINATED BY '\\r\\n'"
            )
        updated = ", ".join(f"{name} = VALUES({name})" for name in NAMES[1:])
        self._run(f"INSERT INTO peer SELECT * FROM given ON DUPLICATE KEY UPDATE {updated}")
        self._run("DELETE peer FROM peer JOIN gone ON peer.sku = gone.sku")
        self._conn.commit()

    def _run(self, statement: str) -> None:
        with self._conn.cursor() as cursor:
            cursor.execute(statement)


class SQLitePeer:
    """`executemany` in one transaction."""

    def __init__(self, directory: Path) -> None:
        self._conn = sqlite3.connect(directory / "peer.db", isolation_level=None)
        self._conn.execute("PRAGMA journal_mode = WAL")
        self._conn.execute(
            "CREATE TABLE peer (sku TEXT PRIMARY KEY NOT NULL, name TEXT, price NUMERIC, stock INTEGER, since TEXT)"
        )
        self._conn.execute("CREATE INDEX peer_stock ON peer (stock)")

    def apply(self, delta: Delta) -> None:
        self._conn.execute("BEGIN IMMEDIATE")
        statement = f"INSERT INTO peer VALUES (?, ?, ?, ?, ?) ON CONFLICT (sku) DO UPDATE SET {_UPDATED}"
        self._conn.executemany(statement, delta.upserts)
        self._conn.executemany("DELETE FROM peer WHERE sku = ?", [row[:1] for row in delta.deletes])
        self._conn.execute("COMMIT")


class ParquetPeer:
    """DuckDB: the table that is left joined with the delta, written anew with COPY … TO."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "peer.parquet"

    def apply(self, delta: Delta) -> None:
        with closing(duckdb.connect()) as conn:
            given = pa.table(dict(zip(NAMES, map(list, zip(*delta.upserts, strict=True)), strict=True)))
            conn.register("given", given)
            typed = (
                "SELECT sku, name, CAST(price AS DECIMAL(12, 2)) AS price, CAST(stock AS BIGINT) AS stock,"
                " CAST(since AS DATE) AS since FROM given"
            )
            query = typed
            if self._file.exists():
                conn.register("gone", pa.table({"sku": [row[0] for row in (*delta.upserts, *delta.deletes)]}))
                query = f"SELECT * FROM '{self._file}' ANTI JOIN gone USING (sku) UNION ALL {typed}"
            written = self._file.with_suffix(".new")
            conn.execute(f"COPY ({query}) TO '{written}' (FORMAT parquet, COMPRESSION zstd)")
        written.rename(self._file)


class RedisPeer:
    """Pipelined HSET and DEL, ten thousand at a time."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url)

    def apply(self, delta: Delta) -> None:
        pipe = self._redis.pipeline(transaction=False)
        for number, row in enumerate(delta.upserts):
            pipe.hset(f"peer:{row[0]}", mapping=dict(zip(NAMES, row, strict=True)))
            if number % 10_000 == 9_999:
                pipe.execute()
        for row in delta.deletes:
            pipe.delete(f"peer:{row[0]}")
        pipe.execute()


class FilePeer:
    """The whole CSV file read, changed in memory and written anew."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "peer.csv"

    def apply(self, delta: Delta) -> None:
        rows: dict[str, tuple[str, ...]] = {}
        if self._file.exists():
            with self._file.open(newline="") as file:
                rows = {row[0]: tuple(row) for row in csv.reader(file, delimiter=";")}
        for row in delta.deletes:
            rows.pop(row[0], None)
        rows.update((row[0], row) for row in delta.upserts)
        text = io.StringIO()
        csv.writer(text, delimiter=";").writerows(rows.values())
        written = self._file.with_suffix(".new")
        written.write_text(text.getvalue())
        written.rename(self._file)
