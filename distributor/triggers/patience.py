"""When a release that did not get through is tried again. Pure."""

from __future__ import annotations

from datetime import timedelta

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
_MOST_DOUBLINGS = 16


def pause_after(tries: int) -> timedelta:
    """How long to wait after so many tries that failed: none at first, then FIRST_PAUSE doubling to LONGEST_PAUSE."""
    if tries <= 0:
        return timedelta()
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(tries - 1, _MOST_DOUBLINGS)))
