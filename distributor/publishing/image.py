"""The released image: every dataset as of the newest release, as canonical text, in the ledger's database.

One table per dataset in the schema `image`. `_sources` remembers with which table in the master each was last compared:
its identity and the places of its columns (see `capture.inspect.Source`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from distributor.capture.inspect import Source
from distributor.capture.rows import Block
from distributor.model.dataset import DatasetSchema
from distributor.publishing.keys import refuse_bad_keys

SCHEMA = "image"
_MADE = """
SELECT to_regclass('image._sources') IS NOT NULL, EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = to_regclass('image._sources') AND attname = 'places')
"""


@dataclass(frozen=True, slots=True)
class Compared:
    """A table of the master as it was when it was last compared: `Source.identity` and `Source.places`."""

    identity: str
    places: Mapping[str, str]


def image_table(dataset: str) -> sql.Identifier:
    """The dataset's table."""
    return sql.Identifier(SCHEMA, dataset)


def prepare(conn: psycopg.Connection) -> None:
    """Creates the schema where it is missing."""
    row = conn.execute(_MADE).fetchone()
    if row == (True, True):
        return
    conn.execute("CREATE SCHEMA IF NOT EXISTS image")
    conn.execute("CREATE TABLE IF NOT EXISTS image._sources (dataset text PRIMARY KEY, identity text NOT NULL)")
    conn.execute("ALTER TABLE image._sources ADD COLUMN IF NOT EXISTS places json NOT NULL DEFAULT '{}'")


def sources(conn: psycopg.Connection) -> dict[str, Compared]:
    """Dataset → the table with which it was last compared."""
    rows = conn.execute("SELECT dataset, identity, places FROM image._sources").fetchall()
    return {dataset: Compared(identity, places) for dataset, identity, places in rows}


def save_sources(conn: psycopg.Connection, compared: Mapping[str, Source]) -> None:
    """Remembers the tables that were compared."""
    conn.execute(
        "INSERT INTO image._sources (dataset, identity, places)"
        " SELECT dataset, identity, places::json FROM unnest(%s::text[], %s::text[], %s::text[])"
        " AS given(dataset, identity, places)"
        " ON CONFLICT (dataset) DO UPDATE SET identity = EXCLUDED.identity, places = EXCLUDED.places",
        [
            list(compared),
            [source.identity for source in compared.values()],
            [json.dumps(dict(source.places)) for source in compared.values()],
        ],
    )


def fill(
    conn: psycopg.Connection, schema: DatasetSchema, blocks: Iterable[Block], source: Source | None = None
) -> None:
    """Makes the dataset's table from rows; the index comes when they are in. Raises BadInputError when the `source`'s
    key turns out to be none."""
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
    if source is not None:
        refuse_bad_keys(conn, source, table, [sql.Identifier(name) for name in schema.key])
    key = sql.SQL(", ").join(map(sql.Identifier, schema.key))
    conn.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(table, key))
    conn.execute(sql.SQL("ANALYZE {}").format(table))
