"""Where an adapter sits its exam: what its author must give beside the adapter itself."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from consumers.adapters.base import Adapter, TableSpec
from consumers.conformance.edits import Edit, Oddity
from consumers.conformance.samples import Row
from distributor.rollout.member_row import SlotName


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


class Meddler(Protocol):
    """Somebody with all rights in the store, on a connection of their own. They share no code with the adapter."""

    oddities: Sequence[Oddity]
    """What only this store can hold: values of another type than the column's, where it takes them."""

    equal: frozenset[tuple[str, str]]
    """(logical type, spelling) of texts that this store's types cannot tell apart, and rightly so."""

    def alter(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> None:
        """Makes the edits at once, in their order, and commits them."""

    def altering(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> AbstractContextManager[None] | None:
        """For a while the store makes the edits right after whatever is written to the slot's table, in the writer's
        own transaction: a trigger, or a hand inside. None where a store has nothing of the kind."""

    def close(self) -> None:
        """Gives the connection back."""


class Seat(Protocol):
    """One fresh, empty store."""

    def adapter(self) -> Adapter:
        """A new adapter on this store, as another process would make it."""

    def reader(self) -> Reader:
        """A new reader of this store."""

    def meddler(self) -> Meddler:
        """A new meddler in this store."""

    def drop_column(self, table: TableSpec, column: str) -> None:
        """Harms slot b's copy of a table, as somebody with the rights and the wrong idea would."""

    def lose(self, name: str) -> None:
        """Takes away what readers look at under this name."""

    def occupy(self, name: str) -> None:
        """Makes a table of the user's, of whatever shape, with one row."""

    def occupied(self, name: str) -> int:
        """Rows of the user's table."""
