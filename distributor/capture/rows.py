"""The master's rows as canonical text, streamed as CSV: NULL is nothing, the empty string is two quotes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import psycopg
import pyarrow as pa
import pyarrow.csv
from psycopg import sql

from distributor.capture.inspect import Source

KEYS_PER_SLICE = 10_000
BLOCK_ROWS = 50_000
_BLOCK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows as CSV, at most BLOCK_ROWS and little more than 16 MB."""

    csv: bytes
    rows: int

    def table(self, names: Sequence[str]) -> pa.Table:
        """The rows as string columns of these names."""
        return read_csv(self.csv, names)


def rows_of_keys(conn: psycopg.Connection, source: Source, keys: frozenset[str]) -> Iterator[Block]:
    """One row for every key: `true` and the dataset's columns, or `false` and nothing but the key when it is gone.

    Keys are as the journal has them.
    """
    rest = iter(sorted(keys))
    # Ten thousand look-ups cost the same in a table of any size; the planner would rather read all of it.
    conn.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
    while part := list(islice(rest, KEYS_PER_SLICE)):
        yield from copy_blocks(conn, _rows_of_keys(source, json.dumps(part, ensure_ascii=False)))


def all_rows(conn: psycopg.Connection, source: Source) -> Iterator[Block]:
    """Every row: the dataset's columns. This is also how a full scan reads."""
    columns = sql.SQL(", ").join(source.text_of(name, of="t") for name in source.schema.column_names)
    query = sql.SQL("SELECT {} FROM {} AS t").format(columns, source.relation)
    yield from copy_blocks(conn, query)


def copy_blocks(conn: psycopg.Connection, query: sql.Composed) -> Iterator[Block]:
    """The result of a query as blocks of CSV. Values stand in it as literals (lists are quickest as JSON): beside
    parameters, a `%` in a column's name would be taken for one."""
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(query)
    pieces: list[bytes] = []
    size = 0
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        # The server sends one row per message.
        for row in copy:
            pieces.append(bytes(row))
            size += len(row)
            if len(pieces) >= BLOCK_ROWS or size >= _BLOCK_BYTES:
                yield Block(b"".join(pieces), len(pieces))
                pieces, size = [], 0
    if pieces:
        yield Block(b"".join(pieces), len(pieces))


def read_csv(csv: bytes, names: Sequence[str]) -> pa.Table:
    """PostgreSQL's CSV as string columns; an unquoted nothing is NULL, also where it is the whole line."""
    if not csv:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    places = [str(at) for at in range(len(names))]
    table = pyarrow.csv.read_csv(
        io.BytesIO(csv),
        read_options=pyarrow.csv.ReadOptions(column_names=places, use_threads=False, block_size=len(csv) + 1),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(places, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return table.rename_columns(list(names))


def _rows_of_keys(source: Source, wanted: str) -> sql.Composed:
    schema = source.schema
    given = {name: sql.Identifier("k", f"k{at}") for at, name in enumerate(schema.key)}
    if len(schema.key) == 1:
        keys = sql.SQL("json_array_elements_text({}::json) AS k(k0)").format(sql.Literal(wanted))
    else:
        parts = sql.SQL(", ").join(
            sql.SQL("u::jsonb ->> {} AS {}").format(sql.Literal(at), sql.Identifier(f"k{at}"))
            for at in range(len(schema.key))
        )
        keys = sql.SQL("(SELECT {} FROM json_array_elements_text({}::json) AS u) AS k").format(
            parts, sql.Literal(wanted)
        )
    # The column's own equality finds the row by its index; the text decides, where equality is laxer (citext).
    found = sql.SQL(" AND ").join(
        sql.SQL('t.{column} = {given}::{type} AND ({text}) COLLATE "C" = {given}').format(
            column=sql.Identifier(name),
            given=given[name],
            type=source.types[name].identifier,
            text=source.text_of(name, of="t"),
        )
        for name in schema.key
    )
    columns = sql.SQL(", ").join(
        given[name] if name in given else source.text_of(name, of="t") for name in schema.column_names
    )
    there = sql.SQL("(t.{} IS NOT NULL)::text").format(sql.Identifier(schema.key[0]))
    return sql.SQL("SELECT {}, {} FROM {} LEFT JOIN {} AS t ON {}").format(there, columns, keys, source.relation, found)
