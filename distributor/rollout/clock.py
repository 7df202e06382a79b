"""How far a member's clock is off, estimated from commands and their reports, as NTP does. Only skew leans on it."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from distributor.rollout.state import Clock

_DRIFT = 1.02
"""An older estimate is trusted a little less at each new one: clocks drift, and a path may have changed for good."""


def estimate(
    command_sent_at: datetime | None,
    command_received_at: datetime | None,
    reported_at: datetime,
    report_received_at: datetime,
) -> Clock | None:
    """The clock of a member from one exchange; None when it tells nothing.

    The first and last time are the coordinator's, the two between are the member's. Offset: member minus
    coordinator, in seconds, right if both ways took equally long; the uncertainty is half of what both took.
    """
    if command_sent_at is None or command_received_at is None:
        return None
    there = (command_received_at - command_sent_at).total_seconds()
    back = (report_received_at - reported_at).total_seconds()
    if there + back < 0:
        return None
    return Clock(offset=(there - back) / 2, uncertainty=(there + back) / 2)


def combine(old: Clock, new: Clock | None) -> Clock:
    """The better of two estimates; the older one has aged."""
    if new is None:
        return old
    aged = Clock(old.offset, old.uncertainty * _DRIFT)
    return new if new.uncertainty <= aged.uncertainty else aged


def to_member(at: datetime, clock: Clock) -> datetime:
    """A moment of the coordinator's clock on the member's. An unknown clock is taken for right."""
    return at + timedelta(seconds=clock.offset if math.isfinite(clock.offset) else 0.0)


def to_coordinator(at: datetime, clock: Clock) -> datetime:
    """The inverse of `to_member`."""
    return at - timedelta(seconds=clock.offset if math.isfinite(clock.offset) else 0.0)
