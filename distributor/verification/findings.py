"""What a verification found, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from distributor.requests.verifications import Asked
from distributor.verification.comparison import WrongRow

ONLINE, SHADOW = "online", "shadow"


class Outcome(StrEnum):
    """What became of the audit of one member."""

    VERIFIED = "verified"
    SILENT = "silent"
    FAILED = "failed"
    UNFIT = "unfit"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class TableFinding:
    """One table of one slot. `wrong` is None as long as single rows were not looked at; nobody does at too many.

    `source` is the dataset whose rows it is made of; `rows_of` is that too where they are stored as they are, else the
    fingerprint of the mapping: tables that share it have the same rows. `key` names the table's own key columns; empty
    when nothing was released yet. `rows_near`: rows of the differing leaves, stored and expected together.
    """

    slot: str
    table: str
    dataset: str
    source: str
    rows_of: str
    key: tuple[str, ...]
    release: int
    rows_stored: int
    rows_expected: int
    buckets: frozenset[int] = frozenset()
    leaves: frozenset[int] = frozenset()
    rows_near: int = 0
    wrong: tuple[WrongRow, ...] | None = None

    @property
    def differs(self) -> bool:
        """Whether other rows are stored than the release has."""
        return bool(self.buckets)


@dataclass(frozen=True, slots=True)
class MemberFinding:
    """One member. `why` says what an outcome other than verified is due to; `release` is what its readers see."""

    system: str
    outcome: Outcome
    why: str = ""
    release: int | None = None
    tables: tuple[TableFinding, ...] = ()
    seconds: float = 0.0

    @property
    def differing(self) -> tuple[TableFinding, ...]:
        """The tables in which something is wrong."""
        return tuple(table for table in self.tables if table.differs)


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that a verification found, in the order of the systems that were asked."""

    asked: Asked
    members: tuple[MemberFinding, ...]

    @property
    def differing(self) -> tuple[MemberFinding, ...]:
        """The members in which something is wrong."""
        return tuple(member for member in self.members if member.differing)
