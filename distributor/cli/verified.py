"""What `verify` ends with: what every system was found to store, and what was mended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from distributor.cli.asking import AskedRollout
from distributor.cli.layout import count, grid, plain
from distributor.cli.outcome import Outcome, Part
from distributor.errors import HeldError, NotConvergedError

if TYPE_CHECKING:
    from distributor.verification.findings import MemberFinding, TableFinding

DONE, FAILED, DIFFERENT = 0, 1, 10
BUCKETS = 64
SHOWN = 20
LISTED = 10_000
"""How many wrong rows of a table are named: to a person, and in JSON."""
_UNVERIFIED = {
    "failed": FAILED,
    "unfit": FAILED,
    "moved": HeldError.exit_code,
    "silent": NotConvergedError.exit_code,
}
"""Outcome → exit code, the worst first."""


Mending = Literal["mended", "planned", "left-out", "late", "failed"]
_NOT_MENDED: dict[Mending | None, int] = {
    "failed": FAILED,
    "late": NotConvergedError.exit_code,
    "left-out": DIFFERENT,
    "planned": DIFFERENT,
    None: DIFFERENT,
}
"""What became of a system that differs → exit code, the worst first."""


class WrongRowPart(Part):
    """A key under which other rows are stored than the release has."""

    key: dict[str, str | None]
    """Its key columns, as canonical texts."""
    what: str
    """`missing`, `extra`, `different`, or `doubled` (stored more than once)."""


class VerifiedTable(Part):
    """One table of one slot."""

    table: str
    """The table, as the system calls it."""
    dataset: str
    """The dataset that it shows."""
    slot: str
    """`online`, or with `--repair` also `shadow`, on which the next load builds."""
    release: int
    """The release with which it was compared: the one that the slot holds."""
    rows_stored: int
    """Rows that are stored."""
    rows_expected: int
    """Rows that the release has."""
    buckets: tuple[int, ...]
    """The buckets of the certificate that differ."""
    rows_wrong: int | None
    """Keys whose rows are wrong; null when they were not looked at one by one, because they would be too many."""
    rows: tuple[WrongRowPart, ...]
    """Those keys, in their order."""
    rows_left_out: int
    """How many of them are not listed here."""

    @classmethod
    def of(cls, found: TableFinding) -> VerifiedTable:
        """One table as it was found."""
        wrong = found.wrong or ()
        listed = tuple(
            WrongRowPart(key=dict(zip(_names(found.key, len(row.key)), row.key, strict=True)), what=row.what.value)
            for row in wrong[:LISTED]
        )
        return cls(
            table=found.table,
            dataset=found.dataset,
            slot=found.slot,
            release=found.release,
            rows_stored=found.rows_stored,
            rows_expected=found.rows_expected,
            buckets=tuple(sorted(found.buckets)),
            rows_wrong=None if found.differs and found.wrong is None else len(wrong),
            rows=listed,
            rows_left_out=len(wrong) - len(listed),
        )


class VerifiedSystem(Part):
    """One system."""

    system: str
    """The system."""
    required: bool
    """Whether rollouts wait for it."""
    outcome: str
    """`verified`; or `silent` (no answer in time), `failed` (it could not audit), `unfit` (it cannot be compared), \
