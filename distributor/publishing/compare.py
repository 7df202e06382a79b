"""All of the master's rows against the released image: what differs, with both sides. Set-based, in the ledger.

Everything is text, so equality is that of canonical texts, never a type's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import psycopg
from psycopg import sql

from distributor.capture.inspect import Source
from distributor.capture.rows import Block, copy_blocks
from distributor.model.dataset import DatasetSchema
from distributor.model.manifest import Counts
from distributor.publishing.image import image_table
from distributor.publishing.keys import refuse_bad_keys
from distributor.store.chunks import Op


class Comparison:
    """One dataset's comparison, inside the caller's transaction: `receive`, `changes`, `apply`.

    What is received is the whole table, so that what is not among it has gone.
    """

    def __init__(self, conn: psycopg.Connection, schema: DatasetSchema) -> None:
        self._conn = conn
        self._schema = schema
        self._image = image_table(schema.dataset)
        self._width = range(len(schema.columns))

    def receive(self, blocks: Iterable[Block]) -> None:
        """Takes rows of `capture.rows.all_rows` in."""
        columns = sql.SQL(", ").join(sql.SQL('{} text COLLATE "C"').format(_c(at)) for at in self._width)
        self._conn.execute(
            sql.SQL("CREATE TEMPORARY TABLE incoming (there boolean DEFAULT true, {}) ON COMMIT DROP").format(columns)
        )
        target = sql.SQL(", ").join(_c(at) for at in self._width)
        statement = sql.SQL("COPY pg_temp.incoming ({}) FROM STDIN (FORMAT csv)").format(target)
        with self._conn.cursor() as cursor, cursor.copy(statement) as copy:
            for block in blocks:
                copy.write(block.csv)

    def refuse_bad_keys(self, source: Source) -> None:
        """What was received must have a key that identifies every row. Raises BadInputError."""
        refuse_bad_keys(
            self._conn, source, sql.Identifier("pg_temp", "incoming"), [_c(at) for at in self._schema.key_positions]
        )

    def changes(self) -> Iterator[Block]:
        """The differences in the columns of a chunk: operation, before, after."""
        # Statistics of a table that was just made are none: say which join is right.
        self._conn.execute("SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on")
        self._conn.execute(self._delta())
        columns = [sql.Identifier("op"), *map(_b, self._width), *map(_a, self._width)]
        yield from copy_blocks(self._conn, sql.SQL("SELECT {} FROM pg_temp.delta").format(sql.SQL(", ").join(columns)))

    def apply(self, counts: Counts) -> None:
        """Brings the image to the master's state: only rows that differ are written."""
        self._conn.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
        names = self._schema.column_names
        others = [at for at in self._width if names[at] not in self._schema.key]
        if counts.deletes:
            self._conn.execute(
                sql.SQL("DELETE FROM {} AS m USING pg_temp.delta AS d WHERE m.ctid = d.at AND d.op = {}").format(
                    self._image, Op.DELETE.value
                )
            )
        if counts.updates:
            assigned = sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(names[at]), sql.Identifier("d", f"a{at}")) for at in others
            )
            self._conn.execute(
                sql.SQL("UPDATE {} AS m SET {} FROM pg_temp.delta AS d WHERE m.ctid = d.at AND d.op = {}").format(
                    self._image, assigned, Op.UPDATE.value
                )
            )
        if counts.inserts:
            self._conn.execute(
                sql.SQL("INSERT INTO {} SELECT {} FROM pg_temp.delta WHERE op = {}").format(
                    self._image, sql.SQL(", ").join(map(_a, self._width)), Op.INSERT.value
                )
            )

    def close(self) -> None:
        """Makes room for the next dataset's comparison."""
        self._conn.execute("DROP TABLE IF EXISTS pg_temp.incoming, pg_temp.delta")

    def _delta(self) -> sql.Composed:
        names, keys = self._schema.column_names, self._schema.key_positions
        joined = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("m", names[at]), sql.Identifier("i", f"c{at}")) for at in keys
        )
        before = [sql.Identifier("m", name) for name in names]
        after = [sql.Identifier("i", f"c{at}") for at in self._width]
        return sql.SQL(
            "CREATE TEMPORARY TABLE delta ON COMMIT DROP AS SELECT m.ctid AS at,"
            " CASE WHEN {known} IS NULL THEN {insert} WHEN i.there THEN {update} ELSE {delete} END AS op, {columns}"
            " FROM pg_temp.incoming AS i FULL JOIN {image} AS m ON {joined}"
            " WHERE ROW({before}) IS DISTINCT FROM ROW({after})"
        ).format(
            known=before[keys[0]],
            insert=Op.INSERT.value,
            update=Op.UPDATE.value,
            delete=Op.DELETE.value,
            columns=sql.SQL(", ").join(
                [
                    *(sql.SQL("{} AS {}").format(value, _b(at)) for at, value in enumerate(before)),
                    *(sql.SQL("{} AS {}").format(value, _a(at)) for at, value in enumerate(after)),
                ]
            ),
            image=self._image,
            joined=joined,
            before=sql.SQL(", ").join(before),
            after=sql.SQL(", ").join(after),
        )


def _a(at: int) -> sql.Identifier:
    return sql.Identifier(f"a{at}")


def _b(at: int) -> sql.Identifier:
    return sql.Identifier(f"b{at}")


def _c(at: int) -> sql.Identifier:
    return sql.Identifier(f"c{at}")
