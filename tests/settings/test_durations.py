"""A duration that was written can be read."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from distributor.settings.durations import Duration

DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=36_500)))
def test_what_is_written_is_read_as_the_same(value: timedelta) -> None:
    read = DURATION.validate_python(DURATION.dump_python(value))
    assert abs(read - value) < timedelta(microseconds=2)
