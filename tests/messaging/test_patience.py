"""Pauses grow while something keeps failing, and are short again after it has worked."""

from __future__ import annotations

from tenacity import RetryCallState, Retrying

from distributor.messaging.patience import STEADY_SECONDS, WaitAnew

LONGEST = 30.0


class Failing:
    """A series of attempts, each of which fails after having gone on for some seconds."""

    def __init__(self) -> None:
        self._wait = WaitAnew(multiplier=0.2, longest=LONGEST)
        self._state = RetryCallState(Retrying(), None, (), {})
        self._now = 100.0

    def after(self, seconds: float) -> float:
        """The pause that follows."""
        self._now += seconds
        self._state.outcome_timestamp = self._now
        pause = self._wait(self._state)
        self._state.attempt_number += 1
        self._now += pause
        return pause


def longest_of_the_first(failing: Failing, lives: float) -> float:
    return max(failing.after(lives), failing.after(0.0))


def test_failures_in_a_row_wait_longer_each_time() -> None:
    failing = Failing()
    assert longest_of_the_first(failing, 0.0) <= 0.4
    assert max(failing.after(0.01) for _ in range(200)) > LONGEST / 2


def test_after_it_has_worked_it_is_tried_again_soon() -> None:
    failing = Failing()
    for _ in range(50):
        failing.after(0.01)
    for _ in range(50):
        assert longest_of_the_first(failing, STEADY_SECONDS + 0.1) <= 0.4
