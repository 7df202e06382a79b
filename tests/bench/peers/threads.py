"""Peer (a): a bare psycopg loop, one thread per copy, that is handed the changed keys for free."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

from distributor.demo.catalogue import Batch

_TABLES = {"products": "product_id", "prices": "product_id, currency"}


class Threads:
    """Reads the changed rows once and merges them into every copy at the same time. No proof, no common changeover."""

    def __init__(self, master: str, copies: list[str]) -> None:
        self.master = psycopg.connect(master, autocommit=True)
        self.copies = [psycopg.connect(url) for url in copies]
        self.pool = ThreadPoolExecutor(len(copies))
        for copy in self.copies:
            for table in _TABLES:
                copy.execute(f"CREATE TEMP TABLE new_{table} (LIKE {table}) ON COMMIT DELETE ROWS".encode())
            copy.commit()
        self.merges = {table: merge(self.master, table, key) for table, key in _TABLES.items()}

    def carry(self, batch: Batch) -> float:
        """Brings one committed batch to every copy. Returns milliseconds."""
        begun = time.perf_counter()
        rows = {table: self._read(table, batch.updated + batch.inserted) for table in _TABLES}
        list(self.pool.map(lambda copy: self._write(copy, rows, batch.deleted), self.copies))
        return (time.perf_counter() - begun) * 1000

    def close(self) -> None:
        """Gives everything back."""
        self.pool.shutdown()
        for connection in (self.master, *self.copies):
            connection.close()

    def _read(self, table: str, keys: list[int]) -> bytes:
        literal = "{" + ",".join(map(str, keys)) + "}"
        query = f"COPY (SELECT * FROM {table} WHERE product_id = ANY('{literal}')) TO STDOUT (FORMAT binary)"
        with self.master.cursor() as cursor, cursor.copy(query.encode()) as copy:
            return b"".join(copy)

    def _write(self, copy: psycopg.Connection, rows: dict[str, bytes], deleted: list[int]) -> None:
        with copy.cursor() as cursor:
            for table, content in rows.items():
                with cursor.copy(f"COPY new_{table} FROM STDIN (FORMAT binary)".encode()) as into:
                    into.write(content)
                cursor.execute(self.merges[table].encode())
                if deleted and table == "products":
                    cursor.execute("DELETE FROM products WHERE product_id = ANY(%s)", [deleted])
        copy.commit()


def merge(connection: psycopg.Connection, table: str, key: str) -> str:
    """The MERGE of `new_TABLE` into `TABLE`."""
    names = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " ORDER BY attnum",
        [table],
    ).fetchall()
    columns = [row[0] for row in names]
    keys = key.split(", ")
    joined = " AND ".join(f"o.{name} = n.{name}" for name in keys)
    changed = ", ".join(f"{name} = n.{name}" for name in columns if name not in keys)
    values = ", ".join(f"n.{name}" for name in columns)
    return (
        f"MERGE INTO {table} o USING new_{table} n ON {joined} WHEN MATCHED THEN UPDATE SET {changed}"
        f" WHEN NOT MATCHED THEN INSERT ({', '.join(columns)}) VALUES ({values})"
    )
