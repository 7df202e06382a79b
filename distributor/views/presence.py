"""Whether anybody is there to do something: no rollout moves without a coordinator, and none without its broker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from distributor.rollout.blockers import Blocker, Reason, clock
from distributor.views.wording import span

if TYPE_CHECKING:
    from distributor.ledger.processes import Presence, Trouble

CoordinatorWord = Literal["up", "silent", "stopped", "unheard"]
PROCESS_SILENT = timedelta(seconds=20)
NOBODY_THERE = (Reason.COORDINATOR, Reason.BROKER)
_SERVE = ("distributor serve coordinator",)


@dataclass(frozen=True, slots=True)
class Absence:
    """Who is missing: `short`, to be read after "waiting for", is empty and `blocker` None when nobody is."""

    short: str = ""
    blocker: Blocker | None = None


def word(presence: Presence, now: datetime) -> CoordinatorWord:
    """What is known of the coordinators."""
    if presence.seen_at is None:
        return "unheard"
    if presence.beat_at and now - presence.beat_at < PROCESS_SILENT:
        return "up"
    return "silent" if presence.seen_at == presence.beat_at else "stopped"


def absence(presence: Presence, trouble: Trouble | None, now: datetime) -> Absence:
    """Who is missing; `trouble` is what every coordinator that is up is in."""
    known = word(presence, now)
    if known == "up":
        if trouble is None:
            return Absence()
        what = f"the coordinator does not reach the broker since {clock(trouble.since)}: {trouble.why}"
        return Absence(
            "the broker, which the coordinator does not reach",
            Blocker(Reason.BROKER, "broker", what, trouble.since, ("distributor check",)),
        )
    seen = presence.seen_at
    what = "no coordinator was ever started"
    if seen:
        how = "it has not said that it stops" if known == "silent" else "the last one was stopped"
        what = f"no coordinator has been seen for {span(now - seen)}: {how}"
    short = "the coordinator, which was not heard of lately" if known == "silent" else "a coordinator: none is running"
    return Absence(short, Blocker(Reason.COORDINATOR, "coordinator", what, seen, _SERVE))
