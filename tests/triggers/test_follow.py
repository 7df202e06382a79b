"""Which releases automation asks for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from distributor.rollout.state import Cause, Environment, Rollout, RolloutState, Timing
from distributor.triggers.follow import wanted

MADE = datetime(2026, 7, 1, tzinfo=UTC)
FOLLOWING = Environment("prod", shown=3, follow=True)


def rollout(release: int, cause: Cause, requested_at: datetime) -> Rollout:
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


def test_the_newest_release_is_asked_for_once() -> None:
    assert wanted(FOLLOWING, 4, MADE) == 4
    assert wanted(FOLLOWING, 3, MADE) is None
    assert wanted(replace(FOLLOWING, queue=(rollout(4, Cause.AUTO, MADE),)), 4, MADE) is None
    assert wanted(replace(FOLLOWING, active=rollout(4, Cause.AUTO, MADE)), 4, MADE) is None


def test_not_what_is_barred_or_while_pinned_blocked_or_manual() -> None:
    assert wanted(replace(FOLLOWING, barred=frozenset({4})), 4, MADE) is None
    assert wanted(replace(FOLLOWING, pinned="rolled back"), 4, MADE) is None
    assert wanted(replace(FOLLOWING, blocked="mixed"), 4, MADE) is None
    assert wanted(replace(FOLLOWING, follow=False), 4, MADE) is None


def test_an_operator_who_deployed_an_older_release_is_not_overruled_until_a_newer_one_is_made() -> None:
    chosen = replace(FOLLOWING, last=rollout(3, Cause.OPERATOR, MADE + timedelta(hours=1)))
    assert wanted(chosen, 4, MADE) is None
    assert wanted(chosen, 5, MADE + timedelta(hours=2)) == 5
