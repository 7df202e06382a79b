"""The released image: every dataset as of the newest release, as canonical text, in the ledger's database.

One table per dataset in the schema `image`. `_sources` remembers of which table in the master (its identity, see
`capture.inspect.Source`) each was last compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import psycopg
from psycopg import sql

from distributor.capture.rows import Block
from distributor.model.dataset import DatasetSchema

SCHEMA = "image"


def image_table(dataset: str) -> sql.Identifier:
    """The dataset's table."""
    return sql.Identifier(SCHEMA, dataset)


def prepare(conn: psycopg.Connection) -> None:
    """Creates the schema where it is missing."""
    row = conn.execute("SELECT to_regclass('image._sources') IS NULL").fetchone()
    if row and row[0]:
        conn.execute("CREATE SCHEMA IF NOT EXISTS image")
        conn.execute("CREATE TABLE image._sources (dataset text PRIMARY KEY, identity text NOT NULL)")


def sources(conn: psycopg.Connection) -> dict[str, str]:
    """Dataset → identity of the table with which it was last compared."""
    return dict(conn.execute("SELECT dataset, identity FROM image._sources").fetchall())


def save_sources(conn: psycopg.Connection, identities: Mapping[str, str]) -> None:
    """Remembers the tables that were compared."""
    conn.execute(
        "INSERT INTO image._sources SELECT * FROM unnest(%s::text[], %s::text[])"
        " ON CONFLICT (dataset) DO UPDATE SET identity = EXCLUDED.identity",
        [list(identities), list(identities.values())],
    )


def fill(conn: psycopg.Connection, schema: DatasetSchema, blocks: Iterable[Block]) -> None:
    """Makes the dataset's table from rows; the index comes when they are in."""
    table = image_table(schema.dataset)
    columns = sql.SQL(", ").join(
        sql.SQL('{} text COLLATE "C"').format(sql.Identifier(name)) for name in schema.column_names
    )
    conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
    # Room on every page keeps updates on it (HOT): the key's index is not touched.
    conn.execute(sql.SQL("CREATE TABLE {} ({}) WITH (fillfactor = 75)").format(table, columns))
    with conn.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(table)) as copy:
        for block in blocks:
            copy.write(block.csv)
    key = sql.SQL(", ").join(map(sql.Identifier, schema.key))
    conn.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(table, key))
    conn.execute(sql.SQL("ANALYZE {}").format(table))
