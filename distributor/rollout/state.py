"""An environment's state as the coordinator keeps it: epoch, members, queue, holds and the active rollout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

CALLED_OFF = "aborted by"
"""How the outcome of a rollout begins that an operator ended."""


class RolloutState(StrEnum):
    """Where a rollout is. The table of transitions is in protocol.py."""

    QUEUED = "queued"
    STAGING = "staging"
    CONVERGED = "converged"
    FLIPPING = "flipping"
    REVERTING = "reverting"
    ONLINE = "online"
    SUPERSEDED = "superseded"
    ABANDONED = "abandoned"
    REVERTED = "reverted"
    REFUSED = "refused"

    @property
    def ended(self) -> bool:
        """No further command will be sent for it (but for fences and late optional flips)."""
        return self in _ENDED


_ENDED = frozenset(
    {
        RolloutState.ONLINE,
        RolloutState.SUPERSEDED,
        RolloutState.ABANDONED,
        RolloutState.REVERTED,
        RolloutState.REFUSED,
    }
)


class Requirement(StrEnum):
    """Whether a rollout waits for a member. Joining and detached members count as optional."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    JOINING = "joining"
    DETACHED = "detached"


class Cause(StrEnum):
    """Who asked for a rollout."""

    AUTO = "auto"
    OPERATOR = "operator"
    REFRESH = "refresh"
    ROLLBACK = "rollback"
    REPAIR = "repair"
    TRIGGER = "trigger"

    @property
    def automatic(self) -> bool:
        """Nobody asked: pins and withdrawn releases stop it, and of its requests only the newest waits."""
        return self in (Cause.AUTO, Cause.TRIGGER)


ALIVE_EVERY = timedelta(seconds=10)
"""A member that had nothing else to report for this long says that it lives. Shorter than `Timing.heard_within`."""
SILENT_AFTER = timedelta(seconds=30)
"""A member that was not heard for this long is called silent."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations of a rollout's phases; from the config, frozen into the rollout at its request."""

    stage_deadline: timedelta = timedelta(minutes=30)
    flip_deadline: timedelta = timedelta(seconds=30)
    flip_lead: timedelta = timedelta(milliseconds=30)
    resend_after: timedelta = timedelta(seconds=5)
    heard_within: timedelta = timedelta(seconds=15)
    keep_previous: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Expected:
    """What one member must report to count as staged: the digest of its certificate."""

    certificate: str
    mapping: str


@dataclass(frozen=True, slots=True)
class Clock:
    """A member's clock minus the coordinator's, in seconds, and the half-width of what is known of it."""

    offset: float = 0.0
    uncertainty: float = float("inf")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one member has answered in a rollout, and when it was last sent a command.

    `from_release` is what it showed when it had staged: what a revert must bring it back to.
    """

    staged: bool = False
    from_release: int | None = None
    flipped_at: datetime | None = None
    reverted: bool = False
    lagging: bool = False
    refusal: str = ""
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody else agrees to a rollout."""

    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Closure:
    """Nothing flips from `since` until just before `until`: a freeze, or the time between windows."""

    since: datetime
    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """One attempt to take the environment from one release to another. `deadline` is that of its present state.

    `repairs` is for the cause REPAIR: member → sha256 of its repair list. Such a rollout goes to what is shown already.
    `gated`: converged, and kept from the flip by a gate when it was last looked at.
    """

    id: str
    release: int
    cause: Cause
    by: str
    reason: str
    requested_at: datetime
    required: frozenset[str]
    optional: frozenset[str]
    expected: Mapping[str, Expected]
    timing: Timing
    repairs: Mapping[str, str] = field(default_factory=dict)
    approvals_needed: int = 0
    approvals: tuple[Approval, ...] = ()
    gated: bool = False
    state: RolloutState = RolloutState.QUEUED
    from_release: int = 0
    epoch: int = 0
    revert_epoch: int | None = None
    revert_id: str | None = None
    started_at: datetime | None = None
    deadline: datetime | None = None
    converged_at: datetime | None = None
    decided_at: datetime | None = None
    flip_at: datetime | None = None
    reverting_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str = ""
    skew_ms: float | None = None
    skew_uncertainty_ms: float | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hold:
    """Somebody has reserved the environment: staging goes on, no flip until it ends."""

    owner: str
    reason: str
    placed_at: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A member as last heard. `shows` is the release in its online slot.

    `configured` is what the config asks for: what a joining member becomes once it is fenced (its `floor`, the newest
    epoch that it is known to have accepted, is the environment's) and shows what the environment shows. `worked_at` is
    when it last reported progress, `asked_at` when it was last sent a command outside of a rollout.
    """

    requirement: Requirement
    configured: Requirement = Requirement.REQUIRED
    shows: int = 0
    shadow: int | None = None
    floor: int = 0
    heard_at: datetime | None = None
    worked_at: datetime | None = None
    asked_at: datetime | None = None
    clock: Clock = Clock()


@dataclass(frozen=True, slots=True)
class Settlement:
    """The command that brings old slots up to the online release, under an epoch of its own.

    `settled` are the members that answered for good; `refusals` says why one is not done, be it for now or for good.
    """

    id: str
    epoch: int
    release: int
    due_at: datetime
    sent_at: datetime | None = None
    settled: frozenset[str] = frozenset()
    refusals: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Environment:
    """Everything that `decide` needs. Saved whole, in the transaction that saves its commands.

    `epoch` with `epoch_id` is the identity of the newest command that was handed out. `queue` holds requests that
    wait, oldest first, at most one of automation. `closures` are those of the next weeks. `last` is the newest
    rollout that ended after it had an epoch: late answers of optional members are still served under it. `void` are
    the newest reverted epochs: a member that was flipped under one of them, and missed the revert, goes back before
    it stages again. `ended` are the rollouts that this very step ended: the hands write them to the history, the
    next step starts with none. `blocked` says why nothing starts: members know of epochs that the ledger forgot,
    and are asked what they show; `mixed` that they all answered, and do not show one release.
    """

    name: str
    epoch: int = 0
    epoch_id: str = ""
    shown: int = 0
    follow: bool = True
    pinned: str = ""
    barred: frozenset[int] = frozenset()
    members: Mapping[str, Member] = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()
    closures: tuple[Closure, ...] = ()
    queue: tuple[Rollout, ...] = ()
    active: Rollout | None = None
    last: Rollout | None = None
    void: tuple[int, ...] = ()
    settlement: Settlement | None = None
    blocked: str = ""
    mixed: bool = False
    ended: tuple[Rollout, ...] = ()
