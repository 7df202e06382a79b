"""How environments stand: what `status` ends with, and the words in which it says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from distributor.cli.layout import ago, count, grid, span, stamp
from distributor.cli.outcome import Outcome, Part
from distributor.cli.rollout import member_word
from distributor.rollout.state import SILENT_AFTER, Answer, Environment, Requirement, Rollout, RolloutState
from distributor.rollout.waiting import waiting_for

if TYPE_CHECKING:
    from distributor.ledger.progress import MemberProgress


class HoldPart(Part):
    """Somebody has reserved the environment."""

    owner: str
    """Who holds it."""
    reason: str
    """Why."""
    placed_at: datetime
    """Since when, in UTC."""
    until: datetime | None
    """Until when; null until somebody releases it."""


class LoadPart(Part):
    """A load that goes on."""

    phase: str
    """What the member is doing."""
    rows_done: int
    """Rows done in this phase."""
    rows_total: int
    """Rows to do in this phase."""
    rate: float
    """Rows per second."""

    @property
    def sentence(self) -> str:
        """`loading 40,000 of 120,000 rows, 35,000/s`."""
        return f"{self.phase} {self.rows_done:,} of {count(self.rows_total, 'row')}, {self.rate:,.0f}/s"


class MemberStatus(Part):
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
    """`online`, `empty`, `lagging`, `loading`, `staged`, `flipped`, `reverted`, `refused`, `waiting` or `unheard`."""
    behind: int
    """How many releases it is behind the newest."""
    behind_since: datetime | None
    """Since when it is behind: when the first release that it does not show was published; null when it is level."""
    heard_at: datetime | None
    """When it was last heard, in UTC; null when never."""
    load: LoadPart | None
    """How far its load is; null when none goes on."""


class EndedPart(Part):
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


class EnvironmentStatus(Part):
    """One environment."""

    environment: str
    """Its name."""
    release: int
    """The release that it shows; 0 is empty."""
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

    @classmethod
    def of(
        cls, state: Environment, outlook: Outlook, loads: Mapping[str, MemberProgress], last_ended: Rollout | None
    ) -> EnvironmentStatus:
        """An environment as the ledger has it. `loads`: the newest progress, by system."""
        active = state.active
        holds = tuple(
            HoldPart(owner=hold.owner, reason=hold.reason, placed_at=hold.placed_at, until=hold.until)
            for hold in state.holds
        )
        return cls(
            environment=state.name,
            release=state.shown,
            epoch=state.epoch,
            state=active.state.value if active else "idle",
            rollout=active.id if active else None,
            target=active.release if active else None,
            waiting_for=(outlook.no_coordinator if state.active or state.queue else "")
            or waiting_for(state, outlook.now),
            follow=state.follow,
            pinned=state.pinned,
            barred=tuple(sorted(state.barred)),
            blocked=state.blocked,
            queued=tuple(rollout.id for rollout in state.queue),
            holds=holds,
            last_ended=EndedPart.of(last_ended) if last_ended else None,
            members=tuple(_member(state, system, outlook, loads.get(system)) for system in sorted(state.members)),
        )


CoordinatorWord = Literal["up", "silent", "stopped", "unheard"]
_FAILED = (RolloutState.ABANDONED, RolloutState.REVERTED, RolloutState.REFUSED)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a status is measured against: the newest release, when each release was followed by the next, the time.

    `no_coordinator` says that nothing can move because none is up; empty when one is.
    """

    newest: int
    followed_at: Mapping[int, datetime]
    now: datetime
    no_coordinator: str


class PublishingPart(Part):
    """Publishing is stopped."""

    since: datetime
    """Since when, in UTC."""
    why: str
    """What stops it, and how to mend it."""


