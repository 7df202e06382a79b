"""What is in automation's way."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from distributor.rollout.state import Cause, Environment, Rollout, RolloutState, Timing
from distributor.triggers.follow import hindrance, lags

MADE = datetime(2026, 7, 1, tzinfo=UTC)
SHOWS_3 = Environment("prod", shown=3)


def rollout(release: int, cause: Cause, requested_at: datetime = MADE) -> Rollout:
    return Rollout(
        id="r",
        release=release,
        cause=cause,
        by="anna",
        reason="",
        requested_at=requested_at,
        required=frozenset({"sales"}),
        optional=frozenset(),
        expected={},
        timing=Timing(),
        state=RolloutState.ONLINE,
    )


def test_an_environment_lags_until_the_newest_release_is_on_its_way() -> None:
    assert lags(SHOWS_3, 4)
    assert not lags(SHOWS_3, 3)
    assert not lags(replace(SHOWS_3, queue=(rollout(4, Cause.AUTO),)), 4)
    assert not lags(replace(SHOWS_3, active=rollout(4, Cause.TRIGGER)), 4)


def test_not_what_is_barred_or_while_pinned_or_blocked() -> None:
    assert hindrance(SHOWS_3, 4, MADE) == ""
    assert hindrance(replace(SHOWS_3, barred=frozenset({4})), 4, MADE) == "release 4 was flipped back here"
    assert hindrance(replace(SHOWS_3, pinned="rolled back"), 4, MADE) == "rolled back"
    assert hindrance(replace(SHOWS_3, blocked="mixed"), 4, MADE) == "mixed"


def test_an_operator_who_deployed_an_older_release_is_not_overruled_until_a_newer_one_is_made() -> None:
    chosen = replace(SHOWS_3, last=rollout(3, Cause.OPERATOR, MADE + timedelta(hours=1)))
    assert hindrance(chosen, 4, MADE) == "anna deployed release 3 when release 4 was there already"
    assert hindrance(chosen, 5, MADE + timedelta(hours=2)) == ""
