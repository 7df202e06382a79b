"""A load: its batches are gathered in DuckDB, which spills to the load's own folder, and every touched file is written
anew once, at the end.

What is read back of a batch is what was gathered of it. That the files then hold just that is proven at the commit,
file by file and before the row is locked: the sums over a new file, as it is read from the disk, must be those over the
old one, less all that the batches replaced and plus all that they brought.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from consumers.adapters.base import Batch, TableSpec, Touched
from consumers.adapters.parquet_disk import synced
from consumers.adapters.parquet_engine import THREADS, Engine
from consumers.adapters.parquet_files import held_as, holding, ranges, rows_of, write
from consumers.adapters.parquet_state import Held, Part, State
from consumers.adapters.parquet_store import Version
from consumers.adapters.parquet_sums import (
    Quick,
    Summed,
    certified,
    key_bucket,
    names,
    quick,
    summed,
    summed_both,
    within,
)
from consumers.adapters.parquet_text import column_type, from_text, quoted
from distributor.errors import SystemAlteredError
from distributor.model.certificate import BUCKETS, TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.rollout.member_row import MemberRow, SlotName

COPIED_BYTES = 64 << 20
"""Octets of Parquet. In memory they are up to ten times as many, which DuckDB spills when that is too much."""
FEW = 1000
"""Rows of a batch that are summed up in one statement; of more, what was and what came are, one beside the other."""
Publish = Callable[[Callable[[State], State | None]], State | None]
"""Locks the row, asks for the next state, and puts it in force; None: nothing happens."""


@dataclass(slots=True)
class _Change:
    """What a load has gathered for one table, in a DuckDB table of its own: c0, c1, …, gone, bucket, batch.

    Every key stands there at most once. `sums` are by bucket: what the batches brought, less what they replaced.
    """

    table: TableSpec
    place: str
    parts: Sequence[Part]
    cleared: bool = False
    batches: int = 0
    copied: str = ""
    buckets: set[int] = field(default_factory=set)
    sums: dict[int, Quick] = field(default_factory=dict)

    @property
    def schema(self) -> DatasetSchema:
        return self.table.schema

    @property
    def keys(self) -> str:
        """The key's columns, for USING."""
        return ", ".join(f"c{at}" for at in self.schema.key_positions)

    def count(self, summed: Summed, sign: int) -> None:
        for bucket, sums in summed.quick.items():
            self.sums[bucket] = self.sums.get(bucket, Quick()).plus(sums, sign)


