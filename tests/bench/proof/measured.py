"""The PostgreSQL adapter with a window to its server processes, and one whose loads prove nothing. For figures only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from consumers.adapters import postgresql_write as write
from consumers.adapters.base import Batch, Touched
from consumers.adapters.postgresql import PostgreSQLAdapter
from consumers.adapters.postgresql_layout import slot_table
from consumers.adapters.postgresql_load import PostgreSQLLoading
from consumers.adapters.postgresql_text import in_statement
from distributor.model.certificate import EMPTY_TABLE
from distributor.rollout.member_row import SlotName

_NOTHING = Touched(EMPTY_TABLE, EMPTY_TABLE)


class MeasuredAdapter(PostgreSQLAdapter):
    """The adapter as it is."""

    proves = True

    @property
    def loading_pid(self) -> int | None:
        """The server process of its loads."""
        return self._bulk.backend_pid

    @property
    def auditing_pid(self) -> int | None:
        """The server process of its audits."""
        return self._audits.backend_pid


class UnprovenAdapter(MeasuredAdapter):
    """Writes the same rows in the same way and reads none of them back."""

    proves = False

    @contextmanager
    def loading(self, slot: SlotName) -> Iterator[PostgreSQLLoading]:
        """As the adapter's own, without sums."""
        with self._bulk.transaction() as transaction:
            transaction.later("SET CONSTRAINTS ALL IMMEDIATE")
            yield _UnprovenLoading(transaction, slot, self._reason)


class _UnprovenLoading(PostgreSQLLoading):
    """Deltas into a table that holds rows; what fills an empty table proves as before."""

    def _write_few(self, batch: Batch) -> Touched:
        rows, keys = (in_statement(piece, batch.table.schema) for piece in (batch.upserts, batch.deletes))
        return self._write(batch, rows, keys)

    def _write_staged(self, batch: Batch) -> Touched:
        rows, keys = self._staging(batch.table.schema)
        self._copy(rows, batch.upserts)
        self._copy(keys, batch.deletes)
        return self._write(batch, rows, keys)

    def _write(self, batch: Batch, rows: str, keys: str) -> Touched:
        place, schema = slot_table(self._slot, batch.table), batch.table.schema
        self._transaction.run_all(write.delete(place, keys, schema), write.upsert(place, rows, schema))
        return _NOTHING


def cpu_ms(pid: int | None) -> float | None:
    """Milliseconds that a process has been on a core; None where the kernel does not tell (Linux does)."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6
    return None