class Status(Outcome):
    """How the environments stand."""

    at: datetime
    """The time at which this was read, in UTC."""
    newest_release: int
    """The newest release; 0 when there is none yet."""
    coordinator: CoordinatorWord
    """Whether a coordinator is at work; `silent`: it should be, and was not heard of lately."""
    coordinator_seen_at: datetime | None
    """When a coordinator was last up; null when none was ever heard of."""
    publishing_stopped: PublishingPart | None
    """Why the publisher that is up cannot publish; null when it can, or none is up."""
    dead_letters: int
    """How many dead letters wait for somebody."""
    environments: tuple[EnvironmentStatus, ...]
    """The environments."""

    def show(self, console: Console) -> None:
        """A table of all members, then what deserves a sentence."""
        table = grid("environment", "system", ">release", "state", ">shadow", "behind", "heard")
        for environment in self.environments:
            for number, member in enumerate(environment.members):
                late = self.at - member.behind_since if member.behind_since else None
                table.add_row(
                    environment.environment if number == 0 else "",
                    member.system + ("" if member.requirement is Requirement.REQUIRED else f" ({member.requirement})"),
                    str(member.release),
                    member.load.sentence if member.load else member.state,
                    _slot(member),
                    f"{count(member.behind, 'release')}, {span(late)}" if late else "-",
                    _heard(member, self.at),
                )
        console.print(table)
        for environment in self.environments:
            for sentence in sentences(environment):
                console.print(f"{environment.environment}: {sentence}")
        console.print(f"newest release: {self.newest_release or 'none yet'}")
        seen = f", last seen {ago(self.coordinator_seen_at, self.at)}" if self.coordinator_seen_at else ""
        console.print(f"coordinator: {_COORDINATORS[self.coordinator]}{seen}")
        if stopped := self.publishing_stopped:
            console.print(f"publishing is stopped since {stamp(stopped.since)} UTC because {stopped.why}")
        if self.dead_letters:
            console.print(f"{count(self.dead_letters, 'dead letter')}: see `distributor deadletter list`")


_COORDINATORS = {
    "up": "up",
    "silent": "not heard of lately",
    "stopped": "none is running",
    "unheard": "none was ever started",
}


def _heard(member: MemberStatus, at: datetime) -> str:
    silent = member.heard_at is not None and at - member.heard_at > SILENT_AFTER
    return ago(member.heard_at, at) + (" (silent)" if silent else "")


def _slot(member: MemberStatus) -> str:
    if member.shadow is not None:
        return str(member.shadow)
    return "torn" if member.heard_at else "-"


def sentences(environment: EnvironmentStatus) -> list[str]:
    """What there is to say about an environment beyond its members."""
    told = []
    if environment.rollout:
        told.append(f"rollout {environment.rollout[:8]} to release {environment.target} is {environment.state}")
    if environment.waiting_for:
        told.append(f"waiting for: {environment.waiting_for}")
    for hold in environment.holds:
        until = f" until {stamp(hold.until)} UTC" if hold.until else ""
        told.append(f"held by {hold.owner}{until}: {hold.reason}")
    if environment.queued:
        told.append(f"{count(len(environment.queued), 'rollout')} queued")
    if environment.pinned:
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


def _member(state: Environment, system: str, outlook: Outlook, load: MemberProgress | None) -> MemberStatus:
    member = state.members[system]
    answer = state.active.answers.get(system, Answer()) if state.active else None
    loading = (
        load is not None
        and state.active is not None
        and load.rollout_id == state.active.id
        and answer is not None
        and not answer.staged
        and answer.flipped_at is None
    )
    if loading:
        word = "loading"
    elif answer is not None:
        word = member_word(answer)
    elif member.heard_at is None:
        word = "unheard"
    elif member.shows != state.shown:
        word = "lagging"
    else:
        word = "online" if member.shows else "empty"
    return MemberStatus(
        system=system,
        requirement=member.requirement,
        release=member.shows,
        shadow=member.shadow,
        state=word,
        behind=max(outlook.newest - member.shows, 0),
        behind_since=outlook.followed_at.get(member.shows),
        heard_at=member.heard_at,
        load=LoadPart(phase=load.phase, rows_done=load.rows_done, rows_total=load.rows_total, rate=load.rate)
        if loading and load
        else None,
    )
