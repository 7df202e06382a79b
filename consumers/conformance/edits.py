"""What somebody with all rights does to stored rows, in words that every kind of store understands."""

from __future__ import annotations

from dataclasses import dataclass

from consumers.conformance.samples import Row


@dataclass(frozen=True, slots=True)
class Put:
    """The row stands under its key afterwards, whatever stood there. Texts need not be canonical."""

    row: Row


@dataclass(frozen=True, slots=True)
class Drop:
    """No row stands under the key afterwards."""

    key: Row


@dataclass(frozen=True, slots=True)
class Odd:
    """One cell of the row under the key becomes what only this store can hold, in its own language."""

    key: Row
    column: str
    value: str


Edit = Put | Drop | Odd


@dataclass(frozen=True, slots=True)
class Oddity:
    """What only this store can do to a value of a column: `was` in canonical text, `value` in the store's language."""

    column: str
    was: str | None
    value: str
    what: str
