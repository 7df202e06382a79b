"""Rows of changed keys against the released image: what differs, and the image brought to it, a block at a time.

Everything is text, so equality is that of canonical texts, never a type's own. Few statements and no temporary
tables: most publishes are of a few rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from distributor.capture.rows import Block, copy_blocks, read_csv
from distributor.model.dataset import DatasetSchema
from distributor.publishing.image import image_table
from distributor.store.chunks import OP, Op, changeset_schema

Columns = list[Any]


class BesideParameters(sql.Identifier):
    """An identifier in a statement with parameters, where a single `%` begins one."""

    def as_bytes(self, context: psycopg.abc.AdaptContext | None = None) -> bytes:
        """The quoted name."""
        return super().as_bytes(context).replace(b"%", b"%%")


def differences(conn: psycopg.Connection, schema: DatasetSchema, blocks: Iterable[Block]) -> Iterator[pa.Table]:
    """What differs, in the columns of a chunk, for blocks of `capture.rows.rows_of_keys`.

    `conn` (the ledger's) is free while the caller has a table: it may `apply` it.
    """
    # A key is looked up by the index, in an image of any size; the planner would rather read all of it.
    conn.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
    names = schema.column_names
    for block in blocks:
        there, *after = block.table([OP, *names]).columns
        before = _before(conn, schema, [after[at] for at in schema.key_positions])
        is_there = pc.equal(there, pa.scalar("true"))
        for at in schema.key_positions:
            # A key that has gone comes alone, and is no row.
            after[at] = pc.if_else(is_there, after[at], pa.scalar(None, pa.string()))
        changed = any_distinct(before, after)
        is_known = pc.is_valid(before[schema.key_positions[0]])
        ops = pc.if_else(is_known, pc.if_else(is_there, Op.UPDATE.value, Op.DELETE.value), Op.INSERT.value)
        table = pa.table([ops, *before, *after], names=changeset_schema(schema).names).filter(changed)
        if table.num_rows:
            yield table


def apply(conn: psycopg.Connection, schema: DatasetSchema, changes: pa.Table) -> None:
    """Writes a table of `differences` to the image: only rows that differ."""
    ops = changes[OP]
    width = len(schema.columns)
    names = schema.column_names
    keys = [names[at] for at in schema.key_positions]
    others = [name for name in names if name not in keys]
    image = image_table(schema.dataset)
    given, matches = _given(names), _matches(keys, BesideParameters)
    statements = {
        Op.DELETE: sql.SQL("DELETE FROM {} AS m USING {} WHERE {}").format(image, _given(keys), matches),
        Op.UPDATE: sql.SQL("UPDATE {} AS m SET {} FROM {} WHERE {}").format(
            image,
            sql.SQL(", ").join(
                sql.SQL("{} = {}").format(BesideParameters(name), BesideParameters("d", name)) for name in others
            ),
            given,
            matches,
        ),
        Op.INSERT: sql.SQL("INSERT INTO {} SELECT * FROM {}").format(image, given),
    }
    for op, statement in statements.items():
        rows = changes.filter(pc.equal(ops, pa.scalar(op.value)))
        if rows.num_rows:
            first = 1 if op is Op.DELETE else 1 + width
            of = schema.key_positions if op is Op.DELETE else range(width)
            conn.execute(statement, [rows.column(first + at).to_pylist() for at in of])


def _before(conn: psycopg.Connection, schema: DatasetSchema, keys: Columns) -> Columns:
    """The image's rows of these keys, in the keys' order; nulls where there is none."""
    given = sql.SQL(
        "(SELECT {}, place FROM json_array_elements({}::json) WITH ORDINALITY AS e(key, place)) AS d"
    ).format(
        sql.SQL(", ").join(
            sql.SQL("key ->> {} AS {}").format(sql.Literal(at), sql.Identifier(name))
            for at, name in enumerate(schema.key)
        ),
        sql.Literal(json.dumps(list(zip(*(key.to_pylist() for key in keys), strict=True)), ensure_ascii=False)),
    )
    query = sql.SQL("SELECT d.place, {} FROM {} LEFT JOIN {} AS m ON {}").format(
        sql.SQL(", ").join(sql.Identifier("m", name) for name in schema.column_names),
        given,
        image_table(schema.dataset),
        _matches(schema.key, sql.Identifier),
    )
    csv = b"".join(block.csv for block in copy_blocks(conn, query))
    place, *columns = read_csv(csv, ["place", *schema.column_names]).columns
    order = pc.sort_indices(pc.cast(place, pa.int64()))
    return [column.take(order) for column in columns]


def any_distinct(before: Sequence[Any], after: Sequence[Any]) -> Any:
    """Per row, whether any column differs; two nulls are the same."""
    distinct: Any = None
    for one, other in zip(before, after, strict=True):
        both_null = pc.and_(pc.is_null(one), pc.is_null(other))
        differs = pc.and_not(pc.fill_null(pc.not_equal(one, other), pa.scalar(value=True)), both_null)
        distinct = differs if distinct is None else pc.or_(distinct, differs)
    return distinct


def _given(names: Iterable[str]) -> sql.Composed:
    """Columns as arrays; in binary, which is fifteen times faster to write for thousands of texts."""
    columns = list(names)
    return sql.SQL("unnest({}) AS d({})").format(
        sql.SQL(", ").join(sql.SQL("%b::text[]") for _ in columns), sql.SQL(", ").join(map(BesideParameters, columns))
    )


def _matches(keys: Iterable[str], named: type[sql.Identifier]) -> sql.Composed:
    return sql.SQL(" AND ").join(sql.SQL("{} = {}").format(named("m", name), named("d", name)) for name in keys)
