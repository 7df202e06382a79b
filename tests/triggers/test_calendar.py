"""Windows and freezes as times in which nothing flips."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.ledger.freezes import Freeze
from distributor.rollout.state import Closure
from distributor.settings.desk import Window
from distributor.triggers.calendar import FOR_EVER, HORIZON, closures, in_words, openings, opens_at

VIENNA = ZoneInfo("Europe/Vienna")
NIGHTS = Window(cron="0 22 * * mon-fri", lasts="4h", timezone="Europe/Vienna")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def freeze(since: str, until: str, **more: object) -> Freeze:
    return Freeze("f", None, utc(since), utc(until), "quarter end", "anna", utc("2026-01-01"), **more)


def closed(found: tuple[Closure, ...], at: datetime) -> bool:
    return any(closure.since <= at < closure.until for closure in found)


def test_without_windows_and_freezes_nothing_is_ever_closed() -> None:
    assert closures((), (), utc("2026-07-01T12:00")) == ()


def test_a_window_is_open_as_long_as_it_says_in_its_own_time_zone() -> None:
    found = closures((NIGHTS,), (), utc("2026-07-01T12:00"))  # a Wednesday; Vienna is two hours ahead
    edges = [("19:59:59", True), ("20:00:00", False), ("23:59:59", False)]
    assert [closed(found, utc(f"2026-07-01T{at}")) for at, _ in edges] == [shut for _, shut in edges]
    assert closed(found, utc("2026-07-02T00:00:00"))
    assert closed(found, utc("2026-07-04T20:30")), "a Saturday"
    assert opens_at(found, utc("2026-07-04T00:00")) == utc("2026-07-06T20:00")
    assert opens_at(found, utc("2026-07-06T21:00")) == utc("2026-07-06T21:00")


def test_the_clock_on_the_wall_decides_when_it_opens_and_elapsed_time_when_it_closes() -> None:
    nightly = Window(cron="30 1 * * *", lasts="2h", timezone="Europe/Vienna")

    def of(day: str) -> tuple[datetime, datetime]:
        return next(openings(nightly, utc(day)))

    assert of("2026-03-28T00:00") == (utc("2026-03-28T00:30"), utc("2026-03-28T02:30"))
    # In the night of 29 March 02:00 becomes 03:00; in that of 25 October 03:00 becomes 02:00.
    assert of("2026-03-29T00:00") == (utc("2026-03-29T00:30"), utc("2026-03-29T02:30"))
    assert of("2026-03-30T00:00")[0].astimezone(VIENNA).hour == 1
    assert of("2026-10-24T20:00") == (utc("2026-10-24T23:30"), utc("2026-10-25T01:30"))
    skipped = Window(cron="30 2 * * *", lasts="1h", timezone="Europe/Vienna")
    opens = [one for one, _ in islice(openings(skipped, utc("2026-03-28T12:00")), 2)]
    assert [one.astimezone(VIENNA).isoformat() for one in opens] == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]
    twice = [one for one, _ in islice(openings(skipped, utc("2026-10-24T12:00")), 2)]
    assert [one.astimezone(VIENNA).date().day for one in twice] == [25, 26], "an hour that comes twice opens once"


def test_what_opened_before_and_is_still_open_counts() -> None:
    assert next(openings(NIGHTS, utc("2026-07-01T23:59")))[0] == utc("2026-07-01T20:00")
    assert next(openings(NIGHTS, utc("2026-07-02T00:00")))[0] == utc("2026-07-02T20:00")
    assert next(openings(NIGHTS, utc("2026-07-01T20:00")))[0] == utc("2026-07-01T20:00")


def test_windows_together_are_open_when_one_of_them_is() -> None:
    noon = Window(cron="0 12 * * *", lasts="1h")
    overlapping = Window(cron="30 12 * * *", lasts="1h")
    found = closures((noon, overlapping), (), utc("2026-07-01T00:00"))
    assert not closed(found, utc("2026-07-01T13:15"))
    assert closed(found, utc("2026-07-01T13:30"))
    assert [(c.since, c.until) for c in found if c.since.date() == utc("2026-07-02").date()] == [
        (utc("2026-07-02T13:30"), utc("2026-07-03T12:00"))
    ]


def test_beyond_the_horizon_an_environment_with_windows_is_closed() -> None:
    at = utc("2026-07-01T12:00")
    found = closures((NIGHTS,), (), at)
    assert found[-1].until == FOR_EVER
    assert closed(found, at + HORIZON + timedelta(days=2))
    assert opens_at(found, at + HORIZON + timedelta(days=2)) is None
    assert closures((), (freeze("2026-07-01", "2026-07-02"),), at)[-1].until == utc("2026-07-02")


def test_a_monthly_window_is_in_sight_all_the_month() -> None:
    monthly = Window(cron="0 22 1 * *", lasts="2h")
    for day in range(1, 32):
        at = datetime(2026, 7, day, 23, 59, tzinfo=UTC)
        opens = opens_at(closures((monthly,), (), at), at + timedelta(hours=1))
        assert opens is not None
        assert opens.day == 1


def test_nothing_is_told_anew_before_the_day_is_over() -> None:
    morning, night = closures((NIGHTS,), (), utc("2026-07-01T00:00")), closures((NIGHTS,), (), utc("2026-07-01T23:59"))
    assert morning == night
    assert morning != closures((NIGHTS,), (), utc("2026-07-02T00:00"))


def test_freezes_close_what_a_window_opens() -> None:
    at = utc("2026-07-01T12:00")
    frozen = freeze("2026-07-01T18:00", "2026-07-03T06:00")
    found = closures((NIGHTS,), (frozen,), at)
    assert Closure(frozen.since, frozen.until, "frozen by anna: quarter end") in found
    assert opens_at(found, at) == utc("2026-07-03T20:00")
    ended = freeze("2026-07-01T18:00", "2026-07-03T06:00", ended_at=at, ended_by="anna")
    assert closures((NIGHTS,), (ended,), at) == closures((NIGHTS,), (), at)


def test_words() -> None:
    assert in_words(NIGHTS) == "0 22 * * mon-fri for 4 h (Europe/Vienna)"
    assert in_words(Window(cron="0 1 * * sun", lasts="1.5h")) == "0 1 * * sun for 1 h 30 min (UTC)"


times = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)).map(lambda at: at.replace(tzinfo=UTC))


@given(at=times, hours=st.integers(0, HORIZON // timedelta(hours=1)), day=st.sampled_from(["*", "1,15", "28"]))
def test_open_is_exactly_what_cron_says(at: datetime, hours: int, day: str) -> None:
    """Against plain arithmetic in the time zone: an hour at 04:00, which no change of clocks touches."""
    window = Window(cron=f"0 4 {day} * *", lasts="1h", timezone="Europe/Vienna")
    then = at + timedelta(hours=hours)
    if then >= at.replace(hour=0, minute=0, second=0, microsecond=0) + HORIZON:
        return
    local = then.astimezone(VIENNA)
    wanted = local.hour == 4 and (day == "*" or str(local.day) in day.split(","))
    assert closed(closures((window,), (), at), then) is not wanted


@pytest.mark.parametrize("text", ["2026-07-01T12:00", "2026-07-04T03:00"])
def test_it_opens_when_nothing_closes_it_any_more(text: str) -> None:
    at = utc(text)
    found = closures((NIGHTS,), (freeze("2026-07-02T00:00", "2026-07-08T20:30"),), at)
    opens = opens_at(found, utc("2026-07-02T01:00"))
    assert opens == utc("2026-07-08T20:30")
    assert not closed(found, opens)
