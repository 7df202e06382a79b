"""How one environment stands, and the sentences that say so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from distributor.rollout.blockers import Beside, Blocker, Reason, Stall, blockers, stalled
from distributor.rollout.state import Environment, Rollout, RolloutState
from distributor.rollout.waiting import waiting_for
from distributor.triggers.follow import lags
from distributor.views.base import View
from distributor.views.blocking import BlockerPart, lines
from distributor.views.members import LoadPart, MemberStatus, Releases, goes_on, member_status
from distributor.views.presence import NOBODY_THERE, Absence
from distributor.views.wording import count, stamp

if TYPE_CHECKING:
    from distributor.ledger.doubts import Doubt
    from distributor.ledger.progress import MemberProgress

_FAILED = (RolloutState.ABANDONED, RolloutState.REVERTED, RolloutState.REFUSED)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What all environments are measured against at one moment."""

    now: datetime
    releases: Releases
    absence: Absence


@dataclass(frozen=True, slots=True)
class Facts:
    """What the ledger knows of one environment beside its state; `loads`, `stalls` and `doubts` by system."""

    loads: Mapping[str, MemberProgress]
    stalls: Mapping[str, Stall]
    doubts: Mapping[str, Sequence[Doubt]]
    not_followed: Blocker | None
    last_ended: Rollout | None
    held_back: int


class HoldPart(View):
    """Somebody has reserved the environment."""

    owner: str
    """Who holds it."""
    reason: str
    """Why."""
    placed_at: datetime
    """Since when, in UTC."""
    until: datetime | None
    """Until when; null until somebody releases it."""


class EndedPart(View):
    """A rollout that has ended."""

    rollout: str
    """Its id."""
    release: int
    """The release that it was to bring."""
    state: RolloutState
    """`online`, `abandoned`, `reverted` or `refused`."""
    ended_at: datetime
    """When it ended, in UTC."""
    outcome: str
    """How it ended, in a sentence."""

    @classmethod
    def of(cls, ended: Rollout) -> EndedPart:
        """A rollout as the ledger has it."""
        assert ended.ended_at is not None
        return cls(
            rollout=ended.id, release=ended.release, state=ended.state, ended_at=ended.ended_at, outcome=ended.outcome
        )


