"""When a request will begin and be online: what the history tells, and nothing that it does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from distributor.ledger.refresh_requests import RefreshRequest, RequestState
from distributor.requests.estimates import History, Sample, forecasts, staging
from distributor.rollout.state import Approval, Cause, Closure, Environment, Hold, Rollout, RolloutState, Timing

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
IDLE = Environment("uat", shown=3)


def sample(rows: int, seconds: float) -> Sample:
    return Sample(rows, timedelta(seconds=seconds), timedelta(seconds=1))


def known(*samples: Sample, resets: tuple[float, ...] = (), newest: int = 5) -> History:
    return History(samples, resets, lambda one, other: 1_000 * abs(one - other), newest)


def request(name: str, **more: object) -> RefreshRequest:
    return replace(RefreshRequest(name, "uat", "tess", "a test", NOW), **more)


def rollout(state: RolloutState, **more: object) -> Rollout:
    made = Rollout(
        id="r",
        release=4,
        cause=Cause.REFRESH,
        by="tess",
        reason="",
        requested_at=NOW,
        required=frozenset({"pos"}),
        optional=frozenset(),
        expected={},
        timing=Timing(),
        state=state,
    )
    return replace(made, **more)


SAMPLES = (sample(1_000, 10), sample(2_000, 20), sample(100_000, 600))


def test_staging_is_as_it_was_for_about_as_many_rows() -> None:
    many = [sample(1_000, 9), sample(1_100, 10), sample(900, 11), sample(1_000, 10), sample(1_000, 10)]
    assert staging([*many, sample(1_000_000, 900)], 1_000) == timedelta(seconds=10)
    assert staging([sample(1_000, 10)], 100_000) == timedelta(seconds=1_000), "more than ever: in proportion"
    assert staging([sample(0, 2)], 50) == timedelta(seconds=2)


def test_one_after_the_other() -> None:
    history = known(sample(2_000, 20))
    found = forecasts(IDLE, [request("a"), request("b", release=3)], history, NOW)
    assert found["a"].begins_at == NOW
    assert found["a"].online_at == NOW + timedelta(seconds=21)
    assert found["b"].begins_at == found["a"].online_at
    assert found["b"].online_at == NOW + timedelta(seconds=42)


def test_behind_what_is_under_way() -> None:
    active = rollout(RolloutState.STAGING, started_at=NOW - timedelta(seconds=5))
    state = replace(IDLE, active=active)
    line = [request("a", state=RequestState.ROLLING_OUT, rollout_id="r", started_at=active.started_at), request("b")]
    found = forecasts(state, line, known(sample(1_000, 20)), NOW)
    assert found["a"].online_at == NOW + timedelta(seconds=16)
    assert found["b"].begins_at == found["a"].online_at
    late = replace(IDLE, active=replace(active, started_at=NOW - timedelta(hours=1)))
    assert forecasts(late, line, known(sample(1_000, 20)), NOW)["a"].online_at == NOW + timedelta(seconds=1)


def test_without_a_history_nothing_is_said() -> None:
    found = forecasts(IDLE, [request("a"), request("b")], known(), NOW)
    assert (found["a"].begins_at, found["a"].online_at) == (NOW, None)
    assert found["a"].unknown == found["b"].unknown == "no rollout has gone online here yet"
    assert found["b"].begins_at is None
    reset = forecasts(IDLE, [request("a", reset=True)], known(*SAMPLES), NOW)["a"]
    assert (reset.online_at, reset.unknown) == (None, "no reset has come to its end here yet")
    assert forecasts(IDLE, [request("a", reset=True)], known(*SAMPLES, resets=(30.0,)), NOW)["a"].online_at


def test_holds_closures_and_approvals_put_it_off_or_make_it_unknown() -> None:
    until = NOW + 30 * MINUTE
    held = replace(IDLE, holds=(Hold("ann", "demo", NOW, until),))
    line = [request("a", release=4)]
    found = forecasts(held, line, known(sample(1_000, 10)), NOW)["a"]
    assert (found.begins_at, found.online_at) == (NOW, until + timedelta(seconds=1)), "a hold does not stop staging"
    closed = replace(held, closures=(Closure(NOW, until + MINUTE, "closed"),))
    assert forecasts(closed, line, known(sample(1_000, 10)), NOW)["a"].online_at == until + MINUTE + timedelta(
        seconds=1
    )
    endless = replace(IDLE, holds=(Hold("ann", "demo", NOW),))
    assert forecasts(endless, line, known(*SAMPLES), NOW)["a"].unknown == "the hold of ann has no end"
    active = rollout(RolloutState.CONVERGED, started_at=NOW, converged_at=NOW, approvals_needed=1)
    mine = [request("a", state=RequestState.ROLLING_OUT, rollout_id="r")]
    waiting = forecasts(replace(IDLE, active=active), mine, known(*SAMPLES), NOW)["a"]
    assert (waiting.online_at, waiting.unknown) == (None, "1 more approval is needed")
    approved = replace(active, approvals=(Approval("ann", "", NOW),))
    assert forecasts(replace(IDLE, active=approved), mine, known(*SAMPLES), NOW)["a"].online_at
