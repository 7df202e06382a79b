"""What a store is: bytes by their sha256, append-only."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Store(Protocol):
    """Content-addressed bytes. All methods raise StoreError (StoreFullError when the disk is full)."""

    def put(self, content: bytes) -> str:
        """Keeps the bytes durably and returns their sha256 in hex; keeping them twice is keeping them once."""

    def put_file(self, path: Path) -> str:
        """Like `put`, for a finished file on the same machine."""

    def get(self, sha256: str) -> bytes:
        """The bytes, their hash verified. Raises StoreError naming the object when it is missing or damaged."""

    def local_path(self, sha256: str) -> Path:
        """A local file with the verified bytes, for readers that stream."""
