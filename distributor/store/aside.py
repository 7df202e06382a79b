"""A store of which nothing is written: what is put lies beside it, in a directory that goes away."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributor.store.base import Store
from distributor.store.directory import DirectoryStore


class _Beside(DirectoryStore):
    def __init__(self, path: Path, store: Store) -> None:
        super().__init__(path)
        self._store = store

    def get(self, sha256: str) -> bytes:
        """Bytes that were put here, else the store's."""
        return super().get(sha256) if self._object(sha256).exists() else self._store.get(sha256)

    def local_path(self, sha256: str) -> Path:
        """A file that was put here, else the store's."""
        return super().local_path(sha256) if self._object(sha256).exists() else self._store.local_path(sha256)

    def holds(self, sha256: str) -> bool:
        """Whether the object was put here, or is in the store."""
        return super().holds(sha256) or self._store.holds(sha256)

    def edition(self, version: str) -> DirectoryStore:
        """The store's edition; what is put into it lies here."""
        return _Beside(self.edition_path(version), self._store.edition(version))

    def linked(self, kind: str, name: str) -> str | None:
        """The store's names; none are given here."""
        return self._store.linked(kind, name)


@contextmanager
def aside(store: Store) -> Iterator[Store]:
    """Everything that the store has, and what is put meanwhile. Raises StoreError."""
    with tempfile.TemporaryDirectory(prefix="distributor-plan-") as directory:
        yield _Beside(Path(directory), store)
