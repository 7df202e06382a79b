"""PostgreSQL as a member's store.

Readers look at the views in the member's configured schema, one per table, and at `distributor_release`
(environment, system, release, flipped_at) there. One statement always sees one release; several statements do in a
REPEATABLE READ transaction. What lies behind the views: postgresql_layout.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pyarrow as pa

from consumers.adapters.base import Obstacle, TableSpec
from consumers.adapters.postgresql_audit import PostgreSQLAuditing, audited
from consumers.adapters.postgresql_layout import Layout, slot_table
from consumers.adapters.postgresql_line import SNAPSHOT, Line, Transaction
from consumers.adapters.postgresql_load import PostgreSQLLoading
from consumers.adapters.postgresql_row import lock_row_and_ask, save_row
from consumers.adapters.postgresql_sight import DIVIDED, Made
from consumers.adapters.postgresql_text import canonical_rows
from consumers.adapters.postgresql_waits import obstacle
from distributor.errors import DistributorError, SystemAlteredError
from distributor.mapping.tables import TableMapping
from distributor.model.certificate import TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.rollout.member_row import MemberRow, SlotName
from distributor.settings import MemberSettings


class PostgreSQLAdapter:
    """One member in a database of its own. Connects when it is first used; a lost connection is opened again."""

    def __init__(self, settings: MemberSettings, directory: Path) -> None:
        self._url = settings.url
        self._control = Line(settings.url)
        # The member's row must be lockable while a load or an audit runs.
        self._bulk = Line(settings.url)
        self._audits = Line(settings.url)
        self._layout = Layout(self._control.where, settings.schema_)
        self._prepared: tuple[tuple[TableSpec, ...], frozenset[tuple[object, ...]]] | None = None
        self._made: dict[str, Made] = {}

    def prepare(self, environment: str, system: str, tables: Sequence[TableSpec]) -> None:
        """Creates what is missing, and leads readers to what the row says. Raises as `Layout.prepare` does, or
        UnreachableError.

        For the tables of the call before, it only looks whether somebody touched what readers look at.
        """
        wanted = tuple(tables)
        # Forgotten first: whatever fails here, the next call looks at everything again.
        before, self._prepared = self._prepared, None
        with self._control.transaction() as transaction:
            if before and self._made and before == (wanted, self._layout.sight(transaction, wanted)):
                self._prepared = before
                return
            made = self._layout.prepare(transaction, MemberRow(environment=environment, system=system), wanted)
            sight = self._layout.sight(transaction, wanted)
            transaction.commit()
        self._prepared = wanted, sight
        self._made = made

    @contextmanager
    def member(self) -> Iterator[PostgreSQLMember]:
        """The member's row under its lock; commits on normal exit."""
        try:
            with self._control.transaction() as transaction:
                yield PostgreSQLMember(transaction, self._layout)
                transaction.commit()
        except SystemAlteredError:
            self._prepared = None
            raise

    @contextmanager
    def loading(self, slot: SlotName) -> Iterator[PostgreSQLLoading]:
        """Begins a load. Raises UnreachableError when another one holds the slot for ten seconds."""
        with self._bulk.transaction() as transaction:
            # What a deferred trigger does at COMMIT would come after the read-back.
            transaction.later("SET CONSTRAINTS ALL IMMEDIATE")
            yield PostgreSQLLoading(transaction, slot, self._reason, self._made)

    def audit(self, slot: SlotName, table: TableSpec) -> TableCertificate:
        """The certificate of everything in a slot, computed by the database."""
        with self._bulk.transaction() as transaction:
            return audited(transaction, slot, table)

    @contextmanager
    def auditing(self) -> Iterator[PostgreSQLAuditing]:
        """A snapshot of the member's row and both slots."""
        with self._audits.transaction(SNAPSHOT) as transaction:
            yield PostgreSQLAuditing(transaction, self._layout, self._reason)

    def prepared(self) -> bool:
        """Whether this store was ever prepared."""
        with self._control.transaction() as transaction:
            return transaction.run("SELECT 1 FROM pg_namespace WHERE nspname = 'distributor'") != []

    def inspect(self, tables: Sequence[tuple[TableMapping, DatasetSchema]]) -> list[str]:
        """What is not as it was made."""
        with self.auditing() as snapshot:
            return snapshot.altered([TableSpec(mapping, schema) for mapping, schema in tables])

    def interrupt(self) -> None:
        """Ends an audit that runs."""
        self._audits.cancel()

    def read(self, slot: SlotName, table: TableSpec) -> pa.Table:
        """All rows of a slot as canonical texts; small tables only."""
        with self._bulk.transaction() as transaction:
            rows = transaction.run(canonical_rows(table, f"{slot_table(slot, table)} AS t"))
        columns = [pa.array([row[i] for row in rows], pa.string()) for i in range(len(table.schema.columns))]
        return pa.table(columns, schema=pa.schema([(name, pa.string()) for name in table.schema.column_names]))

    def waits_for(self) -> Obstacle:
        """Whose lock a session of ours waits for. The connection is made for the question and given back."""
        pids = [pid for line in (self._bulk, self._control) if (pid := line.backend_pid)]
        asking = Line(self._url)
        try:
            with asking.transaction() as transaction:
                return obstacle(transaction, pids)
        finally:
            asking.close()

    def close(self) -> None:
        """Gives all connections back."""
        self._control.close()
        self._bulk.close()
        self._audits.close()

    def _reason(self, error: psycopg.Error, table: TableSpec) -> DistributorError:
        """Why a statement failed: what is altered can be said more precisely than the server says it."""
        reason = self._control.translate(error)
        if not reason.retryable:
            # Whatever it was, the next `prepare` looks at everything again.
            self._prepared = None
            try:
                with self._control.transaction() as transaction:
                    self._layout.check(transaction, (table,))
            except DistributorError as found:
                return found
        return reason


class PostgreSQLMember:
    """The row as read under the lock."""

    def __init__(self, transaction: Transaction, layout: Layout) -> None:
        self._transaction = transaction
        self._layout = layout
        self.row, self._divided = lock_row_and_ask(transaction, DIVIDED)

    def save(self, row: MemberRow) -> None:
        """Writes the row; see `save_row`. Raises UnreachableError when columns change and readers hold their views."""
        if self._divided and row.active != self.row.active:
            self._layout.follow(self._transaction, row.active)
        save_row(self._transaction, self.row, row)
