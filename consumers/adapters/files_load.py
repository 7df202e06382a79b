"""One load into a slot: batches into copies of the tables, at the commit a new directory, read back and proved.

Nothing of a slot is written in place. The new directory becomes the slot when member.json says so; until then, and
whenever this process dies, the slot is the directory that it was.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from consumers.adapters.base import Batch, TableSpec, Touched
from consumers.adapters.files_copy import Copy, open_copies
from consumers.adapters.files_delta import NoDeltaError, same_content, write_delta
from consumers.adapters.files_disk import Lock, replace_with, sync_directory
from consumers.adapters.files_form import LOAD_ANEW
from consumers.adapters.files_home import LOADS, Home, State
from consumers.adapters.files_table import DELTA, check, file_name, scan, write
from consumers.adapters.streaming import Row, Sums, audited
from distributor.errors import SystemAlteredError, UnreachableError
from distributor.model.certificate import Certificate, TableCertificate
from distributor.rollout.member_row import MemberRow, Slot, SlotName

ABOUT = "delta.json"


@contextmanager
def begun(home: Home, slot: SlotName) -> Iterator[FilesLoading]:
    """A load, in a directory of its own that is gone afterwards. Raises as `Home.locked` does."""
    with ExitStack() as stack:
        with home.locked() as state:
            home.sweep(state)
            work = Path(tempfile.mkdtemp(prefix=LOADS, dir=home.inner))
            stack.callback(shutil.rmtree, work, ignore_errors=True)
            # Others take what nobody has locked for what a dead process left.
            stack.enter_context(Lock(work / "lock").locked())
            _pin(home, state, work)
        loading = FilesLoading(home, state, slot, work)
        stack.callback(loading.close)
        yield loading


class FilesLoading:
    """A load. Any number may run; only one that still finds what it has built upon commits."""

    def __init__(self, home: Home, state: State, slot: SlotName, work: Path) -> None:
        self._home = home
        self._form = home.form
        self._state = state
        self._slot = slot
        self._copies: dict[str, Copy] = {}
        self._made = 0
        self._work = work
        self._new = work / "new"
        self._connection = open_copies(work / "copies.db")

    def close(self) -> None:
        """Ends it."""
        self._connection.close()

    def clear(self, table: TableSpec) -> None:
        """Empties the table; the slot's file is not even read."""
        with self._serving():
            if (was := self._copies.pop(table.name, None)) is not None:
                was.drop()
            self._copies[table.name] = self._empty(table, cleared=True)

    def apply(self, batch: Batch) -> Touched:
        """Writes one batch and reads the touched records back. The table's file is read when its first batch comes."""
        with self._serving():
            return self._copy(batch.table).apply(batch)

    def audit(self, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything that the slot holds inside this load."""
        with self._serving():
            return audited(table, self._copy(table).rows(), only)

    def commit(self, guard: Callable[[MemberRow], MemberRow | None]) -> MemberRow | None:
        """Writes the new files, proves them, and asks the guard under the row's lock.

        Raises SystemAlteredError when a file that was read back is not base - before + after, UnreachableError when
        another load has committed meanwhile, or readers were led elsewhere, and the guard did not see it.
        """
        home = self._home
        with self._serving():
            self._new.mkdir()
            told = self._written()
            with home.locked() as state:
                row = guard(state.row)
                if row is None:
                    return None
                if _ground(state) != _ground(self._state):
                    raise UnreachableError("the slots have changed while this load ran", where=str(home.root))
                home.sweep(state)
                self._complete(state, row, told)
                after = self._after(state, row)
                self._new.rename(home.place(after, self._slot))
                sync_directory(home.inner / "slots")
                home.change(state, after)
                return row

    def _copy(self, table: TableSpec) -> Copy:
        if (found := self._copies.get(table.name)) is None:
            file, pinned = self._home.file(self._state, self._slot, table), self._pinned(self._slot, table)
            if not self._state.fits(self._slot, table):
                raise SystemAlteredError("this has another shape than what is loaded", where=str(file), mend=LOAD_ANEW)
            check(self._form, pinned, table, file)
            found = self._empty(table, cleared=False)
            found.fill(scan(self._form, pinned, table, file))
            self._copies[table.name] = found
        return found

    def _pinned(self, slot: SlotName, table: TableSpec) -> Path:
        return self._work / slot / file_name(table.name)

    def _empty(self, table: TableSpec, *, cleared: bool) -> Copy:
        self._made += 1
        return Copy(self._connection, self._made, table, self._form, cleared=cleared)

    def _written(self) -> Mapping[str, object]:
        """All new files, and what their deltas are relative to."""
        for name, copy in self._copies.items():
            write(self._form, self._new / file_name(name), copy.table.schema.column_names, copy.records())
        delta = self._new / DELTA
        delta.mkdir()
        return {
            name: self._compared(table, delta / file_name(name))
            for name, table in self._state.tables(self._slot).items()
        }

    def _compared(self, was: TableSpec, into: Path) -> dict[str, int] | dict[str, str]:
        """Writes a table's delta, and proves its new file on the way; how much there is in it, or why there is none."""
        copy = self._copies.get(was.name)
        try:
            return self._delta(was, copy, into)
        except NoDeltaError as reason:
            into.unlink(missing_ok=True)
            if copy is not None:
                with self._proved(copy) as stored:
                    deque(stored, maxlen=0)
            return {"why": str(reason)}

    def _delta(self, was: TableSpec, copy: Copy | None, into: Path) -> dict[str, int]:
        table, active = copy.table if copy else was, self._state.row.active
        if copy is not None and copy.cleared:
            raise NoDeltaError("it was loaded anew, from nothing")
        if not self._state.fits(active, table):
            raise NoDeltaError("it had another shape before")
        shown = self._pinned(active, table)
        if copy is not None:
            with self._proved(copy) as stored:
                return write_delta(self._form, table, shown, stored, into)
        kept = self._pinned(self._slot, table)
        if same_content(shown, kept):
            return write_delta(self._form, table, shown, scan(self._form, shown, table), into)
        return write_delta(self._form, table, shown, scan(self._form, kept, table), into)

    @contextmanager
    def _proved(self, copy: Copy) -> Iterator[Iterator[tuple[str, Row]]]:
        """The records of a new file as they are read back, to be read to the end."""
        path, sums = self._new / file_name(copy.table.name), Sums(copy.table.schema)

        def counted() -> Iterator[tuple[str, Row]]:
            for record, row in scan(self._form, path, copy.table):
                sums.add(row)
                yield record, row

        yield counted()
        if sums.certificate != copy.expected:
            raise SystemAlteredError(
                "what was read back is not what was written", where=str(path), mend="Is the disk in order?"
            )

    def _complete(self, state: State, row: MemberRow, told: Mapping[str, object]) -> None:
        """Tables that this load did not touch, and what the deltas are relative to."""
        for name in map(file_name, state.shapes[self._slot]):
            with suppress(FileExistsError):
                (self._new / name).hardlink_to(self._home.place(state, self._slot) / name)
        about = {**_known(row.slots[self._slot]), "since": _known(state.row.online), "tables": told}
        replace_with(self._new / DELTA / ABOUT, json.dumps(about, indent=2) + "\n")
        sync_directory(self._new)

    def _after(self, state: State, row: MemberRow) -> State:
        slot = self._slot
        place = f"{slot}-{int(state.places[slot].rpartition('-')[2]) + 1}"
        for copy in self._copies.values():
            state = state.having(slot, copy.table)
        return state.saying(row).model_copy(update={"places": {**state.places, slot: place}})

    @contextmanager
    def _serving(self) -> Iterator[None]:
        try:
            with self._home.serving():
                yield
        except sqlite3.Error as error:
            where = str(self._new.parent)
            raise UnreachableError(
                f"the load has no room to work: {error}", where=where, mend="Is the disk full?"
            ) from error


def _pin(home: Home, state: State, work: Path) -> None:
    """The files of both slots as they are now stay within reach of a load, whatever another one commits meanwhile."""
    for slot, shapes in state.shapes.items():
        (work / slot).mkdir()
        for name in map(file_name, shapes):
            (work / slot / name).hardlink_to(home.place(state, slot) / name)


def _ground(state: State) -> tuple[object, ...]:
    return state.row.active, state.places


def _known(slot: Slot) -> dict[str, object]:
    """By what importers know a slot: numbers come again when rows were held back, or put right; contents do not."""
    certificate = Certificate.model_validate_json(slot.certificate) if slot.certificate else None
    return {
        "release": slot.identity.release if slot.identity else 0,
        "content": certificate.digest if certificate else None,
    }
