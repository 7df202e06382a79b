"""The rule-book: `decide(state, event) -> (state, outputs)`. No I/O, no clock, no ids, no chance, no log.

An event is first *classified* against the state: the same tick is a deadline once the time has come, the same staged
report is a misfit when its certificate is not the expected one, and a report of no current rollout only tells that
its member lives. Then the table has a cell for every happening in every phase; `_` says "recorded, nothing follows".
A cell names every state that a rollout may come into by it: docs/rollout-states.md is drawn from that.

Phase *idle*: no rollout is active. What waits is queued, what was is over, and members are still looked after.
The hands call `decide` under the environment's lock and save state and outputs in one transaction; a step that ends a
phase is best followed by a Tick at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from distributor.rollout import flipping, membership, queueing, reverting, settling, staging
from distributor.rollout.commands import Output
from distributor.rollout.convergence import is_of, is_of_revert, misfit
from distributor.rollout.events import (
    Aborted,
    Detached,
    Event,
    Flipped,
    Hello,
    HoldPlaced,
    HoldReleased,
    MembersConfigured,
    Progress,
    RefusalReason,
    Refused,
    Report,
    Requested,
    Reverted,
    Settled,
    Staged,
    Tick,
)
from distributor.rollout.state import Cause, Environment, RolloutState
from distributor.rollout.step import Step


class Phase(StrEnum):
    """The columns of the table."""

    IDLE = "idle"
    STAGING = "staging"
    CONVERGED = "converged"
    FLIPPING = "flipping"
    REVERTING = "reverting"


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
    DETACH = "member detached"
    CONFIGURE = "config read"
    NOTHING = "nothing of now"


@dataclass(frozen=True, slots=True)
class Cell:
    """What is done, and the states that a rollout may come into by it."""

    do: Callable[[Step, Any], Step]
    to: tuple[RolloutState, ...] = ()


def ignore(step: Step, event: Event) -> Step:
    """Nothing follows but what was recorded of the member."""
    return step


def idle_tick(step: Step, event: Tick) -> Step:
    """The next request starts; without one, old slots settle; and whoever must answer is asked again."""
    if step.state.queue:
        step = queueing.start(step, event)
    if step.state.active or (step.state.queue and not step.state.blocked):
        return step
    return membership.ask_the_astray(settling.settle(step, event), event)


_ = Cell(ignore)
_STAGING, _CONVERGED, _FLIPPING, _REVERTING, _ONLINE, _SUPERSEDED, _ABANDONED, _REVERTED, _REFUSED = (
    RolloutState.STAGING,
    RolloutState.CONVERGED,
    RolloutState.FLIPPING,
    RolloutState.REVERTING,
    RolloutState.ONLINE,
    RolloutState.SUPERSEDED,
    RolloutState.ABANDONED,
    RolloutState.REVERTED,
    RolloutState.REFUSED,
)
_newer = Cell(queueing.follow, (_SUPERSEDED,))
_refresh = Cell(queueing.refresh, (_REFUSED,))
_queue = Cell(queueing.deploy, (_SUPERSEDED, _REFUSED))
_instead = Cell(queueing.deploy_instead, (_SUPERSEDED, _REFUSED, _ABANDONED))
_back_first = Cell(flipping.roll_back, (_SUPERSEDED, _REFUSED, _REVERTING))
_call_off = Cell(queueing.call_off, (_ABANDONED,))
_hold = Cell(queueing.hold)
_too_late = Cell(queueing.hold_too_late)
_release = Cell(queueing.release_hold)
_configure = Cell(membership.configure)
_at_work = Cell(staging.at_work)
_for_now = Cell(staging.refuse_for_now)
_abandon_unfit = Cell(staging.unfit, (_ABANDONED,))
_abandon_late = Cell(staging.deadline, (_ABANDONED,))
_abandon_abort = Cell(staging.abort, (_ABANDONED,))
_abandon_ahead = Cell(membership.ahead_before_decision, (_ABANDONED,))
_revert_lost = Cell(flipping.lost_decision, (_REVERTING,))

_Row = tuple[Cell, Cell, Cell, Cell, Cell]
# fmt: off
_ROWS: dict[Happening, _Row] = {
    Happening.TICK: (
        Cell(idle_tick, (_STAGING, _REFUSED)),
        Cell(staging.remind),
        Cell(staging.pass_gates, (_FLIPPING,)),
        Cell(flipping.remind),
        Cell(reverting.remind),
    ),
    Happening.DEADLINE: (
        _, _abandon_late, _abandon_late, Cell(flipping.deadline, (_REVERTING,)), Cell(reverting.remind),
    ),
    Happening.STAGED: (
        Cell(membership.staged_late), Cell(staging.staged, (_CONVERGED,)), Cell(staging.staged),
        Cell(flipping.staged), _,
    ),
    Happening.UNFIT: (_, _abandon_unfit, _abandon_unfit, Cell(flipping.unfit, (_REVERTING,)), _),
    Happening.NOT_STAGED: (
        _, Cell(staging.not_staged), Cell(staging.not_staged, (_STAGING,)), Cell(flipping.not_staged), _,
    ),
    Happening.STUCK: (_, _, _, _, Cell(reverting.stuck)),
    Happening.RETRYABLE: (_, _for_now, _for_now, _for_now, _for_now),
    Happening.FLIPPED: (
        Cell(membership.flipped_late), _revert_lost, _revert_lost, Cell(flipping.flipped, (_ONLINE,)), _,
    ),
    Happening.REVERTED: (Cell(membership.reverted_late), _, _, _, Cell(reverting.reverted, (_REVERTED,))),
    Happening.SETTLED: (Cell(settling.settled), _, _, _, _),
    Happening.HELLO: (Cell(membership.greet), Cell(staging.greet), _, Cell(flipping.greet), Cell(reverting.greet)),
    Happening.PROGRESS: (_at_work, _at_work, _at_work, _at_work, _at_work),
    Happening.AHEAD: (
        Cell(membership.begin_hello_round), _abandon_ahead, _abandon_ahead,
        Cell(membership.ahead_after_decision, (_REVERTING,)), Cell(reverting.reissue),
    ),
    Happening.NEWER: (_newer, _newer, _newer, _newer, _newer),
    Happening.REFRESH: (_refresh, _refresh, _refresh, _refresh, _refresh),
    Happening.DEPLOY: (_queue, _instead, _instead, _queue, _queue),
    Happening.ROLLBACK: (_queue, _instead, _instead, _back_first, _queue),
    Happening.ABORT: (_, _abandon_abort, _abandon_abort, Cell(flipping.abort, (_REVERTING,)), _),
    Happening.CALL_OFF: (_call_off, _call_off, _call_off, _call_off, _call_off),
    Happening.HOLD: (_hold, _hold, _hold, _too_late, _too_late),
    Happening.RELEASE: (_release, _release, _release, _release, _release),
    Happening.DETACH: (
        _,
        Cell(staging.detach, (_ABANDONED, _CONVERGED)),
        Cell(staging.detach, (_ABANDONED,)),
        Cell(flipping.detach, (_REVERTING, _REVERTED, _ONLINE)),
        Cell(reverting.detach, (_REVERTED,)),
    ),
    Happening.CONFIGURE: (_configure, _configure, _configure, _configure, _configure),
    Happening.NOTHING: (_, _, _, _, _),
}
# fmt: on
TABLE: Mapping[tuple[Happening, Phase], Cell] = {
    (happening, phase): cell for happening, row in _ROWS.items() for phase, cell in zip(Phase, row, strict=True)
}


def decide(state: Environment, event: Event) -> tuple[Environment, tuple[Output, ...]]:
    """One step: the state to save, and what to send or show once it is saved. Total over all events and states."""
    step = Step(state).set(ended=())
    if isinstance(event, Report):
        step = membership.hear(step, event)
    elif isinstance(event, Tick):
        step = queueing.expire(step, event.at)
    elif isinstance(event, Detached):
        step = membership.demote(step, event)
    happening = classify(state, step.state, event)
    step = membership.conclude(TABLE[happening, phase_of(state)].do(step, event))
    return step.state, step.outputs


def phase_of(state: Environment) -> Phase:
    """The column."""
    return Phase(state.active.state.value) if state.active else Phase.IDLE


def classify(before: Environment, state: Environment, event: Event) -> Happening:
    """The row. `before` is the state as it was saved, `state` what recording the event made of it."""
    active = before.active
    match event:
        case Tick():
            deadline = state.active and state.active.deadline
            return Happening.DEADLINE if deadline and event.at >= deadline and not _held(state) else Happening.TICK
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


def _held(state: Environment) -> bool:
    """A hold keeps a converged rollout for as long as it stands."""
    return bool(state.holds) and state.active is not None and state.active.state is RolloutState.CONVERGED


_BY_CAUSE = {
    Cause.AUTO: Happening.NEWER,
    Cause.REFRESH: Happening.REFRESH,
    Cause.OPERATOR: Happening.DEPLOY,
    Cause.ROLLBACK: Happening.ROLLBACK,
    Cause.REPAIR: Happening.REFRESH,
}
