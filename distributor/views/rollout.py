"""One rollout: its timeline, and what each member did in it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from distributor.errors import UsageError
from distributor.rollout.state import Answer, Rollout
from distributor.views.base import View
from distributor.views.blocking import BlockerPart
from distributor.views.environments import EnvironmentStatus
from distributor.views.members import MemberWord, member_word
from distributor.views.rollouts import RolloutLine
from distributor.views.status import look
from distributor.views.wording import SHORT

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from distributor.ledger.rollouts import RolloutRecord
    from distributor.settings import Settings


class MemberPart(View):
    """What one member did in a rollout."""

    system: str
    """The system."""
    required: bool
    """Whether the rollout waits for it."""
    state: MemberWord
    """The furthest that it came: `waiting`, `staged`, `flipped`, `reverted`, `refused` or `lagging`."""
    flipped_at: datetime | None
    """When it flipped, in the coordinator's time."""
    refusal: str
    """Why it refused; empty when it did not."""
    phases: dict[str, float]
    """Phase of its load → seconds, as it reported them; empty until it has staged."""
    rows: int | None
    """Rows that it loaded; null until it has staged."""

    @classmethod
    def of(cls, system: str, rollout: Rollout, staged: dict[str, Any]) -> MemberPart:
        """One member, from the rollout and from what it reported when it had staged."""
        answer = rollout.answers.get(system, Answer())
        return cls(
            system=system,
            required=system in rollout.required,
            state=member_word(answer),
            flipped_at=answer.flipped_at,
            refusal=answer.refusal.removeprefix(f"{system} ").removeprefix("refused: "),
            phases=staged.get("phases") or {},
            rows=staged.get("rows_applied"),
        )


class TimelineEntry(View):
    """One thing that happened."""

    at: datetime
    """When, in UTC."""
    kind: str
    """What kind of thing: a new state of the rollout, or what a member or an operator did."""
    member: str | None
    """The system that it concerns; null when it concerns the whole rollout."""
    text: str
    """What happened, in a sentence."""


class RolloutStory(View):
    """One rollout with its members and its timeline."""

    rollout: RolloutLine
    """The rollout."""
    waiting_for: str
    """What its environment waits for while it goes on, in a sentence; empty when it has ended."""
    blockers: tuple[BlockerPart, ...]
    """What stands behind that: each with its reason and what would help."""
    members: tuple[MemberPart, ...]
    """Its members: required ones first."""
    timeline: tuple[TimelineEntry, ...]
    """What happened, oldest first."""


def rollout(conn: Connection, settings: Settings, beginning: str) -> RolloutStory:
    """The rollout whose id begins so. Raises UsageError when none does, or more than one."""
    record = find(conn, beginning)
    # The ledger remembers environments that the config has no more.
    known = record.environment in settings.environments and not record.rollout.state.ended
    return told(conn, record, look(conn, settings, [record.environment]).environments[0] if known else None)


def told(conn: Connection, record: RolloutRecord, standing: EnvironmentStatus | None = None) -> RolloutStory:
    """A rollout with everything that the ledger knows of it; `standing` is its environment's while it goes on."""
    from distributor.ledger.timeline import entries

    found = entries(conn, rollout_id=record.rollout.id)
    staged = {entry.member: dict(entry.detail or {}) for entry in found if entry.kind == "member-staged"}
    systems = (*sorted(record.rollout.required), *sorted(record.rollout.optional))
    return RolloutStory(
        rollout=RolloutLine.of(record),
        waiting_for=standing.waited_for_by(record.rollout.id) if standing else "",
        blockers=standing.blockers if standing else (),
        members=tuple(MemberPart.of(system, record.rollout, staged.get(system, {})) for system in systems),
        timeline=tuple(
            TimelineEntry(at=entry.at, kind=entry.kind, member=entry.member, text=entry.text) for entry in found
        ),
    )


def find(conn: Connection, beginning: str) -> RolloutRecord:
    """The same, as the ledger has it."""
    from sqlalchemy import select

    from distributor.ledger.rollouts import rollout as by_id
    from distributor.ledger.tables import rollouts as table

    ids = conn.execute(select(table.c.id).where(table.c.id.startswith(beginning, autoescape=True)).limit(2)).scalars()
    match list(ids):
        case [only]:
            record = by_id(conn, only)
            assert record is not None
            return record
        case []:
            raise UsageError(f"there is no rollout {beginning!r}", where="ledger", mend="See `distributor rollouts`.")
        case _:
            raise UsageError(
                f"more than one rollout begins with {beginning!r}",
                where="ledger",
                mend="Give more of its digits."
                if len(beginning) < SHORT
                else f"Give more than {len(beginning)} digits.",
            )
