"""The bare MERGE of one batch into one copy, statements alone: how much it grows is how much anything must grow."""

from __future__ import annotations

import time

import psycopg

from distributor.demo import catalogue
from tests.bench.peers.threads import merge


def merge_ms(url: str, changed_products: int, revisions: range, seed: int) -> list[float]:
    """Milliseconds of merging a batch and its prices, for each revision. The rows wait in temporary tables.

    Each batch is made in the table itself, taken out and rolled back; then it is merged.
    """
    times = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE new_products (LIKE products)")
        connection.execute("CREATE TEMP TABLE new_prices (LIKE prices)")
        statements = [merge(connection, "products", "product_id"), merge(connection, "prices", "product_id, currency")]
        for revision in revisions:
            rows, deleted = _changed_rows(connection, changed_products, revision, seed)
            for table, content in rows.items():
                connection.execute(f"TRUNCATE new_{table}".encode())
                with connection.cursor().copy(f"COPY new_{table} FROM STDIN".encode()) as into:
                    into.write(content)
            begun = time.perf_counter()
            with connection.transaction():
                for statement in statements:
                    connection.execute(statement.encode())
                connection.execute("DELETE FROM products WHERE product_id = ANY(%s)", [deleted])
            times.append((time.perf_counter() - begun) * 1000)
    return times


def _changed_rows(
    connection: psycopg.Connection, products: int, revision: int, seed: int
) -> tuple[dict[str, bytes], list[int]]:
    rows: dict[str, bytes] = {}
    with connection.transaction(force_rollback=True):
        batch = catalogue.change(connection, products, revision, seed)
        for table in ("products", "prices"):
            query = f"COPY (SELECT * FROM {table} WHERE revision = {revision}) TO STDOUT"
            with connection.cursor().copy(query.encode()) as out:
                rows[table] = b"".join(out)
    return rows, batch.deleted
