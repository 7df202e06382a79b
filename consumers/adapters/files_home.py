"""A member's directory: who keeps what where, and what readers see of it.

    current                       a symbolic link to _distributor/shown/N; readers look at nothing else
    _distributor/member.json      the member's row, the tables, where both slots lie, N
    _distributor/lock             taken for every look and every change
    _distributor/slots/a-7        one slot: a file per table, and in delta/ what its load changed
    _distributor/shown/N          what readers see: the files of a slot (hard links) and distributor_release.csv
    _distributor/shown/N.json     member.json as of that flip
    _distributor/load-…           a load that runs

A flip makes shown/N+1 and its .json, renames `current`, and writes member.json. The rename is the commit: who finds
`current` one ahead of member.json takes shown/N+1.json for the row, so that both say the same whenever a process died.
A load makes a new directory for its slot, and commits by writing member.json.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from consumers.adapters.base import TableSpec
from consumers.adapters.common import RELEASE, RELEASE_COLUMNS, Kept, told
from consumers.adapters.files_disk import Lock, lead, replace_with, sync_directory, target_of, translated
from consumers.adapters.files_form import LOAD_ANEW, Form
from consumers.adapters.files_table import DELTA, file_name, write
from distributor.errors import ConfigError, SystemAlteredError
from distributor.mapping.tables import TableMapping
from distributor.rollout.member_row import MemberRow, SlotName

CURRENT = "current"
LOADS = "load-"
_INNER = "_distributor"
_SHOWN = re.compile(rf"{_INNER}/shown/(\d+)")


class State(Kept):
    """What member.json says. `places` are names of directories in slots/, `shown` is the N of what readers see,
    `options` those of the form in which all files are written."""

    places: dict[SlotName, str]
    shown: int
    options: dict[str, str | int | bool]

    def tables(self, slot: SlotName) -> dict[str, TableSpec]:
        """The tables as a slot has them."""
        return {
            name: TableSpec(TableMapping(dataset=schema.dataset, into=name), schema)
            for name, schema in self.shapes[slot].items()
        }


class Home:
    """The directory of one member. Methods that take a state are called under the lock, and raise OSError."""

    def __init__(self, root: Path, form: Form) -> None:
        self.root = root
        self.form = form
        self.inner = root / _INNER
        self.current = root / CURRENT
        self.lock = Lock(self.inner / "lock")
        self._member = self.inner / "member.json"

    @contextmanager
    def locked(self) -> Iterator[State]:
        """The state, under the lock; what a dead process left half done is done. Raises SystemAlteredError when the
        directory was never prepared, UnreachableError."""
        with self.serving():
            if not self.inner.is_dir():
                raise self.unprepared()
            with self.lock.locked():
                state = self.settled()
                if state is None:
                    raise self.unprepared()
                yield state

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Errors of the file system in the service's words."""
        try:
            yield
        except OSError as error:
            raise translated(error, str(self.root)) from error

    def unprepared(self) -> SystemAlteredError:
        """Why there is no row."""
        return SystemAlteredError("this is no member's directory", where=str(self.root), mend="Start its consumer.")

    def settled(self) -> State | None:
        """What member.json says, or would, had the process that flipped last lived to write it; None: nothing yet."""
        state, ahead = self._read(self._member), self.linked()
        if ahead and ahead == (state.shown if state else 0) + 1 and (flipped := self._read(self._noted(ahead))):
            state = flipped
            self.write(state)
        if state is None and ahead:
            raise SystemAlteredError(
                "it is gone, and with it the member's row", where=str(self._member), mend=LOAD_ANEW
            )
        return state

    def linked(self) -> int:
        """The N that `current` leads to; 0 when it leads to nothing of ours."""
        found = _SHOWN.fullmatch(target_of(self.current))
        return int(found[1]) if found else 0

    def view(self, state: State) -> Path:
        """What readers see, past the link."""
        return self.inner / "shown" / str(state.shown)

    def place(self, state: State, slot: SlotName) -> Path:
        """Where a slot lies."""
        return self.inner / "slots" / state.places[slot]

    def file(self, state: State, slot: SlotName, table: TableSpec) -> Path:
        """A table's file in a slot."""
        return self.place(state, slot) / file_name(table.name)

    def write(self, state: State) -> None:
        """member.json says this."""
        replace_with(self._member, state.model_dump_json())

    def change(self, before: State, after: State) -> None:
        """Another row, and perhaps another place of a slot; readers follow when that concerns them."""
        if _sight(after) != _sight(before):
            after = after.model_copy(update={"shown": before.shown + 1})
            self.show(after)
        self.write(after)
        self._forget(after)

    def show(self, state: State) -> None:
        """Makes the directory that readers see, and leads them there."""
        view, place = self.view(state), self.place(state, state.row.active)
        if view.exists():
            # Of a process that died before it led anybody there.
            shutil.rmtree(view)
        view.mkdir(parents=True)
        for name in state.shapes[state.row.active]:
            os.link(place / file_name(name), view / file_name(name))
        if (place / DELTA).is_dir():
            (view / DELTA).mkdir()
            for path in (place / DELTA).iterdir():
                os.link(path, view / DELTA / path.name)
            sync_directory(view / DELTA)
        self.tell(state)
        replace_with(self._noted(state.shown), state.model_dump_json())
        self.lead(state)

    def tell(self, state: State) -> None:
        """Writes distributor_release."""
        path = self.view(state) / file_name(RELEASE)
        new = path.with_name(f".{path.name}.new")
        write(self.form, new, RELEASE_COLUMNS, [self.form.record(release_row(state.row))])
        new.replace(path)
        sync_directory(path.parent)

    def lead(self, state: State) -> None:
        """`current` leads to what readers shall see."""
        lead(self.current, f"{_INNER}/shown/{state.shown}")

    def sweep(self, state: State) -> None:
        """Removes what processes left that died, and nothing of one that lives."""
        self._forget(state)
        for path in self.inner.glob(f"{LOADS}*"):
            if not Lock(path / "lock").taken():
                shutil.rmtree(path, ignore_errors=True)

    def _forget(self, state: State) -> None:
        """The view before this one stays for readers who are still in it; older ones, and slots loaded over, go."""
        views = {str(state.shown), str(state.shown - 1)}
        for path in (self.inner / "shown").iterdir():
            if path.name.partition(".")[0] not in views:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        for path in (self.inner / "slots").iterdir():
            if path.name not in state.places.values():
                shutil.rmtree(path, ignore_errors=True)

    def _noted(self, number: int) -> Path:
        return self.inner / "shown" / f"{number}.json"

    def _read(self, path: Path) -> State | None:
        try:
            return State.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise SystemAlteredError("it cannot be read any more", where=str(path), mend=LOAD_ANEW) from error


def release_row(row: MemberRow) -> tuple[str | None, ...]:
    """The row of distributor_release, as canonical texts."""
    environment, system, release, flipped_at = told(row)
    return environment, system, str(release), _instant(flipped_at)


def check_names(where: str, form: Form, tables: Sequence[TableSpec]) -> None:
    """Raises ConfigError for names that cannot be files, or that some file systems take for one."""
    folded = [name.lower() for name in (RELEASE, *(table.name for table in tables))]
    for table in tables:
        name = table.name
        if folded.count(name.lower()) > 1:
            raise ConfigError(f"two names are one to some file systems: {name}", where=where)
        if "/" in name or "\0" in name or name.startswith("."):
            raise ConfigError(f"{name} is no name of a file", where=where, mend="Give the table another name (into).")
        try:
            form.record(table.schema.column_names).encode(form.encoding)
        except UnicodeEncodeError as error:
            raise ConfigError(f"{form.encoding} lacks a character of {name}'s header", where=where) from error


def _sight(state: State) -> tuple[object, ...]:
    return state.row.active, state.places[state.row.active], told(state.row)


def _instant(at: datetime | None) -> str | None:
    if at is None:
        return None
    text = at.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
    return f"{text.rstrip('0') if '.' in text else text}+00"
