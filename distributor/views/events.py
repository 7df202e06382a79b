"""What the stream of events is made of: its messages."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from distributor.views.base import View

if TYPE_CHECKING:
    from distributor.ledger.events import EventRecord
    from distributor.ledger.progress import MemberProgress


class Event(View):
    """One thing that happened and is committed."""

    seq: int
    """Its number: without a gap, in the order of commits."""
    at: datetime
    """When, in UTC."""
    kind: str
    """What: `release` (one was made), `audit` (somebody did something), or what a rollout's timeline calls it."""
    environment: str | None
    """The environment that it concerns; null when it concerns none, or all."""
    rollout: str | None
    """The id of the rollout that it belongs to; null when to none."""
    member: str | None
    """The system that it concerns; null when the whole environment."""
    text: str
    """The same in a sentence."""
    detail: dict[str, Any] | None
    """Of a release, its `release` and `rows`; of an act, its `id` in the audit; else null."""

    @classmethod
    def of(cls, record: EventRecord) -> Event:
        """An event as the ledger has it."""
        return cls(
            seq=record.seq,
            at=record.at,
            kind=record.kind,
            environment=record.environment,
            rollout=record.rollout_id,
            member=record.member,
            text=record.text,
            detail=dict(record.detail) if record.detail is not None else None,
        )


class Gap(View):
    """What happened between two positions is no longer kept, or never was: whoever follows looks at everything anew."""

    after: int
    """The position from which it was asked to go on."""
    next: int
    """The number of the event that comes next."""
    text: str
    """The same in a sentence."""


class Progress(View):
    """How far a member's load is. It is not kept: only the newest is told."""

    environment: str
    """The environment."""
    system: str
    """The system."""
    rollout: str
    """The id of the rollout."""
    phase: str
    """What the member is doing."""
    rows_done: int
    """Rows done in this phase."""
    rows_total: int
    """Rows to do in this phase."""
    rate: float
    """Rows per second."""
    at: datetime
    """When the member said so, in UTC."""

    @classmethod
    def of(cls, record: MemberProgress) -> Progress:
        """A load as the ledger has it."""
        return cls(
            environment=record.environment,
            system=record.system,
            rollout=record.rollout_id,
            phase=record.phase,
            rows_done=record.rows_done,
            rows_total=record.rows_total,
            rate=record.rate,
            at=record.at,
        )
