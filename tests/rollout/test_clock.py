"""The clock's estimate, against clocks that are known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from distributor.rollout.clock import combine, estimate, to_coordinator, to_member
from distributor.rollout.state import Clock

AT = datetime(2026, 1, 1, tzinfo=UTC)
seconds = st.floats(0, 10)


@given(st.floats(-1000, 1000), seconds, seconds, seconds)
def test_the_true_offset_lies_within_the_uncertainty(off: float, there: float, work: float, back: float) -> None:
    received = AT + timedelta(seconds=there)
    reported = received + timedelta(seconds=work)
    wrong = timedelta(seconds=off)
    clock = estimate(AT, received + wrong, reported + wrong, reported + timedelta(seconds=back))
    assert clock is not None
    assert abs(clock.offset - off) <= clock.uncertainty + 1e-5


def test_a_report_without_a_command_tells_nothing() -> None:
    assert estimate(None, None, AT, AT) is None
    assert estimate(AT, AT, AT + timedelta(seconds=1), AT) is None


def test_the_better_estimate_is_kept_until_it_is_old() -> None:
    good, bad = Clock(1.0, 0.001), Clock(2.0, 0.01)
    assert combine(Clock(), bad) == bad
    assert combine(bad, good) == good
    kept = good
    for _ in range(50):
        kept = combine(kept, bad)
        assert kept.offset == 1.0
    for _ in range(200):
        kept = combine(kept, bad)
    assert kept == bad


@given(st.floats(-1000, 1000))
def test_there_and_back_is_the_same_moment(off: float) -> None:
    clock = Clock(off, 0.1)
    assert abs(to_coordinator(to_member(AT, clock), clock) - AT) <= timedelta(microseconds=1)


def test_an_unknown_clock_is_taken_for_right() -> None:
    assert to_member(AT, Clock()) == AT
