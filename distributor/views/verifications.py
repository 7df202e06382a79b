"""What was audited, when, and what it came to: what the ledger remembers of `verify`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from distributor.errors import UsageError
from distributor.views.base import View

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from distributor.ledger.verifications import Ended, Position, Verification


class DifferingTable(View):
    """A table of a slot in which other rows were found than the release has."""

    slot: str
    """`online` or `shadow`."""
    table: str
    """The table, as the system calls it."""
    buckets: tuple[int, ...]
    """The buckets of the certificate that differ."""
    rows: int | None
    """Keys whose rows were wrong; null when they were too many to be looked at one by one."""


class AuditedSystem(View):
    """One system, as it was found."""

    system: str
    """The system."""
    outcome: str
    """`verified`; or `silent` (no answer in time), `failed` (it could not audit), `unfit` (it cannot be compared), \
`moved` (it changed over again and again while it was audited)."""
    why: str
    """Why it could not be verified; empty when it was."""
    release: int | None
    """The release that its readers saw; null when it did not say."""
    seconds: float
    """How long its audits took, as it said."""
    differing: tuple[DifferingTable, ...]
    """Its tables in which something was wrong, as they were found, before any repair."""


class VerificationLine(View):
    """One audit of an environment."""

    id: str
    """Its id."""
    environment: str
    """The environment."""
    release: int
    """The release that the environment showed when the audit was asked for."""
    requested_at: datetime
    """When it was asked for, in UTC."""
    by: str
    """Who asked."""
    why: str
    """The reason that was given."""
    ended_at: datetime | None
    """When it ended, in UTC; null while it goes on, or when whoever asked gave it up."""
    outcome: str
    """What was found and mended, in a sentence; empty until it has ended."""
    systems: tuple[AuditedSystem, ...]
    """The systems that were asked, by name; none until it has ended."""

    @classmethod
    def of(cls, asked: Verification, ended: Ended | None) -> VerificationLine:
        """A verification as the ledger has it."""
        detail = ended.detail if ended else {}
        return cls(
            id=asked.id,
            environment=asked.environment,
            release=asked.release,
            requested_at=asked.requested_at,
            by=asked.by,
            why=asked.why,
            ended_at=ended.at if ended else None,
            outcome=ended.outcome if ended else "",
            systems=tuple(
                AuditedSystem.model_validate({"system": system, **found})
                for system, found in sorted(detail.items())
                if isinstance(found, dict)
            ),
        )


class Verifications(View):
    """Audits of an environment, newest first."""

    verifications: tuple[VerificationLine, ...]
    """The audits, newest first."""


def verification(conn: Connection, beginning: str) -> VerificationLine:
    """The audit whose id begins so. Raises UsageError when none does, or more than one."""
    from distributor.ledger.verifications import beginning as named

    match named(conn, beginning):
        case [(asked, ended)]:
            return VerificationLine.of(asked, ended)
        case []:
            raise UsageError(f"there is no verification {beginning!r}", where="ledger")
        case _:
            raise UsageError(
                f"more than one verification begins with {beginning!r}",
                where="ledger",
                mend="Give more of its digits.",
            )


def verifications(
    conn: Connection, environment: str, *, limit: int = 20, before: Position | None = None
) -> Verifications:
    """The newest audits of an environment. `before`: `(requested_at, id)` of the last one of the page before this."""
    from distributor.ledger.verifications import known

    found = known(conn, environment, limit, before)
    return Verifications(verifications=tuple(VerificationLine.of(asked, ended) for asked, ended in found))
