"""What a store is: bytes by their sha256, and a few names for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Kept:
    """An object as it lies in the store. `written_at`: when it was last put, in UTC; `bytes` as stored."""

    sha256: str
    bytes: int
    written_at: datetime


class Store(Protocol):
    """Content-addressed bytes. All methods raise StoreError (StoreFullError when the disk is full)."""

    def put(self, content: bytes) -> str:
        """Keeps the bytes durably and returns their sha256 in hex; keeping them twice is keeping them once.

        What is put again is young again: `remove` leaves it alone.
        """

    def put_file(self, path: Path) -> str:
        """Like `put`, for a finished file on the same machine."""

    def get(self, sha256: str) -> bytes:
        """The bytes, their hash verified. Raises StoreError naming the object when it is missing or damaged."""

    def holds(self, sha256: str) -> bool:
        """Whether the object is there; what is in it is not looked at."""

    def edition(self, version: str) -> Store:
        """The store of an edition, by the version of its masking policy: a directory of its own, with objects and names
        of its own, so that nobody who is given that one comes to anything else."""

    def editions(self) -> Iterator[str]:
        """The versions of which there are editions."""

    def discard(self, version: str) -> bool:
        """Takes away the directory of an edition without objects; False when it has some."""

    def local_path(self, sha256: str) -> Path:
        """A local file with the verified bytes, for readers that stream."""

    def link(self, kind: str, name: str, sha256: str) -> None:
        """Gives an object a name, durably; the name may have been another object's until then, and never is nobody's.

        Kinds and names are letters, digits and `-`, at most 128.
        """

    def linked(self, kind: str, name: str) -> str | None:
        """The sha256 of the object of that name; None when there is none."""

    def links(self) -> Iterator[tuple[str, str, str]]:
        """Every name that there is: kind, name, sha256."""

    def unlink(self, kind: str, name: str) -> None:
        """Takes a name away, if it is there. The object stays."""

    def objects(self) -> Iterator[Kept]:
        """Every object, in no order. What comes or goes meanwhile may be among them or not."""

    def remove(self, sha256: str, before: datetime) -> bool:
        """Deletes an object that was last put before a time; False when it is younger, or not there."""

    def sweep(self, before: datetime, *, dry_run: bool = False) -> int:
        """Deletes what writers that died before a time have left behind; returns how many files."""
