"""One member of an environment: the words for how it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from distributor.rollout.blockers import Stall
from distributor.rollout.state import SILENT_AFTER, Answer, Environment, Requirement
from distributor.views.base import View
from distributor.views.wording import count, plain

if TYPE_CHECKING:
    from distributor.ledger.doubts import Doubt
    from distributor.ledger.progress import MemberProgress

MemberWord = Literal["waiting", "staged", "flipped", "reverted", "refused", "lagging"]
ContactWord = Literal["heard", "silent", "unheard"]


@dataclass(frozen=True, slots=True)
class Releases:
    """What members are measured against: the newest release, and when each release was followed by the next."""

    newest: int
    followed_at: Mapping[int, datetime]


class LoadPart(View):
    """A load that goes on."""

    phase: str
    """What the member is doing."""
    rows_done: int
    """Rows done in this phase."""
    rows_total: int
    """Rows to do in this phase."""
    rate: float
    """Rows per second."""

    @classmethod
    def of(cls, load: MemberProgress) -> LoadPart:
        """A load as the ledger has it."""
        return cls(phase=load.phase, rows_done=load.rows_done, rows_total=load.rows_total, rate=load.rate)

    @property
    def sentence(self) -> str:
        """`loading 40,000 of 120,000 rows, 35,000/s`."""
        return f"{self.phase} {self.rows_done:,} of {count(self.rows_total, 'row')}, {self.rate:,.0f}/s"


class AlteredPart(View):
    """A slot that an audit found altered: other rows are stored than its certificate says."""

    slot: str
    """`online` or `shadow`."""
    since: datetime
    """When that was first told, in UTC."""
    what: str
    """What was found, in a sentence."""


class MemberStatus(View):
    """One system of an environment."""

    system: str
    """The system."""
    requirement: Requirement
    """`required`, `optional`, `joining` (it will be required once it is level) or `detached`."""
    release: int
    """The release that its readers see; 0 is empty."""
    shadow: int | None
    """The release in its other slot; null while that is half loaded."""
    state: str
    """`online`, `empty`, `lagging`, `loading`, `stalled` (its load or flip does not move), `staged`, `flipped`,
    `reverted`, `refused`, `waiting` or `unheard`."""
    behind: int
    """How many releases it is behind the newest."""
    behind_since: datetime | None
    """Since when it is behind: when the first release that it does not show was published; null when it is level."""
    heard_at: datetime | None
    """When it was last heard, in UTC; null when never."""
    contact: ContactWord
    """`heard`; `silent` when it was not heard of for 30 s; `unheard` when it never was."""
    load: LoadPart | None
    """How far its load is; null when none goes on."""
    altered: tuple[AlteredPart, ...]
    """Its slots that an audit found altered; empty when none is, or nobody has looked since."""


def member_word(answer: Answer) -> MemberWord:
    """The furthest that a member came."""
    if answer.reverted:
        return "reverted"
    if answer.flipped_at:
        return "flipped"
    if answer.refusal:
        return "refused"
    if answer.lagging:
        return "lagging"
    return "staged" if answer.staged else "waiting"


def member_status(
    state: Environment,
    system: str,
    now: datetime,
    releases: Releases,
    *,
    load: MemberProgress | None,
    stall: Stall | None,
    doubts: Sequence[Doubt],
) -> MemberStatus:
    """A member as the ledger has it. `load` is its load that goes on, `stall` what it does not get on with."""
    member = state.members[system]
    heard_at = max(filter(None, (member.heard_at, stall.at if stall else None)), default=None)
    return MemberStatus(
        system=system,
        requirement=member.requirement,
        release=member.shows,
        shadow=member.shadow,
        state="stalled" if stall else "loading" if load else _word(state, system),
        behind=max(releases.newest - member.shows, 0),
        behind_since=releases.followed_at.get(member.shows),
        heard_at=heard_at,
        contact="unheard" if heard_at is None else "silent" if now - heard_at > SILENT_AFTER else "heard",
        load=LoadPart.of(load) if load else None,
        altered=_altered(doubts),
    )


def _altered(doubts: Sequence[Doubt]) -> tuple[AlteredPart, ...]:
    """One for each slot and finding: a finding about a slot is told of each of its tables."""
    found = {(doubt.slot, doubt.text): doubt for doubt in reversed(doubts)}
    parts = [AlteredPart(slot=doubt.slot, since=doubt.since, what=plain(doubt.text)) for doubt in found.values()]
    return tuple(sorted(parts, key=lambda part: (part.slot, part.what)))


def goes_on(state: Environment, load: MemberProgress) -> bool:
    """Whether a load is of the rollout that goes on, and its member has not answered yet."""
    if state.active is None or load.rollout_id != state.active.id:
        return False
    answer = state.active.answers.get(load.system)
    return answer is not None and not answer.staged and answer.flipped_at is None


def _word(state: Environment, system: str) -> str:
    member = state.members[system]
    if state.active and (answer := state.active.answers.get(system)):
        return member_word(answer)
    if member.heard_at is None:
        return "unheard"
    if member.shows != state.shown:
        return "lagging"
    return "online" if member.shows else "empty"
