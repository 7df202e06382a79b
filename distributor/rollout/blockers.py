"""What an environment waits for as values: who, why in a sentence, since when, and the commands that would help. Pure.

`waiting.py` says the same in one sentence; every reader renders these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from shlex import quote

from distributor.rollout.convergence import not_heard
from distributor.rollout.gates import Gate, GateKind, shut
from distributor.rollout.state import SILENT_AFTER, Environment, Hold, Requirement, Rollout, RolloutState
from distributor.rollout.step import answer_of, required_members


class Reason(StrEnum):
    """Why something does not get on."""

    COORDINATOR = "coordinator"
    BROKER = "broker"
    HOLD = "hold"
    CLOSED = "closed"
    APPROVAL = "approval"
    SILENT = "silent"
    UNHEARD = "unheard"
    STALLED = "stalled"
    REFUSED = "refused"
    LOADING = "loading"
    UNANSWERED = "unanswered"
    QUEUED = "queued"
    BLOCKED = "blocked"
    JOINING = "joining"
    DETACHED = "detached"
    NOT_FOLLOWED = "not-followed"


@dataclass(frozen=True, slots=True)
class Blocker:
    """One thing that is waited for. `what` is a sentence that names `who`; `helps` are commands, the mildest first."""

    reason: Reason
    who: str
    what: str
    since: datetime | None = None
    helps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stall:
    """A command of `rollout_id` that a member works on and does not get on with, as the member last said it.

    `mend` is a command for the store itself, or empty. Both times are the coordinator's; `at` is when it was last said.
    """

    rollout_id: str
    phase: str
    since: datetime
    waiting_for: str
    mend: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Beside:
    """What is known of an environment beside its state.

    `away` is who is missing for what is to be done: coordinator or broker. `stalls` and `loads` are by system; a load
    is told as in `load 40,000 of 120,000 rows`. `not_followed` is why the newest release is not asked for.
    """

    away: Blocker | None = None
    stalls: Mapping[str, Stall] = field(default_factory=dict)
    loads: Mapping[str, str] = field(default_factory=dict)
    not_followed: Blocker | None = None


def blockers(state: Environment, now: datetime, beside: Beside | None = None) -> tuple[Blocker, ...]:
    """Everything that is waited for, in the order in which to look at it; empty when nothing is."""
    return tuple(_found(state, now, beside or Beside()))


def stalled(state: Environment, system: str, now: datetime, stalls: Mapping[str, Stall]) -> Stall | None:
    """The stall of a member that counts: of the rollout that goes on, and said lately."""
    stall = stalls.get(system)
    active = state.active
    if stall is None or active is None or stall.rollout_id not in (active.id, active.revert_id):
        return None
    return stall if now - stall.at <= SILENT_AFTER and system in awaited(active) else None


def awaited(rollout: Rollout) -> list[str]:
    """The required members whose answer the rollout waits for in its state."""
    answers = {name: answer_of(rollout, name) for name in sorted(rollout.required)}
    match rollout.state:
        case RolloutState.STAGING:
            return [name for name, answer in answers.items() if not answer.staged]
        case RolloutState.FLIPPING:
            return [name for name, answer in answers.items() if not answer.flipped_at]
        case RolloutState.REVERTING:
            return [name for name, answer in answers.items() if not answer.reverted]
        case _:
            return []


def clock(at: datetime) -> str:
    """A time, as sentences have it."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def serve(environment: str, system: str) -> str:
    """The command that starts a member's consumer."""
    return f"distributor serve consumer --env {environment} --system {system}"


def _detach(state: Environment, system: str) -> str:
    return f"distributor detach {state.name} {system} --reason …"


def _found(state: Environment, now: datetime, beside: Beside) -> Iterator[Blocker]:
    if beside.away:
        # Whoever is not heard of then may well be there: nobody listens, or nothing gets through.
        yield beside.away
        return
    if state.active:
        yield from _of_active(state, state.active, now, beside)
    else:
        yield from _of_idle(state, now)
    for name, member in sorted(state.members.items()):
        if member.requirement is Requirement.DETACHED:
            what = f"{name} is detached: what it shows is unknown until it is back"
            yield Blocker(Reason.DETACHED, name, what, member.heard_at, (serve(state.name, name),))
    if beside.not_followed:
        yield beside.not_followed


def _of_active(state: Environment, rollout: Rollout, now: datetime, beside: Beside) -> Iterator[Blocker]:
    if rollout.state is not RolloutState.CONVERGED:
        yield from (_of_member(state, rollout, name, now, beside) for name in awaited(rollout))
    elif kept := shut(state, rollout, now):
        yield from (_of_hold(state, hold) for hold in state.holds)
        yield from (_of_gate(state, rollout, gate) for gate in kept if gate.kind is not GateKind.HOLD)
    else:
        for name in not_heard(state, rollout, now):
            yield _of_silence(state, name, now) or _of_quiet(state, name)


