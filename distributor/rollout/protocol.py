"""The rule-book: `decide(state, event) -> (state, outputs)`. No I/O, no clock, no ids, no chance, no log.

An event is first *classified* against the state (happenings.py): the same tick is a deadline once the time has come,
the same staged report is a misfit when its certificate is not the expected one, and a report of no current rollout
only tells that its member lives. Then the table has a cell for every happening in every phase; `_` says "recorded,
nothing follows". A cell names every state that a rollout may come into by it: docs/rollout-states.md is drawn from
that.

Phase *idle*: no rollout is active. What waits is queued, what was is over, and members are still looked after.
The hands call `decide` under the environment's lock and save state and outputs in one transaction; a step that ends a
phase is best followed by a Tick at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from distributor.rollout import flipping, gates, membership, queueing, reverting, settling, staging
from distributor.rollout.commands import Output
from distributor.rollout.events import Detached, Event, Report, Tick
from distributor.rollout.happenings import Happening, classify
from distributor.rollout.state import Environment, RolloutState
from distributor.rollout.step import Step


class Phase(StrEnum):
    """The columns of the table."""

    IDLE = "idle"
    STAGING = "staging"
    CONVERGED = "converged"
    FLIPPING = "flipping"
    REVERTING = "reverting"


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
_approve = Cell(gates.approve)
_close = Cell(gates.close)
_pin, _unpin = Cell(gates.pin), Cell(gates.unpin)
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
    Happening.APPROVE: (_approve, _approve, _approve, _approve, _approve),
    Happening.CLOSE: (_close, _close, _close, _close, _close),
    Happening.PIN: (_pin, _pin, _pin, _pin, _pin),
    Happening.UNPIN: (_unpin, _unpin, _unpin, _unpin, _unpin),
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
        step = gates.pass_by(queueing.expire(step, event.at), event.at)
    elif isinstance(event, Detached):
        step = membership.demote(step, event)
    happening = classify(state, step.state, event)
    step = membership.conclude(TABLE[happening, phase_of(state)].do(step, event))
    return step.state, step.outputs


def phase_of(state: Environment) -> Phase:
    """The column."""
    return Phase(state.active.state.value) if state.active else Phase.IDLE
