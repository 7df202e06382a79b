"""One load into a slot of MariaDB: keys to a temporary table, rows upserted, both sides read back by the keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

import pymysql
from pymysql.constants import ER

from consumers.adapters.base import Batch, TableSpec, Touched
from consumers.adapters.mariadb_audit import audited, certificate
from consumers.adapters.mariadb_line import Transaction
from consumers.adapters.mariadb_places import Place, known, move
from consumers.adapters.mariadb_row import flips, read_row, save_row
from consumers.adapters.mariadb_sums import of_few
from consumers.adapters.mariadb_text import TEXT, column_types, is_text, listed, quoted
from consumers.adapters.mariadb_values import values
from distributor.errors import DistributorError, SystemAlteredError
from distributor.model.certificate import EMPTY_TABLE, TableCertificate
from distributor.rollout.member_row import MemberRow, SlotName

# So many rows are written and read back while their pages are still in the server's cache.
_SLICE = 2_000
_KEYS = "_distributor_keys"
_GONE = "_gone"


class MariaDBLoading:
    """A load in one transaction. Readers are never waited for: it is all DML, in rows that nobody looks at."""

    def __init__(
        self,
        transaction: Transaction,
        slot: SlotName,
        lock: str,
        reason: Callable[[pymysql.Error, TableSpec], DistributorError],
    ) -> None:
        self._transaction = transaction
        self._slot: SlotName = slot
        self._lock = lock
        self._reason = reason
        # Where the slot has its tables, as far as this load has come to them.
        self._places: dict[str, Place] = {}
        # Whether a table held no row when this load came to it: then nothing is there to be read before a write.
        self._empty: dict[str, bool] = {}
        # Of which table the temporary table has the keys' types.
        self._keyed = ""
        # Rows of two loads must not mix.
        transaction.run(f"SELECT 1 FROM _distributor_slot WHERE slot = '{slot}' FOR UPDATE")

    def clear(self, table: TableSpec) -> None:
        """Empties the table's slot, or moves it to the place of another shape; that has no rows of it."""
        there = known(self._transaction)
        before, place = there.of(self._slot, table.name), there.fitting(table)
        if place is None:
            raise SystemAlteredError(f"no place of this shape was made for {table.name}", mend="Prepare it first.")
        with self._fitting(table):
            for each in {before.number: before, place.number: place}.values():
                self._transaction.run(f"DELETE t FROM {each.source} WHERE {each.in_slot(self._slot)}")
            if place.number != before.number:
                move(self._transaction, self._slot, place)
        self._places[table.name] = place
        self._empty[table.name] = True

    def apply(self, batch: Batch) -> Touched:
        """Writes one batch and reads the touched rows back."""
        with self._fitting(batch.table):
            parts = [self._write(part) for part in _slices(batch)]
        return Touched(_sum(part.before for part in parts), _sum(part.after for part in parts))

    def audit(self, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything that the slot holds by now."""
        with self._fitting(table):
            return audited(self._transaction, self._slot, table, self._place(table), only)

    def commit(self, guard: Callable[[MemberRow], MemberRow | None]) -> MemberRow | None:
        """Locks the row, asks the guard, commits."""
        self._transaction.lock(self._lock)
        read = read_row(self._transaction)
        row = guard(read)
        if row is None:
            self._transaction.rollback()
        else:
            save_row(self._transaction, row, flips=flips(read, row))
            self._transaction.commit()
        return row

    def _place(self, table: TableSpec) -> Place:
        if table.name not in self._places:
            self._places[table.name] = known(self._transaction).read(self._slot, table)
        return self._places[table.name]

    def _write(self, batch: Batch) -> Touched:
        table = batch.table
        self._stage_keys(batch)
        if self._is_empty(table) and not batch.deletes.num_rows and self._fill(batch):
            return Touched(EMPTY_TABLE, self._stored(table))
        self._empty[table.name] = False
        before = self._stored(table)
        if batch.deletes.num_rows:
            self._transaction.run(f"DELETE t FROM {self._touched(table)} WHERE k.{_GONE}")
        rest = [quoted(name) for name in table.schema.column_names if name not in table.schema.key]
        slot = quoted(self._place(table).mark)
        news = ", ".join(f"{name} = VALUES({name})" for name in rest) or f"{slot} = {slot}"
        self._insert(batch, f" ON DUPLICATE KEY UPDATE {news}")
        return Touched(before, self._stored(table))

    def _fill(self, batch: Batch) -> bool:
        """Rows into an empty table. A key that is there already shows itself: then False, and nothing was written."""
        self._transaction.run("SAVEPOINT filling")
        try:
            self._insert(batch)
        except pymysql.IntegrityError as error:
            if error.args[0] != ER.DUP_ENTRY:
                raise
            self._transaction.run("ROLLBACK TO SAVEPOINT filling")
            return False
        return True

    def _insert(self, batch: Batch, or_else: str = "") -> None:
        place = self._place(batch.table)
        into = f"{quoted(place.table)} ({listed((place.mark, *batch.table.schema.column_names))})"
        for piece in values(f"'{self._slot}'", batch.upserts, batch.table.schema):
            self._transaction.run(f"INSERT INTO {into} VALUES {piece}{or_else}")

    def _is_empty(self, table: TableSpec) -> bool:
        """Whether no row can be there before the next write; asked once per table and load."""
        if table.name not in self._empty:
            place = self._place(table)
            query = f"SELECT 1 FROM {place.source} WHERE {place.in_slot(self._slot)} LIMIT 1"
            self._empty[table.name] = not self._transaction.run(query)
        return self._empty[table.name]

    def _stored(self, table: TableSpec) -> TableCertificate:
        """What stands under the staged keys."""
        return certificate(of_few(self._transaction, table, self._touched(table)))

    def _touched(self, table: TableSpec) -> str:
        """The staged keys `k` with the rows `t` under them, found key by key."""
        place = self._place(table)
        same = " AND ".join(f"t.{name} = k.{name}" for name in map(quoted, table.schema.key))
        return f"{_KEYS} AS k STRAIGHT_JOIN {place.source} ON {place.in_slot(self._slot)} AND {same}"

    def _stage_keys(self, batch: Batch) -> None:
        schema = batch.table.schema
        if self._keyed == batch.table.name:
            self._transaction.run(f"DELETE FROM {_KEYS}")
        else:
            types = column_types(schema)
            texts = {column.name for column in schema.columns if is_text(column.type)}
            columns = (f"{quoted(n)} {types[n]}{f' {TEXT}' if n in texts else ''} NOT NULL" for n in schema.key)
            # In memory: it is emptied for every slice, and never rolled back to.
            self._transaction.run(
                f"CREATE OR REPLACE TEMPORARY TABLE {_KEYS} ({', '.join(columns)}, {_GONE} BOOLEAN NOT NULL)"
                " ENGINE = MEMORY"
            )
            self._keyed = batch.table.name
        for rows, gone in ((batch.upserts.select(schema.key), "FALSE"), (batch.deletes, "TRUE")):
            for piece in values(gone, rows, schema):
                self._transaction.run(f"INSERT INTO {_KEYS} ({_GONE}, {listed(schema.key)}) VALUES {piece}")

    @contextmanager
    def _fitting(self, table: TableSpec) -> Iterator[None]:
        try:
            yield
        except pymysql.Error as error:
            raise self._reason(error, table) from error


def _slices(batch: Batch) -> Iterator[Batch]:
    """Pieces of at most _SLICE upserts and as many deletes. By key: neighbours are found on one page."""
    order: Any = [(name, "ascending") for name in batch.table.schema.key]
    upserts, deletes = batch.upserts.sort_by(order), batch.deletes.sort_by(order)
    for start in range(0, max(upserts.num_rows, deletes.num_rows, 1), _SLICE):
        yield Batch(batch.table, upserts.slice(start, _SLICE), deletes.slice(start, _SLICE))


def _sum(parts: Iterable[TableCertificate]) -> TableCertificate:
    return reduce(TableCertificate.plus, parts, EMPTY_TABLE)