def _of_idle(state: Environment, now: datetime) -> Iterator[Blocker]:
    members = required_members(state)
    if state.mixed:
        shown = sorted({member.shows for member in members.values()})
        helps = tuple(f"distributor deploy {state.name} --release {release}" for release in shown)
        yield Blocker(Reason.BLOCKED, "an operator", "an operator has to pick the release to go on from", None, helps)
    elif state.blocked:
        for name, member in members.items():
            if member.floor < state.epoch:
                what = f"{name} has not said yet what it shows"
                yield Blocker(Reason.BLOCKED, name, what, member.heard_at, (serve(state.name, name),))
    elif state.queue:
        first = state.queue[0]
        yield Blocker(Reason.QUEUED, state.name, f"release {first.release} waits to start", first.requested_at)
    else:
        for name, member in sorted(state.members.items()):
            if member.requirement is Requirement.JOINING:
                joins = Blocker(
                    Reason.JOINING,
                    name,
                    f"{name} joins as soon as it is fenced and shows release {state.shown}; it shows {member.shows}",
                    helps=(f"distributor refresh {state.name}",) if member.shows != state.shown else (),
                )
                yield _of_silence(state, name, now) or joins


def _of_hold(state: Environment, hold: Hold) -> Blocker:
    until = f" until {clock(hold.until)}" if hold.until else ""
    # One of several holds is ended by its owner's name; the others stand.
    owner = f" --owner {quote(hold.owner)}" if len(state.holds) > 1 else ""
    return Blocker(
        Reason.HOLD,
        hold.owner,
        f"held by {hold.owner}{until}: {hold.reason}",
        hold.placed_at,
        (f"distributor release-hold {state.name}{owner}",),
    )


def _of_gate(state: Environment, rollout: Rollout, gate: Gate) -> Blocker:
    if gate.kind is GateKind.APPROVAL:
        what = f"release {rollout.release} needs {gate.what}"
        return Blocker(
            Reason.APPROVAL, gate.who, what, gate.since, (f"distributor approve {rollout.id[:8]} --reason …",)
        )
    until = f", until {clock(gate.until)}" if gate.until else ""
    return Blocker(Reason.CLOSED, gate.who, f"{state.name} is closed{until}: {gate.what}", gate.since)


def _of_member(state: Environment, rollout: Rollout, name: str, now: datetime, beside: Beside) -> Blocker:
    answer = answer_of(rollout, name)
    if stall := stalled(state, name, now, beside.stalls):
        return _of_stall(name, stall)
    if silence := _of_silence(state, name, now):
        return silence
    if answer.refusal:
        what = f"{name} cannot yet: {answer.refusal.removeprefix(f'{name} ')}"
        # A member that cannot go back keeps the environment from everything else.
        last_way_out = (_detach(state, name),) if rollout.state is RolloutState.REVERTING else ()
        return Blocker(Reason.REFUSED, name, what, None, ("distributor check", *last_way_out))
    if load := beside.loads.get(name):
        return Blocker(Reason.LOADING, name, f"{name} is at work: {load}")
    return Blocker(Reason.UNANSWERED, name, f"{name} has not answered yet", answer.sent_at)


def _of_stall(name: str, stall: Stall) -> Blocker:
    what = f"{name} does not get on in the phase {stall.phase}: it waits for {stall.waiting_for}"
    return Blocker(Reason.STALLED, name, what, stall.since, (stall.mend,) if stall.mend else ())


def _of_silence(state: Environment, name: str, now: datetime) -> Blocker | None:
    member = state.members.get(name)
    heard = member.heard_at if member else None
    if heard is not None and now - heard <= SILENT_AFTER:
        return None
    helps = [serve(state.name, name)]
    if member and member.requirement is Requirement.REQUIRED:
        helps.append(_detach(state, name))
    if heard is None:
        return Blocker(Reason.UNHEARD, name, f"{name} was never heard of", None, tuple(helps))
    return Blocker(Reason.SILENT, name, f"{name} was not heard of since {clock(heard)}", heard, tuple(helps))


def _of_quiet(state: Environment, name: str) -> Blocker:
    """Not yet called silent, but nothing is decided without a word of it."""
    heard = state.members[name].heard_at
    assert heard is not None
    what = f"{name} must be heard of before the flip; its last word was at {clock(heard)}"
    return Blocker(Reason.UNANSWERED, name, what, heard, (serve(state.name, name),))
