"""A member's directory: immutable files, and one link that says which of them are in force.

    distributor.lock      flock: whoever changes the link has it
    current               a link to the version in force; the only thing that is ever replaced
    versions/N/           one state of the member, never altered: state.json (the row, and the files of both slots),
                          catalog.duckdb and release.json (what readers see, parquet_catalogue.py)
    data/LOAD/*.parquet   what one load wrote, never altered; both slots and many versions may name a file

A change writes a version whole, forces it to the disk, and renames a new link over `current`: that rename is the only
commit there is. So row, slots, catalogue and release never contradict each other, and a process that dies leaves
nothing but files that nobody names. `sweep` removes those.

A version that is no longer in force is kept as long as somebody may read it: `grace_seconds`, while a DuckDB has its
catalogue attached (its lock on the file tells), and while an audit or a load of ours has it pinned (`flock`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from consumers.adapters.common import check_parent
from consumers.adapters.parquet_disk import Lock, synced, written
from consumers.adapters.parquet_state import CATALOGUE, DATA, LOCK, STATE, VERSIONS, State
from distributor.errors import SystemAlteredError, UnreachableError
from distributor.telemetry import clock

_CURRENT = "current"
_LINK = ".current"
_BUSY = "busy"
_FLOCK = "hhqqi4x"


@dataclass(frozen=True, slots=True)
class Version:
    """One state of the member, and where it lies."""

    number: int
    folder: Path
    state: State


class Directory:
    """One member's directory. Raises UnreachableError when it cannot be read or written."""

    def __init__(self, path: Path, grace_seconds: int) -> None:
        self.path = path
        self._grace = grace_seconds
        self.lock = Lock(path / LOCK)

    def create(self) -> None:
        """Makes the directory if it is not there. Raises ConfigError when it cannot be, SystemAlteredError when it is
        somebody else's."""
        check_parent(self.path)
        with self._translated():
            self.path.mkdir(exist_ok=True)
            there = {entry.name for entry in self.path.iterdir()}
            if _CURRENT in there:
                return
            if strange := there - ({LOCK, VERSIONS, DATA, _LINK} if LOCK in there else set()):
                raise SystemAlteredError(
                    f"{min(strange)} is already there, and was not made here",
                    where=str(self.path),
                    mend="It was not touched. A member needs a directory of its own, empty at first.",
                )
            newest = self._numbers()[-1] if VERSIONS in there and self._numbers() else 0
            # The first one may have been left by a process that died before it was in force.
            if newest > 1:
                raise SystemAlteredError(
                    f"the link {_CURRENT} is gone, which says what is in force",
                    where=str(self.path),
                    mend=f"Put it back (ln -s {VERSIONS}/{newest:09} {_CURRENT}) if that is the newest whole version,"
                    " or move the directory away to have the system loaded anew.",
                )
            (self.path / LOCK).touch()
            for name in (VERSIONS, DATA):
                (self.path / name).mkdir(exist_ok=True)
            synced(self.path)

    def found(self) -> Version | None:
        """The version in force, if there ever was one."""
        return self.read() if (self.path / _CURRENT).is_symlink() else None

    def read(self) -> Version:
        """The version in force. Raises SystemAlteredError when there is none."""
        with self.pinned() as version:
            return version

    @contextmanager
    def pinned(self) -> Iterator[Version]:
        """The version in force, kept with all its files until the block ends."""
        with self._translated():
            version, held = self._pin()
        try:
            yield version
        finally:
            os.close(held)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all processes. Raises UnreachableError when somebody else is for longer than is waited."""
        with self._translated():
            if not (self.path / LOCK).exists():
                self._current()
                (self.path / LOCK).touch()
            held = self.lock.acquire()
        try:
            yield
        finally:
            os.close(held)

    def publish(self, before: Version | None, state: State, show: Callable[[Path], dict[str, str]]) -> Version:
        """Puts a state in force. `show` makes what readers see in the version's folder, and gives each file's sha256.
        Under the lock only."""
        number = before.number + 1 if before else 1
        folder = self.path / VERSIONS / f"{number:09}"
        with self._translated():
            # A process died between making it and putting it in force.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            state = state.model_copy(update={"seen": show(folder)})
            written(folder / STATE, state.model_dump_json().encode())
            synced(folder)
            synced(folder.parent)
            link = self.path / _LINK
            link.unlink(missing_ok=True)
            link.symlink_to(Path(VERSIONS) / folder.name)
            link.replace(self.path / _CURRENT)
            synced(self.path)
        return Version(number, folder, state)

    @contextmanager
    def writing(self, *, under_lock: bool = False) -> Iterator[Path]:
        """A folder under data/ for the files of one load, which nobody sweeps until the block ends. `under_lock`: the
        caller has the lock already."""
        # Nobody sweeps between its making and its lock.
        with nullcontext() if under_lock else self.locked(), self._translated():
            folder = self.path / DATA / clock.new_id()
            folder.mkdir()
            busy = os.open(folder / _BUSY, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(busy, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            with suppress(OSError):
                (folder / _BUSY).unlink(missing_ok=True)
            os.close(busy)
            # Whatever it holds now is named by a version, or by nobody.
            with suppress(OSError):
                folder.rmdir()

    def sweep(self) -> None:
        """Removes versions that nobody can read any more, and files that no version names. What cannot be removed now
        is removed another time."""
        with self._translated(), self.locked():
            current, held = self._pin()
            os.close(held)
            named = current.state.files()
            inode = (current.folder / CATALOGUE).stat().st_ino
            after: Path | None = None
            for number in reversed(self._numbers()):
                folder = self.path / VERSIONS / f"{number:09}"
                if number < current.number and after is not None:
                    kept = self._kept(folder, after, inode)
                    if kept is None:
                        shutil.rmtree(folder, ignore_errors=True)
                        continue
                    named |= kept
                after = folder
            for folder in (self.path / DATA).iterdir():
                self._sweep_load(folder, named)

    def _pin(self) -> tuple[Version, int]:
        while True:
            folder = self._current()
            try:
                held = os.open(folder / STATE, os.O_RDONLY)
            except FileNotFoundError:
                if self._current() == folder:
                    raise
                # Replaced and swept between the two.
                continue
            try:
                fcntl.flock(held, fcntl.LOCK_SH)
                with os.fdopen(held, "rb", closefd=False) as file:
                    state = State.model_validate_json(file.read())
            except ValueError as error:
                os.close(held)
                raise SystemAlteredError(
                    f"{folder / STATE} was altered", where=str(self.path), mend="Put it back from a backup."
                ) from error
            except BaseException:
                os.close(held)
                raise
            if self._current() == folder:
                return Version(int(folder.name), folder, state), held
            os.close(held)

    def _current(self) -> Path:
        try:
            return self.path / (self.path / _CURRENT).readlink()
        except FileNotFoundError as error:
            if not self.path.is_dir():
                raise UnreachableError(
                    "the directory is not there", where=str(self.path), mend="Is it mounted?"
                ) from error
            raise SystemAlteredError(
                "nothing is in force here",
                where=str(self.path),
                mend="Its consumer makes it when it starts, or stages.",
            ) from error

    def _numbers(self) -> list[int]:
        return sorted(int(entry.name) for entry in (self.path / VERSIONS).iterdir() if entry.name.isdigit())

    def _kept(self, folder: Path, after: Path, inode: int) -> set[str] | None:
        """The files that a version which is no longer in force is kept for; None when nobody needs it."""
        try:
            with os.fdopen(os.open(folder / STATE, os.O_RDONLY), "rb") as file:
                state = State.model_validate_json(file.read())
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return state.files()
            replaced = (after / STATE).stat().st_mtime
        except (OSError, ValueError):
            return None
        if clock.now().timestamp() - replaced < self._grace or _attached(folder / CATALOGUE, inode):
            return state.files(state.row.active)
        return None

    def _sweep_load(self, folder: Path, named: set[str]) -> None:
        with suppress(OSError):
            if (folder / _BUSY).exists():
                with (folder / _BUSY).open("rb") as busy:
                    fcntl.flock(busy, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for file in folder.iterdir():
                if f"{DATA}/{folder.name}/{file.name}" not in named:
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UnreachableError(
                f"{error.strerror or error}", where=str(error.filename or self.path), mend="Is the disk full?"
            ) from error


def _attached(catalogue: Path, current: int) -> bool:
    """Whether a DuckDB of another process has it attached: then it holds a lock on the file. One that is the current
    version's too is asked for there."""
    with suppress(OSError), catalogue.open("rb") as file:
        if os.fstat(file.fileno()).st_ino == current or sys.platform != "linux":
            return False
        # Asked, not taken: a reader must never meet a lock of ours.
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return bool(struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)
    return False