class EnvironmentStatus(View):
    """One environment."""

    environment: str
    """Its name."""
    release: int
    """The release that it shows; 0 is empty."""
    held_back: int
    """Rows of that release that it shows as they were before, because a system cannot take them."""
    epoch: int
    """The fencing number of its newest command."""
    state: str
    """The state of the rollout that goes on, or `idle`."""
    rollout: str | None
    """The id of the rollout that goes on; null when none does."""
    target: int | None
    """The release that this rollout takes it to."""
    waiting_for: str
    """What is waited for, in a sentence; empty when nothing is."""
    blockers: tuple[BlockerPart, ...]
    """What stands behind that: each with its reason and what would help, in the order in which to look at it."""
    follow: bool
    """Whether new releases are rolled out by themselves."""
    pinned: str
    """Why it does not follow new releases for now; empty when it does."""
    barred: tuple[int, ...]
    """Releases that automation will not promote again, because they were flipped back."""
    blocked: str
    """Why it takes no rollout at all; empty when it does."""
    last_ended: EndedPart | None
    """The newest request that has ended, other than by being superseded; null when none has."""
    queued: tuple[str, ...]
    """Ids of the rollouts that wait, oldest first."""
    holds: tuple[HoldPart, ...]
    """Who has reserved it."""
    members: tuple[MemberStatus, ...]
    """Its systems."""

    def waited_for_by(self, rollout_id: str) -> str:
        """What a rollout of this environment that has not ended waits for: one that is queued for its turn."""
        if rollout_id not in self.queued or any(blocker.reason in NOBODY_THERE for blocker in self.blockers):
            return self.waiting_for
        ahead = f"; rollout {self.rollout[:8]} is {self.state}" if self.rollout else ""
        return f"its turn: place {self.queued.index(rollout_id) + 1} in the queue{ahead}"

    @classmethod
    def of(cls, state: Environment, outlook: Outlook, facts: Facts) -> EnvironmentStatus:
        """An environment as the ledger has it."""
        active, now = state.active, outlook.now
        loads = {name: load for name, load in facts.loads.items() if goes_on(state, load)}
        stalls = {name: stall for name in state.members if (stall := stalled(state, name, now, facts.stalls))}
        wanted = bool(active or state.queue) or lags(state, outlook.releases.newest)
        beside = Beside(
            away=outlook.absence.blocker if wanted else None,
            stalls=stalls,
            loads={name: LoadPart.of(load).sentence for name, load in loads.items()},
            not_followed=facts.not_followed,
        )
        holds = tuple(
            HoldPart(owner=hold.owner, reason=hold.reason, placed_at=hold.placed_at, until=hold.until)
            for hold in state.holds
        )
        return cls(
            environment=state.name,
            release=state.shown,
            held_back=facts.held_back,
            epoch=state.epoch,
            state=active.state.value if active else "idle",
            rollout=active.id if active else None,
            target=active.release if active else None,
            waiting_for=(outlook.absence.short if wanted else "") or waiting_for(state, now, beside),
            blockers=tuple(map(BlockerPart.of, blockers(state, now, beside))),
            follow=state.follow,
            pinned=state.pinned,
            barred=tuple(sorted(state.barred)),
            blocked=state.blocked,
            queued=tuple(rollout.id for rollout in state.queue),
            holds=holds,
            last_ended=EndedPart.of(facts.last_ended) if facts.last_ended else None,
            members=tuple(
                member_status(
                    state,
                    system,
                    now,
                    outlook.releases,
                    load=loads.get(system),
                    stall=stalls.get(system),
                    doubts=facts.doubts.get(system, ()),
                )
                for system in sorted(state.members)
            ),
        )


def sentences(environment: EnvironmentStatus) -> list[str]:
    """What there is to say about an environment beyond its members."""
    told = []
    if environment.rollout:
        told.append(f"rollout {environment.rollout[:8]} to release {environment.target} is {environment.state}")
    if environment.waiting_for:
        told.append(f"waiting for: {environment.waiting_for}")
    told += lines(environment.blockers)
    if environment.held_back:
        rows = count(environment.held_back, "row")
        told.append(f"{rows} of release {environment.release} held back: a system cannot take them")
        told.append(f"    try: distributor quarantine list --environment {environment.environment}")
    told += _altered(environment)
    reasons = {blocker.reason for blocker in environment.blockers}
    for hold in environment.holds if Reason.HOLD not in reasons else ():
        until = f" until {stamp(hold.until)} UTC" if hold.until else ""
        told.append(f"held by {hold.owner}{until}: {hold.reason}")
    if environment.queued:
        told.append(f"{count(len(environment.queued), 'rollout')} queued")
    if environment.pinned and Reason.NOT_FOLLOWED not in reasons:
        told.append(f"does not follow new releases: {environment.pinned}")
    if environment.blocked:
        told.append(f"blocked: {environment.blocked}")
    last = environment.last_ended
    if last and last.state in _FAILED:
        told.append(
            f"the last rollout, {last.rollout[:8]} to release {last.release}, was {last.state} at"
            f" {stamp(last.ended_at)} UTC: {last.outcome}"
        )
    return told


def _altered(environment: EnvironmentStatus) -> Iterator[str]:
    """The other slot needs nobody: whatever is loaded into it mends it."""
    for member in environment.members:
        for found in member.altered:
            yield (
                f"{member.system}: its {found.slot} slot was altered, first seen {stamp(found.since)} UTC: {found.what}"
            )
        if any(found.slot == "online" for found in member.altered):
            yield f"    try: distributor verify {environment.environment} --systems {member.system} --repair"
