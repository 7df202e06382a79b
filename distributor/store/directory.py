"""The default store: a directory that the publisher and all consumers see."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from distributor.errors import StoreError, StoreFullError
from distributor.store.base import Kept
from distributor.store.names import Names
from distributor.telemetry.faults import Point, point

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PIECE = 1 << 20
EDITIONS = "editions"
# EFBIG is what a limit on the size of files says instead of a full disk.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DirectoryStore:
    """Objects under `objects/ab/cdef…`, named by their sha256; other names under `names/`; under `editions/` stores of
    the same kind.

    An object appears under its name only when all of it is on the disk; a writer that dies leaves a temporary file
    that nobody reads. Who relies on an object that was there already, and who deletes one, meet at a file lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names = Names(path / "names")

    def put(self, content: bytes) -> str:
        """Keeps the bytes durably and returns their sha256 in hex. Raises StoreFullError, StoreError."""
        return self._keep(io.BytesIO(content), hashlib.sha256(content).hexdigest())

    def put_file(self, path: Path) -> str:
        """Like `put`, for a finished file on the same machine; the file itself is left alone."""
        with self._clear_errors(path), path.open("rb") as source:
            sha256 = hashlib.file_digest(source, "sha256").hexdigest()
            source.seek(0)
            return self._keep(source, sha256)

    def get(self, sha256: str) -> bytes:
        """The bytes, their hash verified. Raises StoreError when the object is missing or damaged."""
        path = self._object(sha256)
        with self._reading(sha256, path):
            content = path.read_bytes()
        self._verify(sha256, path, hashlib.sha256(content).hexdigest())
        return content

    def holds(self, sha256: str) -> bool:
        """Whether the object is there; what is in it is not looked at."""
        return self._object(sha256).exists()

    def edition(self, version: str) -> DirectoryStore:
        """The store of an edition: see `Store.edition`."""
        return DirectoryStore(self.edition_path(version))

    def edition_path(self, version: str) -> Path:
        """Its directory, which the consumers of its environments are given, and no other."""
        if not _SHA256.fullmatch(version):
            raise StoreError(f"{version!r} is no version of a policy", where=str(self.path))
        return self.path / EDITIONS / version

    def editions(self) -> Iterator[str]:
        """The versions of which there are editions."""
        with self._clear_errors(self.path):
            found = self.path / EDITIONS
            yield from sorted(path.name for path in found.glob("*") if _SHA256.fullmatch(path.name))

    def discard(self, version: str) -> bool:
        """Takes an edition's directory away; see `Store.discard`."""
        path = self.edition_path(version)
        with self._clear_errors(path):
            if list(self.edition(version).objects()):
                return False
            shutil.rmtree(path, ignore_errors=True)
        return True

    def local_path(self, sha256: str) -> Path:
        """The object's file, its hash verified. Raises StoreError when the object is missing or damaged."""
        path = self._object(sha256)
        with self._reading(sha256, path), path.open("rb") as source:
            found = hashlib.file_digest(source, "sha256").hexdigest()
        self._verify(sha256, path, found)
        return path

    def link(self, kind: str, name: str, sha256: str) -> None:
        """Gives an object a name, durably. Raises StoreFullError, StoreError."""
        directory = self._names.directory(kind)
        with self._clear_errors(directory):
            self._make_directory(directory)
            self._names.link(kind, name, sha256)
            _sync_directory(directory)

    def linked(self, kind: str, name: str) -> str | None:
        """The object of that name; None when there is none. Raises StoreError."""
        try:
            return self._names.linked(kind, name)
        except OSError as error:
            raise StoreError(
                f"the name {kind}/{name} cannot be read: {error.strerror}",
                where=str(error.filename or self.path),
                mend="Mend the rights or the disk.",
            ) from error

    def links(self) -> Iterator[tuple[str, str, str]]:
        """Every name: kind, name, sha256."""
        with self._clear_errors(self.path):
            yield from self._names.links()

    def unlink(self, kind: str, name: str) -> None:
        """Takes a name away, if it is there."""
        with self._clear_errors(self.path):
            self._names.unlink(kind, name)

    def objects(self) -> Iterator[Kept]:
        """Every object; see `Store.objects`."""
        with self._clear_errors(self.path):
            for directory in sorted((self.path / "objects").glob("[0-9a-f][0-9a-f]")):
                for entry in os.scandir(directory):
                    sha256 = directory.name + entry.name
                    if not _SHA256.fullmatch(sha256):
                        continue
                    with suppress(FileNotFoundError):
                        found = entry.stat()
                        yield Kept(sha256, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def remove(self, sha256: str, before: datetime) -> bool:
        """Deletes an object that was last put before a time; see `Store.remove`."""
        path = self._object(sha256)
        # Nobody can put it again between the look at its age and the deletion.
        with self._clear_errors(path), self._locked(fcntl.LOCK_EX):
            try:
                if path.stat().st_mtime >= before.timestamp():
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    def sweep(self, before: datetime, *, dry_run: bool = False) -> int:
        """Deletes temporary files that were last written before a time; see `Store.sweep`."""
        found = 0
        with self._clear_errors(self.path):
            for path in self.path.glob("*/*/.partial-*"):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < before.timestamp():
                        found += 1
                        if not dry_run:
                            path.unlink()
        return found

    def _object(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise StoreError(f"{sha256!r} is no sha256", where=str(self.path))
        return self.path / "objects" / sha256[:2] / sha256[2:]

    def _keep(self, source: BinaryIO, sha256: str) -> str:
        path = self._object(sha256)
        with self._clear_errors(path):
            if path.exists() and self._is_renewed(path, sha256):
                return sha256
            self._make_directory(path.parent)
            descriptor, name = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
            temporary = Path(name)
            try:
                with open(descriptor, "wb", closefd=True) as target:  # noqa: PTH123
                    while piece := source.read(_PIECE):
                        target.write(piece)
                    target.flush()
                    # Consumers may run as other users than the publisher.
                    os.fchmod(target.fileno(), 0o644)
                    os.fsync(target.fileno())
                point(Point.STORE_BEFORE_SAVE)
                temporary.rename(path)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            point(Point.STORE_AFTER_SAVE)
            _sync_directory(path.parent)
        return sha256

    def _make_directory(self, directory: Path) -> None:
        if directory.is_dir():
            return
        missing = [directory, *(above for above in directory.parents if not above.is_dir())]
        directory.mkdir(parents=True, exist_ok=True)
        for made in missing:
            _sync_directory(made.parent)

    def _is_renewed(self, path: Path, sha256: str) -> bool:
        """Whether the object is there whole; it is as young as a new one then."""
        try:
            with self._locked(fcntl.LOCK_SH):
                with path.open("rb") as source:
                    if hashlib.file_digest(source, "sha256").hexdigest() != sha256:
                        return False
                os.utime(path)
        except (FileNotFoundError, PermissionError):
            # Deleted meanwhile, or another user's: it is written once more.
            return False
        return True

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        writing = os.O_RDWR if how == fcntl.LOCK_EX else os.O_RDONLY
        descriptor = os.open(self.path / "lock", writing | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _reading(self, sha256: str, path: Path) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise StoreError(
                f"object {sha256} is missing",
                where=str(path),
                mend="Is this the publisher's store, and is it mounted? Else restore the file from a backup.",
            ) from error
        except OSError as error:
            raise StoreError(
                f"object {sha256} cannot be read: {error.strerror}",
                where=str(path),
                mend="Mend the rights or the disk; the object itself never changes.",
            ) from error

    @staticmethod
    def _verify(sha256: str, path: Path, found: str) -> None:
        if found != sha256:
            raise StoreError(
                f"object {sha256} is damaged: its content has the sha256 {found}",
                where=str(path),
                mend="Restore the file from a backup or from another copy of the store.",
            )

    @contextmanager
    def _clear_errors(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise StoreFullError(
                    f"the store is full: {error.strerror}",
                    where=str(self.path),
                    mend="Make room; the next attempt starts from the same place.",
                ) from error
            raise StoreError(
                f"the store cannot be written: {error.strerror}",
                where=str(error.filename or path),
                mend="Mend the rights or the path (`store.path` in the config).",
            ) from error


def _sync_directory(directory: Path) -> None:
    """Makes a rename inside the directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
