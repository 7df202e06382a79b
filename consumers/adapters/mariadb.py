"""MariaDB as a member's store: tables and views in a database of the member's own.

Readers look at the views, one per table, and at `distributor_release` (environment, system, release, flipped_at in
UTC). One statement always sees one release; several statements do in a REPEATABLE READ transaction, which is
MariaDB's default. What lies behind the views, and why: mariadb_layout.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pymysql

from consumers.adapters.base import Batch, Obstacle, TableSpec
from consumers.adapters.mariadb_audit import MariaDBAuditing, audited
from consumers.adapters.mariadb_layout import Layout
from consumers.adapters.mariadb_line import SNAPSHOT, Line
from consumers.adapters.mariadb_load import MariaDBLoading
from consumers.adapters.mariadb_places import known
from consumers.adapters.mariadb_row import read_row, save_alone
from consumers.adapters.mariadb_sums import canonical_rows
from consumers.adapters.mariadb_values import unfit
from consumers.adapters.mariadb_waits import obstacle
from consumers.adapters.streaming import as_table
from distributor.errors import ConfigError, DistributorError, SystemAlteredError
from distributor.mapping.tables import TableMapping
from distributor.model.certificate import TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.model.unfit import Unfit
from distributor.rollout.member_row import MemberRow, SlotName
from distributor.settings import MemberSettings

_OPTIONS = "The one option is ssl_ca, the file of the authority that the server's certificate is proved by."


class MariaDBAdapter:
    """One member in a database of its own. Connects when it is first used; a lost connection is opened again."""

    def __init__(self, settings: MemberSettings, directory: Path) -> None:
        self._url = settings.url
        self._ca = _authority(settings.options, directory)
        self._control = Line(settings.url, ca=self._ca)
        # The member's row must be lockable while a load or an audit runs.
        self._bulk = Line(settings.url, ca=self._ca)
        self._audits = Line(settings.url, ca=self._ca)
        self._layout = Layout(self._control)

    def prepare(self, environment: str, system: str, tables: Sequence[TableSpec]) -> None:
        """Creates what is missing, and leads readers to what the row says. Raises as `Layout.prepare` does, or
        UnreachableError."""
        with self._control.statements() as statements:
            statements.lock(self._control.lock_name)
            self._layout.prepare(statements, MemberRow(environment=environment, system=system), tuple(tables))

    @contextmanager
    def member(self) -> Iterator[MariaDBMember]:
        """The member's row under its lock; what was saved is written on normal exit. Raises as `save_alone` does."""
        with self._control.statements() as statements:
            statements.lock(self._control.lock_name)
            member = MariaDBMember(read_row(statements))
            yield member
            if member.saved is not None:
                save_alone(statements, member.row, member.saved)

    @contextmanager
    def loading(self, slot: SlotName) -> Iterator[MariaDBLoading]:
        """Begins a load. Raises UnreachableError when another one holds the slot for ten seconds."""
        with self._bulk.transaction() as transaction:
            yield MariaDBLoading(transaction, slot, self._control.lock_name, self._reason)

    def unfit(self, batch: Batch) -> list[Unfit]:
        """What MariaDB cannot hold exactly."""
        return unfit(batch)

    def audit(self, slot: SlotName, table: TableSpec) -> TableCertificate:
        """The certificate of everything in a slot, computed by the database."""
        with self._bulk.transaction(SNAPSHOT) as transaction:
            return audited(transaction, slot, table, known(transaction).read(slot, table))

    @contextmanager
    def auditing(self) -> Iterator[MariaDBAuditing]:
        """A snapshot of the member's row and both slots."""
        with self._audits.transaction(SNAPSHOT) as transaction:
            yield MariaDBAuditing(transaction, self._layout, self._reason)

    def prepared(self) -> bool:
        """Whether this store was ever prepared."""
        with self._control.statements() as statements:
            return bool(statements.run("SHOW TABLES LIKE '\\_distributor\\_%'"))

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
            place = known(transaction).read(slot, table)
            return as_table(table, canonical_rows(transaction, table, place.source, place.in_slot(slot)))

    def waits_for(self) -> Obstacle:
        """Whose lock a session of ours waits for. The connection is made for the question and given back."""
        threads = [thread for line in (self._bulk, self._control) if (thread := line.thread_id)]
        asking = Line(self._url, ca=self._ca)
        try:
            with asking.statements() as statements:
                return obstacle(statements, threads, asking.lock_name)
        finally:
            asking.close()

    def close(self) -> None:
        """Gives all connections back."""
        self._control.close()
        self._bulk.close()
        self._audits.close()

    def _reason(self, error: pymysql.Error, table: TableSpec) -> DistributorError:
        """Why a statement failed: what is altered can be said more precisely than the server says it."""
        reason = self._control.translate(error)
        if isinstance(reason, SystemAlteredError):
            try:
                with self._control.transaction() as transaction:
                    self._layout.check(transaction, (table,))
            except DistributorError as found:
                return found
        return reason


class MariaDBMember:
    """The row as read under the lock. Nothing is written before the lock is given back: not all of a flip can be in a
    transaction (mariadb_row.py)."""

    def __init__(self, row: MemberRow) -> None:
        self.row = row
        self.saved: MemberRow | None = None

    def save(self, row: MemberRow) -> None:
        """Notes the row."""
        self.saved = row


def _authority(options: Mapping[str, str | int | bool], directory: Path) -> str:
    if unknown := options.keys() - {"ssl_ca"}:
        raise ConfigError(f"there is no option {min(unknown)!r}", where="options", mend=_OPTIONS)
    file = options.get("ssl_ca", "")
    if not isinstance(file, str):
        raise ConfigError(f"the option ssl_ca is a file, not {file!r}", where="options", mend=_OPTIONS)
    return str(directory / file) if file else ""
