"""The default store: a directory that the publisher and all consumers see."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from distributor.errors import StoreError, StoreFullError
from distributor.telemetry.faults import Point, point

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PIECE = 1 << 20
# EFBIG is what a limit on the size of files says instead of a full disk.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DirectoryStore:
    """Objects under `objects/ab/cdef…`, named by their sha256.

    An object appears under its name only when all of it is on the disk; a writer that dies leaves a temporary file
    that nobody reads.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

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

    def local_path(self, sha256: str) -> Path:
        """The object's file, its hash verified. Raises StoreError when the object is missing or damaged."""
        path = self._object(sha256)
        with self._reading(sha256, path), path.open("rb") as source:
            found = hashlib.file_digest(source, "sha256").hexdigest()
        self._verify(sha256, path, found)
        return path

    def _object(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise StoreError(f"{sha256!r} is no sha256", where=str(self.path))
        return self.path / "objects" / sha256[:2] / sha256[2:]

    def _keep(self, source: BinaryIO, sha256: str) -> str:
        path = self._object(sha256)
        with self._clear_errors(path):
            if self._is_intact(path, sha256):
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

    @staticmethod
    def _is_intact(path: Path, sha256: str) -> bool:
        if not path.exists():
            return False
        with path.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest() == sha256

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
