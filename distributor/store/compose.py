"""Many changesets as one: the net delta of a chain, in the columns of a chunk.

The first `before` and the last `after` of every key count; what ends as it began vanishes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from distributor.errors import StoreError
from distributor.model.dataset import DatasetSchema
from distributor.store.base import Store
from distributor.store.chain import Chain, Direction, Step
from distributor.store.chunks import AFTER, BEFORE, OP, Op, changeset_schema, read_chunk

if TYPE_CHECKING:
    import duckdb

# Rows of all changesets together that one pass groups: what bounds memory is this, and DuckDB's limit behind it.
_PASS_ROWS = 100_000
# Wide rows: what is handed on at once must not weigh more than what is composed.
_BATCH_ROWS = 10_000
# A limit, not an allocation: a chain of 200 small releases was seen not to fit into 256 MB; at 1 GB it is untried.
_MEMORY = "1GB"


def net_delta(store: Store, chain: Chain, schema: DatasetSchema) -> Iterator[pa.Table]:
    """The net delta of one dataset in tables of at most CHUNK_ROWS rows, no key twice over all of them.

    Raises StoreError when a chunk is missing, damaged or of another shape.
    """
    steps = chain.touching(schema.dataset)
    if len(steps) == 1:
        for chunk in steps[0].chunks(schema.dataset):
            table = read_chunk(store, chunk, schema)
            yield table if steps[0].direction is Direction.FORWARD else reverse(table, schema)
    elif steps:
        yield from _composed(store, steps, schema)


def reverse(table: pa.Table, schema: DatasetSchema) -> pa.Table:
    """The changes that undo these."""
    wanted = changeset_schema(schema)
    opposite: dict[str, str] = {Op.INSERT: Op.DELETE, Op.DELETE: Op.INSERT}
    ops = [opposite.get(str(op), op) for op in table[OP].to_pylist()]
    names = schema.column_names
    columns = [table[AFTER + name] for name in names] + [table[BEFORE + name] for name in names]
    return pa.table([pa.array(ops, pa.string()), *columns], schema=wanted)


def _composed(store: Store, steps: tuple[Step, ...], schema: DatasetSchema) -> Iterator[pa.Table]:
    import duckdb

    rows = sum(chunk.rows for step in steps for chunk in step.chunks(schema.dataset))
    passes = 1 + rows // _PASS_ROWS
    changes = " UNION ALL ".join(_source(store, step, number, schema) for number, step in enumerate(steps))
    with tempfile.TemporaryDirectory(prefix="distributor-compose-") as directory:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": _MEMORY, "threads": 1, "temp_directory": directory, "preserve_insertion_order": False,
        }  # fmt: skip
        with duckdb.connect(config=config) as connection:
            for number in range(passes):
                yield from _one_pass(connection, _query(changes, schema, passes, number), schema)


def _one_pass(connection: duckdb.DuckDBPyConnection, query: str, schema: DatasetSchema) -> Iterator[pa.Table]:
    import duckdb

    wanted = changeset_schema(schema)
    try:
        for batch in connection.sql(query).to_arrow_reader(_BATCH_ROWS):
            if batch.num_rows:
                yield pa.Table.from_batches([batch]).rename_columns(wanted.names).cast(wanted)
    except duckdb.Error as error:
        raise StoreError(
            f"the changesets of {schema.dataset} cannot be composed: {str(error).splitlines()[0]}",
            where="compose",
            mend="Is there room in the temporary directory?",
        ) from error


def _query(changes: str, schema: DatasetSchema, passes: int, number: int) -> str:
    """First before (b…) and last after (a…) per key (k…); keys fall into `passes` parts by their hash."""
    width = range(len(schema.columns))
    keys = [f"k{i}" for i in range(len(schema.key))]
    first, last = ", ".join(f"f.b{i}" for i in width), ", ".join(f"l.a{i}" for i in width)
    same = " AND ".join(f"f.b{i} IS NOT DISTINCT FROM l.a{i}" for i in width)
    never_null = schema.key_positions[0]
    return f"""
        WITH part AS MATERIALIZED (SELECT * FROM ({changes}) WHERE hash({", ".join(keys)}) % {passes} = {number}),
        ends AS (SELECT {", ".join(keys)}, min(step) AS first, max(step) AS last FROM part GROUP BY {", ".join(keys)})
        SELECT CASE WHEN f.b{never_null} IS NULL THEN '{Op.INSERT}'
                    WHEN l.a{never_null} IS NULL THEN '{Op.DELETE}'
                    ELSE '{Op.UPDATE}' END, {first}, {last}
        FROM ends
        JOIN part AS f ON f.step = ends.first AND {" AND ".join(f"f.{k} = ends.{k}" for k in keys)}
        JOIN part AS l ON l.step = ends.last AND {" AND ".join(f"l.{k} = ends.{k}" for k in keys)}
        WHERE NOT ({same})
    """


def _source(store: Store, step: Step, number: int, schema: DatasetSchema) -> str:
    """One changeset, in the direction of its step, with its place in the chain and its key.

    Columns go by position: DuckDB takes names that differ by case only for one.
    """
    paths = ", ".join(_literal(str(store.local_path(chunk.sha256))) for chunk in step.chunks(schema.dataset))
    width = range(len(schema.columns))
    b, a = [f"b{i}" for i in width], [f"a{i}" for i in width]
    written = (*b, *a) if step.direction is Direction.FORWARD else (*a, *b)
    keys = ", ".join(f"coalesce(b{at}, a{at}) AS k{i}" for i, at in enumerate(schema.key_positions))
    return (
        f"SELECT {number} AS step, {keys}, {', '.join((*b, *a))}"
        f" FROM read_parquet([{paths}]) AS changeset(op, {', '.join(written)})"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