`moved` (it changed over again and again while it was audited)."""
    why: str
    """Why it could not be verified; empty when it was."""
    release: int | None
    """The release that its readers see; null when it did not say."""
    seconds: float
    """How long its audits took, as it says."""
    tables: tuple[VerifiedTable, ...]
    """Its tables."""
    remedy: str
    """With `--repair`: what became of what differs, or would, and why it is not mended; empty when nothing differs."""
    mending: Mending | None
    """With `--repair`: `mended`; `planned` (`--dry-run`); `left-out` (no rollout to what is shown would mend it);
    `late` (it was not mended in time, and may still be); `failed`. Null when nothing differs."""
    mended: bool
    """Whether both slots were found right after the repair, the one that is online and the other."""
    rows_loaded: int | None
    """Rows that it loaded before the flip; what its other slot took after the flip is not among them. Null when it is
    not mended."""

    @classmethod
    def of(cls, found: MemberFinding, required: bool) -> VerifiedSystem:
        """One system as it was found."""
        return cls(
            system=found.system,
            required=required,
            outcome=found.outcome.value,
            why=found.why,
            release=found.release,
            seconds=round(found.seconds, 3),
            tables=tuple(map(VerifiedTable.of, found.tables)),
            remedy="",
            mending=None,
            mended=False,
            rows_loaded=None,
        )

    @property
    def differing(self) -> tuple[VerifiedTable, ...]:
        """Its tables in which something is wrong."""
        return tuple(table for table in self.tables if table.buckets)


class Verified(Outcome):
    """An audit of everything that the systems of an environment store, compared with what their releases say."""

    environment: str
    """The environment."""
    release: int
    """The release that it showed when the audit was asked for."""
    verification: str
    """The id of the verification, under which the audit knows it."""
    level: str
    """`L3 audit`: everything that is stored, computed from nothing."""
    different: bool
    """Whether other rows were found than the releases have."""
    dry_run: bool
    """Whether nothing was mended because of `--dry-run`."""
    systems: tuple[VerifiedSystem, ...]
    """The systems that were asked."""
    detached: tuple[str, ...]
    """Systems that were not audited, because they are detached; with `--systems` only who is named is asked."""
    repair: AskedRollout | None
    """The rollout that mended what differs; null when there was none."""

    @property
    def exit_code(self) -> int:
        """The rollout's, if it did not end well; then: not mended, differences left, not verified, done."""
        if self.repair and self.repair.exit_code:
            return self.repair.exit_code
        left = {system.mending for system in self.systems if system.differing and not system.mended}
        if left:
            return next(code for mending, code in _NOT_MENDED.items() if mending in left)
        outcomes = {system.outcome for system in self.systems}
        return next((code for outcome, code in _UNVERIFIED.items() if outcome in outcomes), DONE)

    def show(self, console: Console) -> None:
        """A line per table, the wrong rows, who could not be verified, what was mended."""
        console.print(f"{self.environment}: {self.level} at release {self.release}")
        table = grid("system", "slot", "table", ">release", ">rows", ">expected", ">buckets", ">wrong rows")
        for system in self.systems:
            for part in system.tables:
                table.add_row(
                    system.system + ("" if system.required else " (optional)"),
                    part.slot,
                    part.table,
                    str(part.release),
                    f"{part.rows_stored:,}",
                    f"{part.rows_expected:,}",
                    f"{len(part.buckets)} of {BUCKETS}" if part.buckets else "-",
                    "-" if not part.buckets else "many" if part.rows_wrong is None else f"{part.rows_wrong:,}",
                )
        if table.row_count:
            console.print(table)
        for line in self._lines():
            console.print(line, soft_wrap=True)
        if self.repair:
            self.repair.show(console)

    def _lines(self) -> Iterator[str]:
        for system in self.systems:
            for table in system.differing:
                yield from _wrong(system.system, table)
        for system in self.systems:
            if system.outcome != "verified":
                yield f"{system.system} was not verified: {system.why}"
        for system in self.systems:
            if system.remedy:
                yield f"{system.system}: {system.remedy}"
        verified = [system.system for system in self.systems if system.outcome == "verified" and not system.differing]
        for name in self.detached:
            yield f"{name} is detached: not audited"
        if verified:
            yield f"{', '.join(verified)}: every row is as the release has it"
        if any(system.differing and not system.remedy for system in self.systems):
            yield f"`distributor verify {self.environment} --repair` mends exactly these rows"


def _wrong(system: str, table: VerifiedTable) -> Iterator[str]:
    where = f"{system}, {table.slot} {table.table}"
    if table.rows_wrong is None:
        yield f"{where}: too many rows differ from release {table.release} to name them"
        return
    differ = "row differs" if table.rows_wrong == 1 else "rows differ"
    yield f"{where}: {table.rows_wrong:,} {differ} from release {table.release}"
    for row in table.rows[:SHOWN]:
        key = ", ".join(f"{name}={'NULL' if text is None else plain(text)}" for name, text in row.key.items())
        yield f"  {row.what:9} {key}"
    if more := table.rows_wrong - min(SHOWN, len(table.rows)):
        yield f"  and {count(more, 'more row')}; `--json` lists up to {LISTED:,}"


def _names(key: tuple[str, ...], columns: int) -> list[str]:
    """The key's columns; where the release does not know them, numbers."""
    return list(key) if len(key) == columns else [f"column {at}" for at in range(1, columns + 1)]
