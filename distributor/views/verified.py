"""What every system was found to store, against what its release says, and what was mended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from distributor.rollout.state import Requirement
from distributor.views.asked import AskedRollout
from distributor.views.base import View
from distributor.views.rollout import MemberPart
from distributor.views.wording import count

if TYPE_CHECKING:
    from distributor.verification.afterwards import Left
    from distributor.verification.findings import Findings, MemberFinding, TableFinding
    from distributor.verification.mending import Plan

LISTED = 10_000
"""How many wrong rows of a table are named."""
Mending = Literal["mended", "planned", "left-out", "late", "failed"]


class WrongRowPart(View):
    """A key under which other rows are stored than the release has."""

    key: dict[str, str | None]
    """Its key columns, as canonical texts."""
    what: str
    """`missing`, `extra`, `different`, or `doubled` (stored more than once)."""


class VerifiedTable(View):
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


class VerifiedSystem(View):
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


class Verified(View):
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


def verified(
    findings: Findings,
    wanted: Plan | None = None,
    done: AskedRollout | None = None,
    members: Mapping[str, MemberPart] | None = None,
    left: Mapping[str, Left] | None = None,
    *,
    dry_run: bool = False,
) -> Verified:
    """What an audit found; with `wanted` what is to be mended, and once that was tried (`done`) what became of it.

    `members` did their parts in the rollout that mended; `left`: who is not mended, and why, None when nothing was
    tried.
    """
    from distributor.verification.record import LEVEL

    verification, state = findings.asked.verification, findings.asked.environment
    systems = []
    for member in findings.members:
        known = state.members.get(member.system)
        system = VerifiedSystem.of(member, bool(known and known.requirement is Requirement.REQUIRED))
        if wanted and system.differing:
            mending, remedy = _remedy(wanted, member.system, left)
            part = (members or {}).get(member.system)
            mended = mending == "mended"
            system = system.model_copy(
                update={
                    "remedy": remedy,
                    "mending": mending,
                    "mended": mended,
                    "rows_loaded": part.rows if part and mended else None,
                }
            )
        systems.append(system)
    return Verified(
        environment=verification.environment,
        release=verification.release,
        verification=verification.id,
        level=LEVEL,
        different=bool(findings.differing),
        dry_run=dry_run,
        systems=tuple(systems),
        detached=findings.asked.left_out,
        repair=done,
    )


def _remedy(wanted: Plan, system: str, left: Mapping[str, Left] | None) -> tuple[Mending, str]:
    """`left` is None when nothing was done."""
    if system in wanted.left_out:
        return "left-out", f"not mended: {wanted.left_out[system]}"
    keys, anew = wanted.keys(system), wanted.anew.get(system)
    if left is None:
        return "planned", f"{count(keys, 'row')} to mend" if keys is not None else f"{anew}: all is to be loaded anew"
    if not_done := left.get(system):
        return "late" if not_done.late else "failed", f"not mended: {not_done.why}"
    return "mended", f"{count(keys, 'row')} mended" if keys is not None else f"{anew}: all was loaded anew"


def _names(key: tuple[str, ...], columns: int) -> list[str]:
    """The key's columns; where the release does not know them, numbers."""
    return list(key) if len(key) == columns else [f"column {at}" for at in range(1, columns + 1)]
