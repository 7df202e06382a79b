"""A member's answer to an audit, put together from its parts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from distributor.ledger.verifications import AnswerPart

Sum = tuple[int, int, int]
"""Rows, and the sums of both lanes, of a bucket or a leaf."""
Key = tuple[str | None, ...]
Lanes = tuple[int, int]


@dataclass(slots=True)
class TableAnswer:
    """What is stored in one table: sums per bucket or leaf, or single rows (key and lanes)."""

    sums: dict[int, Sum] = field(default_factory=dict)
    rows: list[tuple[Key, Lanes]] = field(default_factory=list)


@dataclass(slots=True)
class SlotAnswer:
    """One slot as the audit's snapshot had it; `release` is None while it is torn."""

    release: int | None
    mapping: str
    tables: dict[str, TableAnswer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that a member told. `error`: why it could not; `torn_apart`: its parts are not of one moment."""

    slots: Mapping[str, SlotAnswer]
    error: str
    seconds: float
    torn_apart: bool


def assemble(parts: Sequence[AnswerPart]) -> Answer:
    """The whole of an answer."""
    slots: dict[str, SlotAnswer] = {}
    torn_apart = False
    for part in parts:
        if part.error:
            continue
        slot = slots.setdefault(part.slot, SlotAnswer(part.release, part.mapping))
        torn_apart |= (slot.release, slot.mapping) != (part.release, part.mapping)
        if part.table:
            table = slot.tables.setdefault(part.table, TableAnswer())
            table.sums.update((at, (rows, int(a, 16), int(b, 16))) for at, (rows, a, b) in part.sums.items())
            table.rows.extend((key, (int(first, 16), int(second, 16))) for key, first, second in part.rows)
    error = next((part.error for part in parts if part.error), "")
    return Answer(slots, error, max((part.seconds for part in parts), default=0.0), torn_apart)
