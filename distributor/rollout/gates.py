"""What keeps a converged rollout from its flip though every member has staged: holds, closures, missing approvals.

While a gate is shut the rollout's deadline does not run: it could not have used the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import reduce

from distributor.rollout.events import Approved, ClosuresTold, Pinned, Unpinned
from distributor.rollout.state import Approval, Cause, Closure, Environment, Hold, Rollout, RolloutState
from distributor.rollout.step import Step


class GateKind(StrEnum):
    """What shuts it."""

    HOLD = "hold"
    CLOSURE = "closure"
    APPROVAL = "approval"


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate that is shut. `what` is a sentence, `who` whom it belongs to: an owner, or the environment."""

    kind: GateKind
    what: str
    who: str
    since: datetime | None = None
    until: datetime | None = None


def shut(state: Environment, rollout: Rollout, at: datetime) -> tuple[Gate, ...]:
    """The gates that this rollout would meet now; empty when it may flip.

    Everybody waits for a hold. A rollback waits for no closure: taking bad data back is what nobody may forbid.
    """
    return tuple(_shut(state, rollout, at))


def _shut(state: Environment, rollout: Rollout, at: datetime) -> Iterator[Gate]:
    yield from (_held(hold) for hold in state.holds)
    if rollout.cause is not Cause.ROLLBACK:
        yield from (_closed(state, closure) for closure in state.closures if closure.since <= at < closure.until)
    if missing := approvals_missing(rollout):
        given = f", after {_names(rollout)}" if rollout.approvals else ""
        what = f"{missing} more {'approval' if missing == 1 else 'approvals'} by others than {rollout.by}{given}"
        yield Gate(GateKind.APPROVAL, what, state.name, rollout.requested_at)


def approvals_missing(rollout: Rollout) -> int:
    """How many others must still agree. Each counts once, the requester never."""
    given = {approval.by for approval in rollout.approvals} - {rollout.by}
    return max(0, rollout.approvals_needed - len(given))


def clear(state: Environment, at: datetime) -> bool:
    """Whether nothing but its members keeps the active rollout."""
    return state.active is None or not shut(state, state.active, at)


def pass_by(step: Step, at: datetime) -> Step:
    """Time alone: a converged rollout is noted as waiting at a gate; once all are open, its time begins anew."""
    active = step.state.active
    if active is None or active.state is not RolloutState.CONVERGED:
        return step
    gated = not clear(step.state, at)
    if gated == active.gated:
        return step
    if gated:
        return step.rollout(gated=True)
    return step.rollout(gated=False, deadline=at + active.timing.stage_deadline)


def approve(step: Step, event: Approved) -> Step:
    """Somebody agrees to a rollout that waits or is being staged. An approval too much is only noted."""
    given = Approval(event.by, event.reason, event.at)
    active = step.state.active
    if active and active.id == event.rollout_id:
        return step.set(active=_approved(active, given))
    return step.set(queue=tuple(_approved(r, given) if r.id == event.rollout_id else r for r in step.state.queue))


def close(step: Step, event: ClosuresTold) -> Step:
    """The closures to come, all of them, instead of those told before."""
    active, known = step.state.active, step.state.closures
    step = step.set(closures=event.closures)
    if active is None or active.state not in (RolloutState.FLIPPING, RolloutState.REVERTING):
        return step
    late = [c for c in event.closures if c not in known and c.since <= event.at < c.until]
    told = (f"{c.why} came after the decision on release {active.release}: it holds from the next on" for c in late)
    return reduce(Step.alarm, told, step)


def pin(step: Step, event: Pinned) -> Step:
    """Automation is off until somebody says otherwise."""
    return step.set(pinned=f"pinned by {event.by}{f': {event.reason}' if event.reason else ''}")


def unpin(step: Step, event: Unpinned) -> Step:
    """Automation is on again, if the config has it so."""
    return step.set(pinned="")


def _approved(rollout: Rollout, given: Approval) -> Rollout:
    if any(approval.by == given.by for approval in rollout.approvals):
        return rollout
    return replace(rollout, approvals=(*rollout.approvals, given))


def _held(hold: Hold) -> Gate:
    return Gate(GateKind.HOLD, f"held by {hold.owner}: {hold.reason}", hold.owner, hold.placed_at, hold.until)


def _closed(state: Environment, closure: Closure) -> Gate:
    return Gate(GateKind.CLOSURE, closure.why, state.name, closure.since, closure.until)


def _names(rollout: Rollout) -> str:
    return " and ".join(f"{approval.by}'s" for approval in rollout.approvals)
