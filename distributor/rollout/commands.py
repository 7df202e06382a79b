"""What the coordinator tells members. Identity of a command = (epoch, rollout_id)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Stage:
    """Load `release` into the shadow. `void` are reverted epochs that the member may have missed.

    `repair` is the sha256 of a repair list for slots of the member that an audit found altered; "" for none.
    """

    member: str
    epoch: int
    rollout_id: str
    release: int
    from_release: int
    void: tuple[int, ...] = ()
    repair: str = ""


@dataclass(frozen=True, slots=True)
class Flip:
    """Put the slot that holds `release` online, not before `at` nor after `not_after` (the coordinator's clock)."""

    member: str
    epoch: int
    rollout_id: str
    release: int
    at: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Revert:
    """Go back to the previous slot if it was flipped away from under epoch `of`."""

    member: str
    epoch: int
    rollout_id: str
    of: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Close this epoch; also the fence for a member that comes back."""

    member: str
    epoch: int
    rollout_id: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Bring the slot that is not online up to `release`, which is online. Never moves the pointer."""

    member: str
    epoch: int
    rollout_id: str
    release: int


Command = Stage | Flip | Revert | Abandon | Settle


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something an operator must see; not sent to anybody."""

    text: str


Output = Command | Alarm
