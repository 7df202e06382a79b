"""How long to wait before what failed is tried again: longer each time, and briefly again once it has worked."""

from __future__ import annotations

from copy import copy

from tenacity import RetryCallState, wait_random_exponential
from tenacity.wait import wait_base

STEADY_SECONDS = 2.0
"""What went on for longer than this before it failed had worked: the failures before count no more."""


class WaitAnew(wait_base):
    """Random pauses of up to `multiplier` seconds, doubling up to `longest`; for one series of attempts.

    Work that never returns, such as a service's loop, would else wait the longest pause at every failure for the rest
    of its life.
    """

    def __init__(self, *, multiplier: float, longest: float) -> None:
        self._backoff = wait_random_exponential(multiplier=multiplier, max=longest)
        self._over = 0
        self._next_at = 0.0

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds."""
        failed_at = retry_state.outcome_timestamp or 0.0
        if self._next_at and failed_at - self._next_at > STEADY_SECONDS:
            self._over = retry_state.attempt_number - 1
        counted = copy(retry_state)
        counted.attempt_number -= self._over
        pause = self._backoff(counted)
        self._next_at = failed_at + pause
        return pause
