"""Schedules across the days on which clocks are put forward and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from distributor.triggers.cron import MOST_COUNTED, Came, came, next_time

VIENNA, NEW_YORK = "Europe/Vienna", "America/New_York"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # Monday at six, before and after the Sunday on which Vienna's clocks go forward (2026-03-29) and back (10-25).
        ("0 6 * * mon", VIENNA, "2026-03-16 12:00", ["2026-03-23 05:00", "2026-03-30 04:00"]),
        ("0 6 * * mon", VIENNA, "2026-10-12 12:00", ["2026-10-19 04:00", "2026-10-26 05:00"]),
        # 02:30 is skipped: it comes at 03:00, when the gap ends, and the next day in its own time.
        ("30 2 * * *", VIENNA, "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        ("30 2 * * *", NEW_YORK, "2026-03-07 12:00", ["2026-03-08 07:00", "2026-03-09 06:30"]),
        # 02:30 (01:30 in New York) is shown twice: it comes the first time.
        ("30 2 * * *", VIENNA, "2026-10-24 12:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31 12:00", ["2026-11-01 05:30", "2026-11-02 06:30"]),
        # Every hour goes by the clock: 23 and 25 times on these days.
        ("15 * * * *", VIENNA, "2026-03-29 00:00", ["2026-03-29 00:15", "2026-03-29 01:15", "2026-03-29 02:15"]),
        ("15 * * * *", VIENNA, "2026-10-25 00:00", ["2026-10-25 00:15", "2026-10-25 01:15", "2026-10-25 02:15"]),
        ("0 6 * * mon", "UTC", "2026-03-23 06:00", ["2026-03-30 06:00"]),
    ],
)
def test_times_in_a_zone(cron: str, zone: str, after: str, expected: list[str]) -> None:
    at, found = utc(after), []
    for _ in expected:
        following = next_time(cron, zone, at)
        assert following is not None
        at = following
        found.append(at)
    assert found == [utc(text) for text in expected]


def test_the_second_showing_of_an_hour_brings_nothing_again() -> None:
    between = utc("2026-10-25 01:10")  # 02:10 for the second time, when 02:30 has come already
    assert next_time("30 2 * * *", VIENNA, between) == utc("2026-10-26 01:30")
    assert came("30 2 * * *", VIENNA, between, utc("2026-10-25 12:00")) is None
    day = (utc("2026-10-24 22:00"), utc("2026-10-25 23:00"))
    assert came("30 2 * * *", VIENNA, *day) == Came(utc("2026-10-25 00:30"))


def test_what_came_is_after_the_one_time_and_not_after_the_other() -> None:
    six = utc("2026-11-23 05:00")
    assert came("0 6 * * mon", VIENNA, six - timedelta(microseconds=1), six) == Came(six)
    assert came("0 6 * * mon", VIENNA, six, six + timedelta(days=6)) is None
    assert came("0 6 * * mon", VIENNA, six - timedelta(days=1), six - timedelta(microseconds=1)) is None
    assert came("0 6 * * mon", VIENNA, six - timedelta(days=21), six) == Came(six, 3)


def test_of_very_many_missed_times_the_last_is_found() -> None:
    until = utc("2026-11-23 05:00:30")
    found = came("* * * * *", VIENNA, until - timedelta(days=30), until)
    assert found == Came(utc("2026-11-23 05:00"), MOST_COUNTED, more=True)
    exact = came("* * * * *", VIENNA, until - timedelta(days=30), utc("2026-11-23 05:00"))
    assert exact is not None
    assert exact.last == utc("2026-11-23 05:00")
