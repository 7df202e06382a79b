"""What an environment is taken to before a request that is made now has its turn."""

from __future__ import annotations

from dataclasses import dataclass

from distributor.rollout.state import Cause, Environment, Rollout, RolloutState

_BEFORE_ALL = (Cause.OPERATOR, Cause.ROLLBACK)


@dataclass(frozen=True, slots=True)
class Ahead:
    """`shown`: the release that the environment will show by then, if all goes well. `promised`: releases that members
    are being brought to, or wait for: what they are told to load must stay what is expected of them."""

    shown: int
    promised: frozenset[int]

    @classmethod
    def of(cls, state: Environment, cause: Cause) -> Ahead:
        """As the rule-book queues requests of this cause."""
        before = _before(state, cause)
        promised = {rollout.release for rollout in before}
        if state.active:
            promised.add(state.active.release)
        return cls(before[-1].release if before else state.shown, frozenset(promised))


def _before(state: Environment, cause: Cause) -> list[Rollout]:
    active = [state.active] if state.active and state.active.state is not RolloutState.REVERTING else []
    if cause in _BEFORE_ALL:
        # It takes the place of all that waits and of what is not decided; a rollback takes back what is.
        decided = cause is Cause.OPERATOR and active and active[0].state is RolloutState.FLIPPING
        return active if decided else []
    return [*active, *(r for r in state.queue if not (cause.automatic and r.cause.automatic))]
