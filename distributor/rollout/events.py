"""What can happen to an environment. Every event carries its time; ids are minted where it enters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from distributor.rollout.state import Clock, Closure, Requirement, Rollout


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing but time. `fresh_id` names whatever rollout, revert or settlement this step may have to begin."""

    at: datetime
    fresh_id: str


@dataclass(frozen=True, slots=True)
class Requested:
    """Somebody, or automation, asks for a rollout; `rollout` is in state queued and complete but for its epoch."""

    at: datetime
    rollout: Rollout


@dataclass(frozen=True, slots=True)
class Aborted:
    """An operator calls the active rollout (or a queued one, by id) off."""

    at: datetime
    by: str
    reason: str
    fresh_id: str
    rollout_id: str | None = None


@dataclass(frozen=True, slots=True)
class HoldPlaced:
    """Somebody reserves the environment."""

    at: datetime
    owner: str
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class HoldReleased:
    """The holds of one owner (None: all) end."""

    at: datetime
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class ClosuresTold:
    """When nothing may flip during the next weeks: freezes, and the time between windows."""

    at: datetime
    closures: tuple[Closure, ...]


@dataclass(frozen=True, slots=True)
class Approved:
    """Somebody agrees to a rollout that is queued or not yet decided."""

    at: datetime
    rollout_id: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pinned:
    """An operator ends automation here."""

    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unpinned:
    """An operator lets automation go on."""

    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class MembersConfigured:
    """The config's members, at a coordinator's start. Frozen sets of running rollouts do not change."""

    at: datetime
    members: Mapping[str, Requirement]
    follow: bool


@dataclass(frozen=True, slots=True)
class Detached:
    """An operator demotes a member that cannot be reached."""

    at: datetime
    member: str
    by: str
    reason: str
    fresh_id: str


class RefusalReason(StrEnum):
    """Why a member did not do what a command said."""

    STALE = "stale"
    CONFLICT = "conflict"
    NOT_STAGED = "not_staged"
    NO_PREVIOUS = "no_previous"
    PERMANENT = "permanent"
    RETRYABLE = "retryable"


@dataclass(frozen=True, slots=True)
class Report:
    """What every report of a member carries. `shows` and `shadow` are the releases of its two slots."""

    at: datetime
    member: str
    epoch: int
    rollout_id: str
    floor: int
    shows: int
    shadow: int | None
    clock: Clock | None
    fresh_id: str


@dataclass(frozen=True, slots=True)
class Hello(Report):
    """Start or reconnect. `flipped_epoch` as in the member's row."""

    flipped_epoch: int | None


@dataclass(frozen=True, slots=True)
class Progress(Report):
    """A load goes on; `idle`: none does, the member only says that it lives."""

    idle: bool = False


@dataclass(frozen=True, slots=True)
class Staged(Report):
    """The shadow holds the release; `certificate` is the digest of what was read back as stored."""

    certificate: str
    mapping: str


@dataclass(frozen=True, slots=True)
class Refused(Report):
    """The command was not carried out."""

    reason: RefusalReason
    text: str


@dataclass(frozen=True, slots=True)
class Flipped(Report):
    """The shadow is online since `flipped_at` (the coordinator's time, translated)."""

    flipped_at: datetime


@dataclass(frozen=True, slots=True)
class Reverted(Report):
    """The member shows `shows` again."""


@dataclass(frozen=True, slots=True)
class Settled(Report):
    """Both slots hold the online release."""


Event = (
    Tick
    | Requested
    | Aborted
    | HoldPlaced
    | HoldReleased
    | ClosuresTold
    | Approved
    | Pinned
    | Unpinned
    | MembersConfigured
    | Detached
    | Hello
    | Progress
    | Staged
    | Refused
    | Flipped
    | Reverted
    | Settled
)
