"""Joined datasets: once the image is the next release's, their rows follow, by keys that changed on any side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import psycopg
import pyarrow as pa
from psycopg import sql

from distributor.capture.rows import Block, copy_blocks
from distributor.mapping.joined import Join
from distributor.model.certificate import EMPTY_TABLE
from distributor.model.dataset import DatasetSchema
from distributor.publishing import image, keyed
from distributor.publishing.changeset import ChangesetWriter, inserts
from distributor.publishing.image import image_table
from distributor.publishing.parent import Joined, Parent, Part
from distributor.store.base import Store
from distributor.store.chunks import AFTER, BEFORE, chunk_pieces

_TOUCHED = sql.Identifier("pg_temp", "touched")
_SLICE = 10_000
_NEW = "it is made of rows of several datasets, and begins anew"


def join(
    ledger: psycopg.Connection,
    store: Store,
    parent: Parent,
    wanted: Mapping[str, Join],
    schemas: Mapping[str, DatasetSchema],
    parts: Mapping[str, Part],
) -> Joined:
    """Brings the joined datasets' images to the next release; what that changed is written to the store.

    `schemas` and `parts` are the datasets' in the next release. Raises ConfigError for a reference that cannot be
    followed, StoreError.
    """
    found: dict[str, Part] = {}
    shapes: dict[str, DatasetSchema] = {}
    restarts: dict[str, tuple[str, ...]] = {}
    for one in wanted.values():
        schema = one.shape(schemas)
        begun = parent.schemas.get(one.name) == schema
        writer = ChangesetWriter(schema, store, parent.certificate(one.name) if begun else EMPTY_TABLE)
        if begun:
            _follow(ledger, store, one, schema, schemas, parts, writer)
        else:
            _begin(ledger, one, schema, schemas, writer)
            restarts[one.name] = (_NEW,)
        shapes[one.name] = schema
        found[one.name] = Part(tuple(writer.chunks), writer.counts, writer.certificate)
    return Joined(found, shapes, restarts)


def _begin(
    ledger: psycopg.Connection,
    one: Join,
    schema: DatasetSchema,
    schemas: Mapping[str, DatasetSchema],
    writer: ChangesetWriter,
) -> None:
    image.fill(ledger, schema, ())
    for reference in one.references:
        # Whoever changes a referenced row finds the rows that reference it.
        ledger.execute(
            sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(
                sql.Identifier(f"{one.dataset}.{reference.column}"[:60]),
                image_table(one.dataset),
                sql.Identifier(reference.column),
            )
        )
    columns, rows = _rows(one, schema, schemas)
    ledger.execute(sql.SQL("INSERT INTO {} SELECT {} FROM {}").format(image_table(schema.dataset), columns, rows))
    ledger.execute(sql.SQL("ANALYZE {}").format(image_table(schema.dataset)))
    everything = sql.SQL("SELECT * FROM {}").format(image_table(schema.dataset))
    for block in copy_blocks(ledger, everything):
        writer.add(inserts(schema, block))


def _follow(
    ledger: psycopg.Connection,
    store: Store,
    one: Join,
    schema: DatasetSchema,
    schemas: Mapping[str, DatasetSchema],
    parts: Mapping[str, Part],
    writer: ChangesetWriter,
) -> None:
    own = schemas[one.dataset]
    _begin_touched(ledger, own)
    for changed in _changed_keys(store, parts.get(one.dataset), own, own.column_names):
        _touch(ledger, own, changed)
    for reference in one.references:
        target = schemas[reference.target]
        for changed in _changed_keys(store, parts.get(reference.target), target, (*target.key, *reference.columns)):
            _touch_referencing(ledger, own, reference.column, changed[0])
    # Ten thousand look-ups cost the same in images of any size; the planner would rather read all of them.
    ledger.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
    last = ledger.execute("SELECT coalesce(max(place), 0) FROM pg_temp.touched").fetchone()
    columns, rows = _rows(one, schema, schemas)
    for start in range(0, int(last[0]) if last else 0, _SLICE):
        # Both sides are read over one connection, one after the other.
        blocks = list(_touched_rows(ledger, own, schema, columns, rows, start))
        for changes in keyed.differences(ledger, schema, blocks):
            keyed.apply(ledger, schema, changes)
            writer.add(changes)


def _changed_keys(
    store: Store, part: Part | None, schema: DatasetSchema, columns: tuple[str, ...]
) -> Iterator[list[list[str]]]:
    """Keys of the rows that differ in some of these columns, as one list for each key column."""
    for chunk in part.chunks if part else ():
        for piece in chunk_pieces(store, chunk, schema):
            before = [piece[BEFORE + name] for name in columns]
            after = [piece[AFTER + name] for name in columns]
            differing = piece.filter(keyed.any_distinct(before, after))
            if differing.num_rows:
                yield [_either(differing, name) for name in schema.key]


def _either(changes: pa.Table, name: str) -> list[str]:
    before, after = changes[BEFORE + name].to_pylist(), changes[AFTER + name].to_pylist()
    return [one if one is not None else str(other) for one, other in zip(before, after, strict=True)]


def _begin_touched(ledger: psycopg.Connection, own: DatasetSchema) -> None:
    keys = sql.SQL(", ").join(map(sql.Identifier, own.key))
    texts = sql.SQL(", ").join(sql.SQL('{} text COLLATE "C"').format(sql.Identifier(name)) for name in own.key)
    ledger.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_TOUCHED))
    ledger.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE touched (place bigint GENERATED ALWAYS AS IDENTITY, {}, UNIQUE ({})) ON COMMIT DROP"
        ).format(texts, keys)
    )


def _touch(ledger: psycopg.Connection, own: DatasetSchema, keys: list[list[str]]) -> None:
    names = sql.SQL(", ").join(map(keyed.BesideParameters, own.key))
    arrays = sql.SQL(", ").join(sql.SQL("%b::text[]") for _ in keys)
    statement = sql.SQL("INSERT INTO {} ({}) SELECT * FROM unnest({}) ON CONFLICT DO NOTHING")
    ledger.execute(statement.format(_TOUCHED, names, arrays), keys)


def _touch_referencing(ledger: psycopg.Connection, own: DatasetSchema, column: str, keys: list[str]) -> None:
    names = sql.SQL(", ").join(map(keyed.BesideParameters, own.key))
    found = sql.SQL(", ").join(keyed.BesideParameters("b", name) for name in own.key)
    statement = sql.SQL(
        "INSERT INTO {} ({}) SELECT {} FROM {} AS b WHERE b.{} = ANY(%b::text[]) ON CONFLICT DO NOTHING"
    ).format(_TOUCHED, names, found, image_table(own.dataset), keyed.BesideParameters(column))
    ledger.execute(statement, [keys])


def _rows(one: Join, schema: DatasetSchema, schemas: Mapping[str, DatasetSchema]) -> tuple[sql.Composed, sql.Composed]:
    """Columns and relation of the joined rows; `b` is the dataset itself."""
    columns = [sql.Identifier("b", name) for name in schemas[one.dataset].column_names]
    relation: sql.Composed = sql.SQL("{} AS b").format(image_table(one.dataset))
    for at, reference in enumerate(one.references):
        alias = f"r{at}"
        columns += [sql.Identifier(alias, name) for name in reference.columns]
        relation = sql.SQL("{} LEFT JOIN {} AS {} ON {} = {}").format(
            relation,
            image_table(reference.target),
            sql.Identifier(alias),
            sql.Identifier(alias, schemas[reference.target].key[0]),
            sql.Identifier("b", reference.column),
        )
    assert len(columns) == len(schema.columns)
    return sql.SQL(", ").join(columns), relation


def _touched_rows(
    ledger: psycopg.Connection,
    own: DatasetSchema,
    schema: DatasetSchema,
    columns: sql.Composed,
    rows: sql.Composed,
    start: int,
) -> Iterator[Block]:
    """Rows as `capture.rows.rows_of_keys` gives them: whether there is one, then its columns, of the key at least."""
    matches = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("j", f"c{at}"), sql.Identifier("t", name))
        for at, name in zip(own.key_positions, own.key, strict=True)
    )
    key = {at: sql.Identifier("t", name) for at, name in zip(own.key_positions, own.key, strict=True)}
    listed = sql.SQL(", ").join(key.get(at, sql.Identifier("j", f"c{at}")) for at in range(len(schema.columns)))
    named = sql.SQL(", ").join(sql.Identifier(f"c{at}") for at in range(len(schema.columns)))
    keys = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("b", name), sql.Identifier("t", name)) for name in own.key
    )
    query = sql.SQL(
        "SELECT (j.{} IS NOT NULL)::text, {} FROM pg_temp.touched AS t"
        " LEFT JOIN LATERAL (SELECT {} FROM {} WHERE {}) AS j({}) ON {} WHERE t.place > {} AND t.place <= {}"
    ).format(
        sql.Identifier(f"c{own.key_positions[0]}"),
        listed,
        columns,
        rows,
        keys,
        named,
        matches,
        start,
        start + _SLICE,
    )
    yield from copy_blocks(ledger, query)
