"""What people and automation ask of environments: rollouts, holds, aborts."""

from distributor.requests.interventions import abort, detach, hold, release_hold
from distributor.requests.rollouts import request_rollout, rollback

__all__ = ["abort", "detach", "hold", "release_hold", "request_rollout", "rollback"]
