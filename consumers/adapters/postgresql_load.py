"""One load into a slot of PostgreSQL: COPY to staging, delete and upsert by key, both sides read back in SQL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import psycopg
import pyarrow as pa
import pyarrow.csv

from consumers.adapters.base import Batch, TableSpec, Touched
from consumers.adapters.postgresql_layout import HOME, slot_table
from consumers.adapters.postgresql_line import Line, Transaction
from consumers.adapters.postgresql_row import lock_row, save_row
from consumers.adapters.postgresql_text import certificate, column_type, in_statement, listed, quoted, sums
from distributor.errors import DistributorError
from distributor.model.certificate import EMPTY_TABLE
from distributor.model.dataset import DatasetSchema
from distributor.rollout.member_row import MemberRow, SlotName

_SLOT_LOCK = 0x6469_7374
# So few rows travel inside the statements: staging tables and COPY would cost more than the rows themselves.
_FEW = 200


class PostgreSQLLoading:
    """A load in one transaction. Readers of the shadow, if any, are never waited for: it is all DML."""

    def __init__(
        self, transaction: Transaction, slot: SlotName, line: Line, check: Callable[[TableSpec], None]
    ) -> None:
        self._transaction = transaction
        self._slot = slot
        self._line = line
        self._check = check
        # Whether a table held no row when this load came to it: then COPY goes straight into it.
        self._empty: dict[str, bool] = {}
        # Staging tables in which this transaction has left rows.
        self._used: set[str] = set()
        # Rows of two loads must not mix, and a load that hangs must not be waited for without an end.
        transaction.later("SET LOCAL lock_timeout = '10s'")
        transaction.later("SELECT pg_advisory_xact_lock(%s, %s)", (_SLOT_LOCK, ord(slot)))

    def clear(self, table: TableSpec) -> None:
        """Empties the table's slot."""
        try:
            self._transaction.run(f"DELETE FROM {slot_table(self._slot, table)}")
        except psycopg.Error as error:
            raise self._reason(error, table) from error
        self._empty[table.name] = True

    def apply(self, batch: Batch) -> Touched:
        """Writes one batch and reads the touched rows back."""
        try:
            return self._apply(batch)
        except psycopg.Error as error:
            raise self._reason(error, batch.table) from error

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
            save_row(self._transaction, read, row)
            self._transaction.commit()
        return row

    def _apply(self, batch: Batch) -> Touched:
        table, key = batch.table, batch.table.schema.key
        if batch.rows <= _FEW:
            pieces = (batch.upserts, batch.deletes, pa.concat_tables([batch.upserts.select(key), batch.deletes]))
            return self._write(batch, *(in_statement(piece, table.schema) for piece in pieces))
        rows, keys = self._staging(table.schema)
        if self._is_empty(table) and not batch.deletes.num_rows:
            # A key that is there already shows itself: only then is there anything to look up.
            with suppress(psycopg.errors.UniqueViolation), self._transaction.savepoint():
                self._copy(slot_table(self._slot, table), batch.upserts)
                self._copy(keys, batch.upserts.select(key))
                return Touched(EMPTY_TABLE, certificate(self._transaction.run(self._sums(table, keys))))
        self._empty[table.name] = False
        self._copy(rows, batch.upserts)
        self._copy(keys, batch.deletes)
        return self._write(
            batch,
            rows,
            keys,
            f"(SELECT {listed(key)} FROM {rows} AS r UNION ALL SELECT {listed(key)} FROM {keys} AS k)",
        )

    def _write(self, batch: Batch, rows: str, keys: str, touched: str) -> Touched:
        """Deletes and upserts, and both sides read back, in one journey. The sources are relations, as SQL."""
        place, schema = slot_table(self._slot, batch.table), batch.table.schema
        look = self._sums(batch.table, touched)
        statements = [look]
        if batch.deletes.num_rows:
            statements.append(_delete(place, keys, schema))
        if batch.upserts.num_rows:
            statements.append(_upsert(place, rows, schema))
        before, *_, after = self._transaction.run_all(*statements, look)
        return Touched(certificate(before), certificate(after))

    def _is_empty(self, table: TableSpec) -> bool:
        if table.name not in self._empty:
            found = self._transaction.run(f"SELECT 1 FROM {slot_table(self._slot, table)} LIMIT 1")
            self._empty[table.name] = not found
        return self._empty[table.name]

    def _sums(self, table: TableSpec, keys: str) -> str:
        place, key = slot_table(self._slot, table), listed(table.schema.key)
        return sums(table, f"{place} AS t JOIN (SELECT {key} FROM {keys} AS k) AS k USING ({key})")

    def _staging(self, schema: DatasetSchema) -> tuple[str, str]:
        """Two empty temporary tables, for rows and for keys alone; made once per connection and shape."""
        names = []
        types = {column.name: column_type(column.type) for column in schema.columns}
        for prefix, columns in (("rows", schema.column_names), ("keys", schema.key)):
            name = f"pg_temp.{prefix}_{schema.fingerprint[:24]}"
            if name in self._used:
                self._transaction.later(f"TRUNCATE {name}")
            else:
                listing = ", ".join(f"{quoted(column)} {types[column]}" for column in columns)
                create = f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({listing}) ON COMMIT DELETE ROWS"
                self._transaction.later(create)
            self._used.add(name)
            names.append(name)
        return names[0], names[1]

    def _copy(self, place: str, rows: pa.Table) -> None:
        """NULL is an empty field without quotes, the empty string one with quotes: as pyarrow writes them."""
        if rows.num_rows:
            buffer = pa.BufferOutputStream()
            pyarrow.csv.write_csv(rows, buffer, pyarrow.csv.WriteOptions(include_header=False))
            columns = listed(rows.column_names)
            self._transaction.copy(f"COPY {place} ({columns}) FROM STDIN (FORMAT csv)", memoryview(buffer.getvalue()))

    def _reason(self, error: psycopg.Error, table: TableSpec) -> DistributorError:
        """Why a statement failed: what is altered can be said more precisely than the server says it."""
        reason = self._line.translate(error)
        if not reason.retryable:
            try:
                self._check(table)
            except DistributorError as found:
                return found
        return reason


def _delete(place: str, keys: str, schema: DatasetSchema) -> str:
    same = " AND ".join(f"t.{name} = k.{name}" for name in map(quoted, schema.key))
    return f"DELETE FROM {place} AS t USING {keys} AS k WHERE {same}"


def _upsert(place: str, incoming: str, schema: DatasetSchema) -> str:
    names = listed(schema.column_names)
    rest = [quoted(name) for name in schema.column_names if name not in schema.key]
    action = f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in rest)}" if rest else "NOTHING"
    source = f"SELECT {names} FROM {incoming} AS i"
    return f"INSERT INTO {place} ({names}) {source} ON CONFLICT ({listed(schema.key)}) DO {action}"