class ParquetLoading:
    """A load into one slot of the version that was in force when it began."""

    def __init__(
        self, directory: Path, version: Version, slot: SlotName, folder: Path, engine: Engine, publish: Publish
    ) -> None:
        self._directory = directory
        self._state = version.state
        self._slot = slot
        self._folder = folder
        self._engine = engine
        self._publish = publish
        self._changes: dict[str, _Change] = {}
        self._written = 0

    def clear(self, table: TableSpec) -> None:
        """Empties the table's slot, forgets what was gathered for it, and takes the table's shape from now on."""
        self._begin(table, (), cleared=True)

    def apply(self, batch: Batch) -> Touched:
        """Gathers one batch. `before` is read from the slot's files and from earlier batches of this load."""
        change = self._change(batch.table)
        with self._engine.session() as connection:
            overlap = self._gather(connection, change, batch)
            come = f"{change.place} WHERE batch = {change.batches}"
            buckets = {row[0] for row in connection.execute(f"SELECT DISTINCT bucket FROM {come}").fetchall()}
            change.buckets |= buckets
            if change.batches == 2:
                self._copy(connection, change)
            stored = holding(change.parts, buckets) if buckets else []
            replaced = self._replaced(change, stored, overlap=overlap)
            wanted = f"SELECT {', '.join(names(change.schema))} FROM {come} AND NOT gone"
            if batch.rows <= FEW:
                was, after = summed_both(connection, change.schema, replaced, wanted)
            else:
                with ThreadPoolExecutor(1) as beside:
                    before = beside.submit(self._summed, change.schema, replaced)
                    after = summed(connection, change.schema, wanted)
                    was = before.result()
        change.count(was, -1)
        change.count(after, 1)
        return Touched(was.certificate, after.certificate)

    def audit(self, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything that the slot holds by now: files, and what was gathered over them."""
        change = self._change(table)
        base = rows_of(self._directory, table.schema, holding(change.parts, only))
        with self._engine.session() as connection:
            return certified(connection, change.schema, self._rows(change, base), only)

    def commit(self, guard: Callable[[MemberRow], MemberRow | None]) -> MemberRow | None:
        """Writes and proves the new files, then asks the guard and puts them in force with the row.

        Raises SystemAlteredError when a file does not hold what it should.
        """
        made = {
            name: Held(shape=change.schema, parts=self._rewritten(change))
            for name, change in self._changes.items()
            if change.cleared or change.batches
        }
        synced(self._folder)
        base = {name: slots[self._slot] for name, slots in self._state.tables.items()}

        def next_state(found: State) -> State | None:
            # Another load was quicker: these files were made from what is not there any more.
            if {name: found.tables[name][self._slot] for name in base} != base:
                return None
            row = guard(found.row)
            return found.model_copy(update={"row": row}).with_slot(self._slot, made) if row else None

        state = self._publish(next_state)
        return state.row if state else None

    def _change(self, table: TableSpec) -> _Change:
        if table.name not in self._changes:
            held = held_as(self._directory, table, self._slot, self._state.tables.get(table.name))
            return self._begin(table, held.parts)
        return self._changes[table.name]

    def _begin(self, table: TableSpec, parts: Sequence[Part], *, cleared: bool = False) -> _Change:
        place = f"gathered_{list(self._state.tables).index(table.name)}"
        typed = zip(names(table.schema), table.schema.columns, strict=True)
        columns = ", ".join(f"{c} {column_type(column.type)}" for c, column in typed)
        rest = "gone BOOLEAN, bucket UTINYINT, batch INTEGER"
        with self._engine.session() as connection:
            connection.execute(f"CREATE OR REPLACE TABLE {place} ({columns}, {rest})")
        change = self._changes[table.name] = _Change(table, place, parts, cleared)
        return change

    def _gather(self, connection: duckdb.DuckDBPyConnection, change: _Change, batch: Batch) -> bool:
        """Lays the batch over what was gathered. Whether it replaces some of that, which is then kept in `replaced`."""
        change.batches += 1
        connection.register("upserts", batch.upserts)
        connection.register("deletes", batch.deletes)
        connection.execute(f"INSERT INTO {change.place} {_typed(change)}")
        connection.unregister("upserts")
        connection.unregister("deletes")
        if change.batches == 1:
            return False
        earlier, come = f"batch < {change.batches}", self._come(change)
        query = f"FROM (FROM {change.place} WHERE {earlier}) SEMI JOIN {come} USING ({change.keys})"
        if not connection.execute(f"SELECT count(*) {query}").fetchall()[0][0]:
            return False
        connection.execute(f"CREATE OR REPLACE TABLE replaced AS SELECT * {query}")
        same = " AND ".join(f"g.c{at} = r.c{at}" for at in change.schema.key_positions)
        connection.execute(f"DELETE FROM {change.place} AS g USING replaced AS r WHERE {same} AND g.{earlier}")
        return True

    def _come(self, change: _Change) -> str:
        """The keys of the newest batch."""
        return f"(SELECT {change.keys} FROM {change.place} WHERE batch = {change.batches})"

    def _replaced(self, change: _Change, stored: Sequence[Part], *, overlap: bool) -> str:
        """What the slot held under the keys of the newest batch, before it."""
        wanted, keys = ", ".join(names(change.schema)), change.keys
        found = f"SELECT * FROM ({self._stored(change, stored)}) SEMI JOIN {self._come(change)} USING ({keys})"
        if not overlap:
            return found
        earlier = f"SELECT {wanted} FROM replaced WHERE NOT gone"
        return f"SELECT * FROM ({found}) ANTI JOIN replaced USING ({keys}) UNION ALL {earlier}"

    def _copy(self, connection: duckdb.DuckDBPyConnection, change: _Change) -> None:
        """More batches than one look for their keys in all files: small ones are taken into DuckDB once for all."""
        if not 0 < sum(part.size for part in change.parts) <= COPIED_BYTES:
            return
        parts = enumerate(change.parts)
        rows = (
            f"SELECT *, {at} AS part FROM ({rows_of(self._directory, change.schema, [part])})" for at, part in parts
        )
        change.copied = f"{change.place}_stored"
        connection.execute(f"CREATE OR REPLACE TABLE {change.copied} AS {' UNION ALL '.join(rows)}")

    def _stored(self, change: _Change, parts: Sequence[Part]) -> str:
        """SELECT of what some of the files hold."""
        if not change.copied or not parts:
            return rows_of(self._directory, change.schema, parts)
        numbers = ", ".join(str(change.parts.index(part)) for part in parts)
        return f"SELECT {', '.join(names(change.schema))} FROM {change.copied} WHERE part IN ({numbers})"

    def _summed(self, schema: DatasetSchema, rows: str) -> Summed:
        with self._engine.session() as connection:
            return summed(connection, schema, rows)

    def _rows(self, change: _Change, base: str, condition: str = "true") -> str:
        """What the slot holds by now: stored rows, and what was gathered over them."""
        wanted = ", ".join(names(change.schema))
        return (
            f"SELECT * FROM ({base}) ANTI JOIN (SELECT * FROM {change.place} WHERE {condition}) USING ({change.keys})"
            f" UNION ALL SELECT {wanted} FROM {change.place} WHERE NOT gone AND {condition}"
        )

    def _rewritten(self, change: _Change) -> tuple[Part, ...]:
        """The table's files after the load; those that nothing touched as they are."""
        if change.cleared:
            return tuple(self._renewed(change, None))
        touched = holding(change.parts, change.buckets) if change.buckets else []
        with ThreadPoolExecutor(THREADS) as together:
            renewed = dict(zip(touched, together.map(lambda part: self._renewed(change, part), touched), strict=True))
        return tuple(new for part in change.parts for new in renewed.get(part, [part]))

    def _renewed(self, change: _Change, part: Part | None) -> list[Part]:
        """The files that take the place of one (of none: of all), written and proven."""
        first, last = (part.first, part.last) if part else (0, BUCKETS)
        old = [part] if part else []
        with self._engine.session() as connection:
            gathered = f"{change.place} WHERE bucket >= {first} AND bucket < {last}"
            come = connection.execute(f"SELECT count(*) FROM {gathered}").fetchall()[0][0]
            pieces = ranges(first, last, come + sum(each.rows for each in old))
            made = [self._written_part(connection, change, old, piece, apart=len(pieces) > 1) for piece in pieces]
            found = quick(connection, change.schema, rows_of(self._directory, change.schema, made))
            wanted = quick(connection, change.schema, rows_of(self._directory, change.schema, old))
        for bucket in range(first, last):
            wanted = wanted.plus(change.sums.get(bucket, Quick()))
        if found != wanted:
            raise SystemAlteredError(
                f"{change.table.name}: {found.rows} rows were written and {wanted.rows} should be there,"
                f" or they differ ({', '.join(each.file for each in made)})",
                where=str(self._directory),
                mend="Nothing of this load is in force. Does somebody else write here, or does the disk fail?",
            )
        return made

    def _written_part(
        self,
        connection: duckdb.DuckDBPyConnection,
        change: _Change,
        old: Sequence[Part],
        piece: tuple[int, int],
        apart: bool,
    ) -> Part:
        base = self._stored(change, old)
        if apart:
            base = within(connection, change.schema, base, *piece)
        rows = self._rows(change, base, f"bucket >= {piece[0]} AND bucket < {piece[1]}")
        self._written += 1
        part = write(connection, self._folder, change.table, self._written, piece, rows)
        synced(self._directory / part.file)
        return part


def _typed(change: _Change) -> str:
    """A batch's rows as they are stored; of those to delete only the key."""
    columns = list(zip(names(change.schema), change.schema.columns, strict=True))
    values = ", ".join(f"{from_text(quoted(column.name), column.type)} AS {c}" for c, column in columns)
    keys = ", ".join(
        f"{from_text(quoted(column.name), column.type) if column.name in change.schema.key else 'NULL'} AS {c}"
        for c, column in columns
    )
    bucket = key_bucket([quoted(name) for name in change.schema.key])
    rest = f"{bucket} AS bucket, {change.batches} AS batch"
    return f"SELECT {values}, false AS gone, {rest} FROM upserts UNION ALL SELECT {keys}, true, {rest} FROM deletes"
