"""Flat files as a member's store: a directory with a CSV file per table, for systems that import files.

Readers look at `current`, a symbolic link: `current/TABLE.csv`, `current/distributor_release.csv` and, where there is
one, `current/delta/TABLE.csv`. Who opens the directory, or resolves the link once, sees one release in all files until
the second flip after. What lies behind the link: files_home.py; what a record looks like: files_form.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from shlex import quote
from typing import IO

import pyarrow as pa

from consumers.adapters.base import Batch, Obstacle, TableSpec
from consumers.adapters.common import SLOTS, check_parent, located, refuse_options
from consumers.adapters.files_form import DEFAULTS, Form
from consumers.adapters.files_home import Home, State
from consumers.adapters.files_load import FilesLoading, begun
from consumers.adapters.files_sight import altered, prepare
from consumers.adapters.files_table import file_name, scanned
from consumers.adapters.streaming import Interruption, Row, StreamedAuditing, as_table, audited
from distributor.errors import SystemAlteredError
from distributor.mapping.tables import TableMapping
from distributor.model.certificate import TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.model.unfit import Unfit
from distributor.rollout.member_row import MemberRow, SlotName
from distributor.settings import MemberSettings


class FilesAdapter:
    """One member in a directory of its own. Nothing is open between two calls."""

    def __init__(self, settings: MemberSettings, directory: Path) -> None:
        refuse_options(settings, *DEFAULTS)
        self._form = Form(settings.options, settings.url)
        self._home = Home(located(settings, "files", directory), self._form)
        self._interruption = Interruption()

    def prepare(self, environment: str, system: str, tables: Sequence[TableSpec]) -> None:
        """Creates what is missing. Raises as `files_sight.prepare` does."""
        prepare(self._home, MemberRow(environment=environment, system=system), tables)

    @contextmanager
    def member(self) -> Iterator[FilesMember]:
        """The member's row, under the lock of the directory; commits on normal exit."""
        with self._home.locked() as state:
            member = FilesMember(state.row)
            yield member
            if member.saved is not None:
                self._home.change(state, state.saying(member.saved))

    def loading(self, slot: SlotName) -> AbstractContextManager[FilesLoading]:
        """Begins a load, which locks nothing until it commits."""
        return begun(self._home, slot)

    def audit(self, slot: SlotName, table: TableSpec) -> TableCertificate:
        """The certificate of everything in a slot's file."""
        with self._rows(slot, table) as rows:
            return audited(table, rows)

    @contextmanager
    def auditing(self) -> Iterator[FilesAuditing]:
        """A snapshot: the row, and the files of both slots, which stay what they are while they are open."""
        with ExitStack() as stack:
            with self._home.locked() as state:
                files = {
                    (slot, name): stack.enter_context(self._form.open(path))
                    for slot in SLOTS
                    for name in state.shapes[slot]
                    if (path := self._home.place(state, slot) / file_name(name)).exists()
                }
            with self._home.serving():
                yield FilesAuditing(self._home, state, files, self._interruption)

    def prepared(self) -> bool:
        """Whether this store was ever prepared."""
        check_parent(self._home.root)
        return self._home.inner.is_dir()

    def inspect(self, tables: Sequence[tuple[TableMapping, DatasetSchema]]) -> list[str]:
        """What is not as it was made."""
        with self.auditing() as snapshot:
            return snapshot.altered([TableSpec(mapping, schema) for mapping, schema in tables])

    def interrupt(self) -> None:
        """Ends an audit that runs."""
        self._interruption.strike()

    def read(self, slot: SlotName, table: TableSpec) -> pa.Table:
        """All rows of a slot as canonical texts; small tables only."""
        with self._rows(slot, table) as rows:
            return as_table(table, rows)

    def unfit(self, batch: Batch) -> list[Unfit]:
        """Values with a character that the encoding lacks."""
        return self._form.unfit(batch)

    def waits_for(self) -> Obstacle:
        """Whose lock on the directory is waited for. It is held for moments, unless a process stands still."""
        lock = self._home.lock
        if lock.held or not lock.taken() or lock.held:
            return Obstacle()
        what = f"the lock {lock.path}, which process {lock.owner() or 'unknown'} has"
        return Obstacle(what, f"lsof {quote(str(lock.path))}")

    def close(self) -> None:
        """There is nothing to give back."""

    @contextmanager
    def _rows(self, slot: SlotName, table: TableSpec) -> Iterator[Iterator[Row]]:
        with self._home.locked() as state:
            path = self._home.file(state, slot, table)
            file = self._form.open(path)
        with file, self._home.serving():
            yield (row for _, row in scanned(self._form, file, table, str(path)))


class FilesMember:
    """The row as read under the lock; what is saved is written when the transaction ends."""

    def __init__(self, row: MemberRow) -> None:
        self.row = row
        self.saved: MemberRow | None = None

    def save(self, row: MemberRow) -> None:
        """Keeps the row for the end of the transaction."""
        self.saved = row


class FilesAuditing(StreamedAuditing):
    """Files that were opened at one moment."""

    def __init__(
        self,
        home: Home,
        state: State,
        files: dict[tuple[SlotName, str], IO[str]],
        interruption: Interruption,
    ) -> None:
        super().__init__(state.row, self._opened, interruption)
        self._home = home
        self._state = state
        self._files = files

    def altered(self, tables: Sequence[TableSpec]) -> list[str]:
        """What is not as it was made, or leads readers elsewhere than the row says: now, not at the snapshot's
        moment, for names cannot be kept."""
        with self._home.locked() as state:
            return altered(self._home, state, tables)

    def _opened(self, slot: SlotName, table: TableSpec) -> Iterator[Row]:
        where = str(self._home.file(self._state, slot, table))
        if (file := self._files.get((slot, table.name))) is None:
            raise SystemAlteredError("this was taken away by hand", where=where)
        return (row for _, row in scanned(self._home.form, file, table, where))
