"""One load into a slot of PostgreSQL: COPY to staging, delete and upsert by key, both sides read back in SQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import reduce

import psycopg
import pyarrow as pa
import pyarrow.csv

from consumers.adapters import postgresql_write as write
from consumers.adapters.base import Batch, TableSpec, Touched
from consumers.adapters.postgresql_audit import audited
from consumers.adapters.postgresql_layout import create_slot, slot_table
from consumers.adapters.postgresql_line import Transaction
from consumers.adapters.postgresql_row import lock_row, save_row
from consumers.adapters.postgresql_sight import HOME, Made, made_tables, remember, same_shape
from consumers.adapters.postgresql_text import certificate, column_type, in_statement, listed, quoted
from distributor.errors import DistributorError, SystemAlteredError
from distributor.model.certificate import EMPTY_TABLE, TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.rollout.member_row import MemberRow, SlotName

_SLOT_LOCK = 0x6469_7374
# So few rows travel inside the statements: staging tables and COPY would cost more than the rows themselves.
_FEW = 200
# So many rows are written and read back while their pages are still in the server's cache, beside other members' pages.
_SLICE = 2_000


class PostgreSQLLoading:
    """A load in one transaction. Readers of the shadow, if any, are never waited for: it is all DML."""

    def __init__(
        self,
        transaction: Transaction,
        slot: SlotName,
        reason: Callable[[psycopg.Error, TableSpec], DistributorError],
        made: dict[str, Made],
    ) -> None:
        self._transaction = transaction
        self._slot = slot
        self._reason = reason
        # Shared with the adapter, which empties it when it is out of date.
        self._made = made
        # Tables that this load has made anew in another shape.
        self._anew: dict[str, DatasetSchema] = {}
        # Whether a table held no row when this load came to it: then COPY goes straight into it.
        self._empty: dict[str, bool] = {}
        # Staging tables in which this transaction has left rows.
        self._used: set[str] = set()
        # Rows of two loads must not mix, and a load that hangs must not be waited for without an end.
        transaction.later("SET LOCAL lock_timeout = '10s'")
        transaction.later("SELECT pg_advisory_xact_lock(%s, %s)", (_SLOT_LOCK, ord(slot)))

    def clear(self, table: TableSpec) -> None:
        """Empties the table's slot, or makes it anew in another shape: then its view does not look at it."""
        try:
            if self._fits(table):
                self._transaction.run(f"DELETE FROM {slot_table(self._slot, table)}")
            else:
                self._transaction.run(f"DROP TABLE {slot_table(self._slot, table)}")
                create_slot(self._transaction, self._slot, table)
                self._anew[table.name] = table.schema
        except psycopg.Error as error:
            raise self._reason(error, table) from error
        self._empty[table.name] = True

    def apply(self, batch: Batch) -> Touched:
        """Writes one batch and reads the touched rows back."""
        if not self._fits(batch.table):
            raise SystemAlteredError(
                f"{slot_table(self._slot, batch.table)} has another shape than what is loaded", mend="Load it anew."
            )
        try:
            return self._apply(batch)
        except psycopg.Error as error:
            raise self._reason(error, batch.table) from error

    def audit(self, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything that the slot holds by now."""
        try:
            return audited(self._transaction, self._slot, table, only)
        except psycopg.Error as error:
            raise self._reason(error, table) from error

    def commit(self, guard: Callable[[MemberRow], MemberRow | None]) -> MemberRow | None:
        """Locks the row, asks the guard, commits."""
        for name in (name for name, empty in self._empty.items() if empty):
            # Readers must not wait for autovacuum's next round to get plans that fit a table that was just filled.
            self._transaction.run(f"ANALYZE {quoted(f'{HOME}_{self._slot}', name)}")
        read = lock_row(self._transaction)
        row = guard(read)
        if row is None:
            self._transaction.rollback()
        else:
            for name, schema in self._anew.items():
                remember(self._transaction, self._slot, schema, name)
            save_row(self._transaction, read, row)
            self._transaction.commit()
            if self._anew:
                self._made.clear()
        return row

    def _fits(self, table: TableSpec) -> bool:
        """Whether the slot's table is of this shape, as far as is known: what is not so comes to light at once."""
        if table.name in self._anew:
            return same_shape(self._anew[table.name], table.schema)
        if table.name not in self._made:
            self._made.update(made_tables(self._transaction, (table,)))
        made = self._made.get(table.name)
        return made is None or same_shape(made.shapes[self._slot], table.schema)

    def _apply(self, batch: Batch) -> Touched:
        if batch.rows <= _FEW:
            return self._write_few(batch)
        if self._is_empty(batch.table) and not batch.deletes.num_rows:
            # A key that is there already shows itself: only then is there anything to look up.
            with suppress(psycopg.errors.UniqueViolation), self._transaction.savepoint():
                return self._fill(batch)
        self._empty[batch.table.name] = False
        parts = [self._write_staged(part) for part in _slices(batch)]
        return Touched(_sum(part.before for part in parts), _sum(part.after for part in parts))

    def _fill(self, batch: Batch) -> Touched:
        """Rows into an empty table: nothing was there before."""
        table = batch.table
        _, keys = self._staging(table.schema)
        place = slot_table(self._slot, table)
        self._copy(place, batch.upserts)
        self._copy(keys, batch.upserts.select(table.schema.key))
        return Touched(EMPTY_TABLE, certificate(self._transaction.run(write.read_by_key(table, place, keys))))

    def _write_few(self, batch: Batch) -> Touched:
        schema = batch.table.schema
        pieces = (batch.upserts, batch.deletes, pa.concat_tables([batch.upserts.select(schema.key), batch.deletes]))
        rows, keys, touched = (in_statement(piece, schema) for piece in pieces)
        return self._run(write.looked_up(batch.table, slot_table(self._slot, batch.table), rows, keys, touched))

    def _write_staged(self, batch: Batch) -> Touched:
        table, place = batch.table, slot_table(self._slot, batch.table)
        rows, keys = self._staging(table.schema)
        self._copy(rows, batch.upserts)
        self._copy(keys, batch.deletes)
        key = listed(table.schema.key)
        touched = f"(SELECT {key} FROM {rows} AS r UNION ALL SELECT {key} FROM {keys} AS k)"
        knows_old = self._transaction.server_version >= write.RETURNS_OLD and write.can_return(table.schema)
        statements = write.returned if knows_old else write.looked_up
        return self._run(statements(table, place, rows, keys, touched))

    def _run(self, statements: tuple[str, ...]) -> Touched:
        """All of them in one journey."""
        before, *_, after = self._transaction.run_all(*statements)
        return Touched(certificate(before), certificate(after))

    def _is_empty(self, table: TableSpec) -> bool:
        if table.name not in self._empty:
            found = self._transaction.run(f"SELECT 1 FROM {slot_table(self._slot, table)} LIMIT 1")
            self._empty[table.name] = not found
        return self._empty[table.name]

    def _staging(self, schema: DatasetSchema) -> tuple[str, str]:
        """The names of two empty temporary tables: for rows, and for keys."""
        names = []
        types = {column.name: column_type(column.type) for column in schema.columns}
        for prefix, columns in (("rows", schema.column_names), ("keys", schema.key)):
            name = f"pg_temp.{prefix}_{schema.fingerprint[:24]}"
            self._temporary(name, ", ".join(f"{quoted(column)} {types[column]}" for column in columns))
            names.append(name)
        return names[0], names[1]

    def _temporary(self, name: str, columns: str) -> None:
        """Makes a temporary table, or empties it."""
        if name in self._used:
            self._transaction.later(f"TRUNCATE {name}")
        else:
            create = f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({columns}) ON COMMIT DELETE ROWS"
            self._transaction.later(create)
        self._used.add(name)

    def _copy(self, place: str, rows: pa.Table) -> None:
        """NULL is an empty field without quotes, the empty string one with quotes: as pyarrow writes them."""
        if rows.num_rows:
            buffer = pa.BufferOutputStream()
            pyarrow.csv.write_csv(rows, buffer, pyarrow.csv.WriteOptions(include_header=False))
            columns = listed(rows.column_names)
            self._transaction.copy(f"COPY {place} ({columns}) FROM STDIN (FORMAT csv)", memoryview(buffer.getvalue()))


def _slices(batch: Batch) -> Iterator[Batch]:
    """Pieces of at most _SLICE upserts, the deletes in the first."""
    for start in range(0, max(batch.upserts.num_rows, 1), _SLICE):
        deletes = batch.deletes if start == 0 else batch.deletes.slice(0, 0)
        yield Batch(batch.table, batch.upserts.slice(start, _SLICE), deletes)


def _sum(parts: Iterable[TableCertificate]) -> TableCertificate:
    return reduce(TableCertificate.plus, parts, EMPTY_TABLE)
