"""When to publish: after quiet, at the latest after the longest delay, with slow polls while nothing happens."""

from __future__ import annotations

from distributor.capture.journal import Pending
from distributor.capture.watch import LONGEST_POLL, SHORTEST_POLL, Gathering, Publish, Wait, judge


def decisions(*looks: tuple[float, Pending | None], quiet: float = 1.0, longest: float = 3.0) -> list[Wait | Publish]:
    gathering, found = Gathering(), []
    for at, waiting in looks:
        gathering, decision = judge(gathering, waiting, at, quiet, longest)
        found.append(decision)
    return found


def test_polls_slow_down_while_nothing_happens() -> None:
    waits = decisions(*[(float(at), None) for at in range(100, 120)])
    seconds = [wait.seconds for wait in waits if isinstance(wait, Wait)]
    assert seconds[0] == SHORTEST_POLL
    assert seconds == sorted(seconds)
    assert seconds[5] == 0.05
    assert seconds[-1] == LONGEST_POLL


def test_a_change_makes_polls_quick_again() -> None:
    looks = [*((float(at), None) for at in range(20)), (20.0, Pending(1, 1, 0.0)), (20.1, None)]
    assert decisions(*looks)[-2:] == [Wait(SHORTEST_POLL)] * 2


def test_publishes_when_it_has_been_quiet() -> None:
    change = Pending(1, 7, 0.0)
    found = decisions((10.0, None), (10.1, change), (10.9, change), (11.1, change))
    assert [isinstance(decision, Publish) for decision in found] == [False, False, False, True]


def test_further_changes_prolong_but_not_beyond_the_longest_delay() -> None:
    looks = [(at / 2, Pending(at + 1, at + 1, at / 2)) for at in range(7)]
    found = decisions(*looks)
    assert [isinstance(decision, Publish) for decision in found] == [False] * 6 + [True]


def test_what_has_waited_before_the_start_counts() -> None:
    assert decisions((100.0, Pending(5, 5, 60.0))) == [Publish()]


def test_the_last_wait_ends_when_it_is_due() -> None:
    change = Pending(1, 1, 0.0)
    last = decisions((0.0, change), (0.995, change))[-1]
    assert isinstance(last, Wait)
    assert 0.004 < last.seconds < 0.006
