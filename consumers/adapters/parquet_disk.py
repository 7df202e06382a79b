"""What the file system gives: files that are really on the disk, and a lock that holds between processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from shlex import quote

from consumers.adapters.base import Obstacle
from distributor.errors import UnreachableError

BUSY_SECONDS = 60.0
_POLL_SECONDS = 0.005


class Lock:
    """`flock` on a file: it also holds between two openings in one process, and ends with its process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = False

    def acquire(self) -> int:
        """The open file that has the lock until it is closed. Raises UnreachableError after BUSY_SECONDS, OSError."""
        held = os.open(self._path, os.O_RDWR)
        until = time.monotonic() + BUSY_SECONDS
        try:
            while not (taken := self._taken(held)) and time.monotonic() < until:
                self._waiting = True
                time.sleep(_POLL_SECONDS)
        finally:
            self._waiting = False
        if taken:
            return held
        os.close(held)
        raise UnreachableError(
            f"the lock was not free for {BUSY_SECONDS:g} s",
            where=str(self._path),
            mend="Is another consumer of this member stopped in the middle?",
        )

    def waits_for(self) -> Obstacle:
        """Who has it, while it is waited for."""
        if not self._waiting:
            return Obstacle()
        what, holder = f"the lock {self._path}", self._holder()
        if holder:
            return Obstacle(f"{what}, which process {holder} has", f"kill {holder}")
        return Obstacle(what, f"lsof {quote(str(self._path))}") if self._waiting else Obstacle()

    def _holder(self) -> int:
        """The process that has it, as Linux tells; 0 when that is not known."""
        with suppress(OSError, ValueError, IndexError):
            inode = self._path.stat().st_ino
            for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
                words = line.split()
                if words[1] == "FLOCK" and int(words[5].rsplit(":", 1)[1]) == inode:
                    return max(int(words[4]), 0)
        return 0

    @staticmethod
    def _taken(held: int) -> bool:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def written(path: Path, content: bytes) -> None:
    """Writes a file, and forces it to the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def synced(path: Path) -> None:
    """Forces a file, or the names in a directory, to the disk."""
    held = os.open(path, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def linked(source: Path, target: Path) -> None:
    """The same immutable file under another name, or a copy where there are no links."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
        synced(target)
