"""What is drawn of a rollout, from documents made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from distributor.rollout.state import RolloutState
from distributor.views.members import LoadPart
from distributor.views.rollout import MemberPart, RolloutStory, TimelineEntry
from distributor.views.rollouts import RolloutLine
from distributor.web.pages.timeline import pictures
from distributor.web.pages.trends import trends

NOON = datetime(2030, 5, 4, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def line(**changed: Any) -> RolloutLine:
    usual: dict[str, Any] = {
        "id": "ab" * 16,
        "environment": "uat",
        "release": 7,
        "from_release": 6,
        "state": RolloutState.ONLINE,
        "epoch": 3,
        "cause": "operator",
        "by": "anna",
        "reason": "prices",
        "requested_at": NOON,
        "started_at": after(2),
        "converged_at": after(12),
        "decided_at": after(3612),
        "reverting_at": None,
        "ended_at": after(3613),
        "outcome": "",
        "skew_ms": 4.25,
        "skew_uncertainty_ms": 0.5,
    }
    return RolloutLine(**{**usual, **changed})


def member(system: str, **changed: Any) -> MemberPart:
    usual: dict[str, Any] = {
        "system": system,
        "required": True,
        "state": "flipped",
        "flipped_at": after(3612),
        "refusal": "",
        "phases": {"plan": 0.5, "load": 4.0, "commit": 0.5},
        "rows": 1204,
    }
    return MemberPart(**{**usual, **changed})


def staged(system: str, seconds: float) -> TimelineEntry:
    return TimelineEntry(at=after(seconds), kind="member-staged", member=system, text=f"{system} has staged release 7")


def story(rollout: RolloutLine, *members: MemberPart, timeline: tuple[TimelineEntry, ...] = ()) -> RolloutStory:
    return RolloutStory(rollout=rollout, waiting_for="", blockers=(), members=members, timeline=timeline)


def test_the_strip_has_every_state_with_its_length() -> None:
    found = pictures(story(line()), {}, after(9000))
    assert [(part.state, part.length.total_seconds()) for part in found.stretches] == [
        ("queued", 2),
        ("staging", 10),
        ("converged", 3600),
        ("flipping", 1),
    ]


def test_a_flip_back_and_what_goes_on_end_where_they_are() -> None:
    back = line(state=RolloutState.REVERTED, reverting_at=after(3613), ended_at=after(3620))
    assert [part.state for part in pictures(story(back), {}, after(9000)).stretches][-2:] == ["flipping", "reverting"]
    going = line(state=RolloutState.STAGING, converged_at=None, decided_at=None, ended_at=None)
    assert pictures(story(going), {}, after(30)).stretches[-1].length == timedelta(seconds=28)
    waits = line(
        state=RolloutState.QUEUED, started_at=None, converged_at=None, decided_at=None, ended_at=None, skew_ms=None
    )
    found = pictures(story(waits, member("crm", phases={}, rows=None, flipped_at=None, state="waiting")), {}, after(5))
    assert [(part.state, part.length.total_seconds()) for part in found.stretches] == [("queued", 5)]
    assert not found.load_axis
    assert not found.flip_axis


def test_a_load_ends_where_its_system_had_staged() -> None:
    found = pictures(story(line(), member("crm"), timeline=(staged("crm", 12),)), {}, after(9000))
    [lane] = found.lanes
    # Ten seconds of staging; five of work, the last of which ends with them.
    assert 'class="piece plan" x="50%" y="3" width="5%"' in lane.loaded
    assert 'class="piece load" x="55%" y="3" width="40%"' in lane.loaded
    assert 'class="piece commit" x="95%" y="3" width="5%"' in lane.loaded


def test_a_load_that_goes_on_says_how_far_it_is() -> None:
    going = line(state=RolloutState.STAGING, converged_at=None, decided_at=None, ended_at=None)
    load = LoadPart(phase="load", rows_done=40_000, rows_total=120_000, rate=35_000)
    part = member("crm", phases={}, rows=None, flipped_at=None, state="waiting")
    [lane] = pictures(story(going, part), {"crm": load}, after(10)).lanes
    assert "40,000 of 120,000 rows, 35,000/s" in lane.loaded
    assert lane.after is None


def test_flips_are_measured_from_the_first() -> None:
    late = member("pos", flipped_at=after(3612) + timedelta(milliseconds=4.25))
    found = pictures(story(line(), member("crm"), late), {}, after(9000))
    assert [lane.after for lane in found.lanes] == [timedelta(), timedelta(milliseconds=4.25)]
    assert "4.2 ms after the first" in found.lanes[1].flip


def test_trends_count_what_went_forward_and_online_oldest_first() -> None:
    made = {7: after(-10), 8: after(-5)}
    back = line(release=6, from_release=7, skew_ms=99.0)
    failed = line(release=9, state=RolloutState.ABANDONED)
    newest = line(release=8, from_release=7, ended_at=after(55), skew_ms=1.0)
    found = trends([newest, back, failed, line(ended_at=after(20))], made)
    assert found is not None
    assert (found.rollouts, found.everywhere_newest) == (2, "1 m")
    assert "99" not in found.skew
    assert found.everywhere.index("30 s") < found.everywhere.index("release 8")
    assert trends([back, failed], made) is None
