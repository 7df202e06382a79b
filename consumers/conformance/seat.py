"""Where an adapter sits its exam: what its author must give beside the adapter itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from consumers.adapters.base import Adapter, TableSpec
from consumers.conformance.samples import Row


@dataclass(frozen=True, slots=True)
class Sight:
    """What a reader saw in one snapshot: `distributor_release`'s release, and a table's rows as canonical texts."""

    release: int
    rows: frozenset[Row]


class Reader(Protocol):
    """A user of the system, on a connection of its own that it keeps. It shares no code with the adapter."""

    def look(self, table: TableSpec) -> Sight:
        """Release and rows, in one snapshot."""

    def close(self) -> None:
        """Gives the connection back."""


class Seat(Protocol):
    """One fresh, empty store."""

    def adapter(self) -> Adapter:
        """A new adapter on this store, as another process would make it."""

    def reader(self) -> Reader:
        """A new reader of this store."""

    def drop_column(self, table: TableSpec, column: str) -> None:
        """Harms slot b's copy of a table, as somebody with the rights and the wrong idea would."""

    def lose(self, name: str) -> None:
        """Takes away what readers look at under this name."""

    def occupy(self, name: str) -> None:
        """Makes a table of the user's, of whatever shape, with one row."""

    def occupied(self, name: str) -> int:
        """Rows of the user's table."""
