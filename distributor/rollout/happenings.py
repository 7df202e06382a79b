"""What an event means, given the state: the rows of the rule-book's table. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from distributor.rollout import gates
from distributor.rollout.convergence import is_of, is_of_revert, misfit
from distributor.rollout.events import (
    Aborted,
    Approved,
    ClosuresTold,
    Detached,
    Event,
    Flipped,
    Hello,
    HoldPlaced,
    HoldReleased,
    MembersConfigured,
    Pinned,
    Progress,
    RefusalReason,
    Refused,
    Report,
    Requested,
    Reverted,
    Settled,
    Staged,
    Tick,
    Unpinned,
)
from distributor.rollout.state import Cause, Environment, RolloutState


class Happening(StrEnum):
    """The rows of the table: what an event means, given the state."""

    TICK = "time passes"
    DEADLINE = "deadline"
    STAGED = "staged as expected"
    UNFIT = "misfit or refused for good"
    NOT_STAGED = "flip refused: not staged"
    STUCK = "revert refused"
    RETRYABLE = "refused for now"
    FLIPPED = "flipped"
    REVERTED = "reverted"
    SETTLED = "settled"
    HELLO = "hello"
    PROGRESS = "progress"
    AHEAD = "a member knows a higher epoch"
    NEWER = "newer release"
    REFRESH = "refresh"
    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    ABORT = "abort"
    CALL_OFF = "abort of a request that waits"
    HOLD = "hold placed"
    RELEASE = "hold released"
    APPROVE = "approved"
    CLOSE = "closures told"
    PIN = "pinned"
    UNPIN = "unpinned"
    DETACH = "member detached"
    CONFIGURE = "config read"
    NOTHING = "nothing of now"


def classify(before: Environment, state: Environment, event: Event) -> Happening:
    """The row. `before` is the state as it was saved, `state` what recording the event made of it."""
    active = before.active
    match event:
        case Tick():
            deadline = state.active.deadline if state.active else None
            return (
                Happening.DEADLINE if deadline and event.at >= deadline and not _kept(state, event) else Happening.TICK
            )
        case Requested():
            return _BY_CAUSE[event.rollout.cause]
        case Aborted():
            if any(waiting.id == event.rollout_id for waiting in state.queue):
                return Happening.CALL_OFF
            is_active = active is not None and event.rollout_id in (None, active.id)
            return Happening.ABORT if is_active else Happening.NOTHING
        case HoldPlaced():
            return Happening.HOLD
        case HoldReleased():
            return Happening.RELEASE
        case Approved():
            return _of_approval(before, event)
        case ClosuresTold():
            return Happening.CLOSE
        case Pinned():
            return Happening.PIN
        case Unpinned():
            return Happening.UNPIN
        case MembersConfigured():
            return Happening.CONFIGURE
        case Detached():
            needed = active is not None and event.member in active.required
            return Happening.DETACH if needed else Happening.NOTHING
        case _:
            return _of_report(before, event)


def _of_report(state: Environment, report: Report) -> Happening:
    rollout = state.active or state.last
    if _is_ahead(state, report):
        return Happening.AHEAD
    match report:
        case Hello():
            return Happening.HELLO
        case Progress():
            return Happening.NOTHING if report.idle else Happening.PROGRESS
        case Staged() if rollout and is_of(rollout, report):
            return Happening.UNFIT if misfit(rollout, report) else Happening.STAGED
        case Flipped() if is_of(rollout, report):
            return Happening.FLIPPED
        case Reverted() if is_of_revert(rollout, report):
            return Happening.REVERTED
        case Refused() if is_of(rollout, report) or is_of_revert(rollout, report):
            return _of_refusal(report, is_of_revert(rollout, report))
        case Settled() | Refused() if state.settlement and _settles(state, report):
            return Happening.SETTLED
        case _:
            return Happening.NOTHING


def _of_refusal(report: Refused, of_revert: bool) -> Happening:
    match report.reason:
        case RefusalReason.RETRYABLE:
            return Happening.RETRYABLE
        case RefusalReason.NO_PREVIOUS:
            return Happening.STUCK
        case RefusalReason.PERMANENT:
            return Happening.STUCK if of_revert else Happening.UNFIT
        case RefusalReason.NOT_STAGED:
            return Happening.NOT_STAGED
        case RefusalReason.STALE | RefusalReason.CONFLICT:
            return Happening.NOTHING
        case _:
            assert_never(report.reason)


def _is_ahead(state: Environment, report: Report) -> bool:
    """Whether a member knows what the ledger forgot: a higher epoch, or the newest one under another name."""
    if report.floor > state.epoch:
        return True
    if not isinstance(report, Refused) or (report.epoch, report.rollout_id) != (state.epoch, state.epoch_id):
        return False
    # A closed epoch is stale too: that is an answer to a repeated fence, but never to what is under way.
    return report.reason is RefusalReason.CONFLICT or (
        report.reason is RefusalReason.STALE and state.active is not None
    )


def _settles(state: Environment, report: Report) -> bool:
    named = (report.rollout_id, report.epoch)
    return state.settlement is not None and named == (state.settlement.id, state.settlement.epoch)


def _kept(state: Environment, event: Tick) -> bool:
    """A gate keeps a converged rollout for as long as it is shut."""
    return (
        state.active is not None and state.active.state is RolloutState.CONVERGED and not gates.clear(state, event.at)
    )


def _of_approval(state: Environment, event: Approved) -> Happening:
    """After the decision there is nothing left to agree to."""
    waiting = {r.id for r in state.queue}
    if state.active and state.active.state in (RolloutState.STAGING, RolloutState.CONVERGED):
        waiting.add(state.active.id)
    return Happening.APPROVE if event.rollout_id in waiting else Happening.NOTHING


_BY_CAUSE = {
    Cause.AUTO: Happening.NEWER,
    Cause.REFRESH: Happening.REFRESH,
    Cause.OPERATOR: Happening.DEPLOY,
    Cause.ROLLBACK: Happening.ROLLBACK,
    Cause.REPAIR: Happening.REFRESH,
    Cause.TRIGGER: Happening.NEWER,
}
