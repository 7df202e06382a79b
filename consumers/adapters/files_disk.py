"""Files and directories that are whole after a power cut, or not there: written, synced, then renamed into place."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from distributor.errors import DistributorError, SystemAlteredError, UnreachableError

LOCK_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.002


def sync(file: IO[str] | IO[bytes]) -> None:
    """Everything written so far survives a power cut."""
    file.flush()
    os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """So do the names in a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_with(path: Path, content: str, encoding: str = "utf-8") -> None:
    """The file has this content, or, whenever this process dies, still the one that it had."""
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding=encoding, newline="") as file:
        file.write(content)
        sync(file)
    new.replace(path)
    sync_directory(path.parent)


def lead(link: Path, target: str) -> None:
    """The symbolic link leads to the target, at once."""
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)
    sync_directory(link.parent)


def target_of(link: Path) -> str:
    """Where a symbolic link leads; empty when there is none."""
    try:
        return os.readlink(link)  # noqa: PTH115 - a Path would drop the difference between "x" and "x/."
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return ""
        raise


class Lock:
    """A lock between processes and between the adapters of one: on the open file, so it dies with its owner.

    The file names the process that has it, or had it last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held = False
        """Whether this very object has it. May be asked from any thread."""

    @contextmanager
    def locked(self, seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Waits for the lock. Raises UnreachableError after so many seconds, OSError."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            ends = time.monotonic() + seconds
            while not _taken(descriptor):
                if time.monotonic() >= ends:
                    raise UnreachableError(
                        f"process {self.owner()} has had the lock for {seconds:g} seconds",
                        where=str(self.path),
                        mend="Is it stopped?",
                    )
                time.sleep(_LOOK_AGAIN_SECONDS)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            self.held = True
            try:
                yield
            finally:
                self.held = False
        finally:
            os.close(descriptor)

    def owner(self) -> str:
        """The process that has it, or had it last."""
        with suppress(OSError):
            return self.path.read_text()
        return ""

    def taken(self) -> bool:
        """Whether somebody has it at this moment."""
        try:
            descriptor = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not _taken(descriptor)
        finally:
            os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def translated(error: OSError, where: str) -> DistributorError:
    """An error of the file system in the service's words: what is not there was taken away, all else can pass."""
    name = str(error.filename or where)
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        mend = "Put it back, or move the whole directory away to have the system loaded anew."
        return SystemAlteredError("this was taken away by hand", where=name, mend=mend)
    return UnreachableError(f"the directory does not serve: {error.strerror}", where=name, mend="Is its disk in order?")
