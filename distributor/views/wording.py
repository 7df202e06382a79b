"""How times, spans, numbers and values are written, wherever a person reads them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

SHORT = 8
"""As much of a rollout's id as a person is shown."""


def stamp(at: datetime | None) -> str:
    """A time in UTC, to the second."""
    return at.strftime("%Y-%m-%d %H:%M:%S") if at else "-"


def span(length: timedelta) -> str:
    """A length of time in its two largest units: `850 ms`, `42 s`, `3 m 5 s`, `2 d 4 h`."""
    seconds = max(length.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    whole = int(seconds)
    for (name, size), (small, small_size) in pairwise(units):
        if whole >= size:
            rest = whole % size // small_size
            return f"{whole // size} {name} {rest} {small}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def ago(at: datetime | None, now: datetime) -> str:
    """How long ago, or `never`."""
    return f"{span(now - at)} ago" if at else "never"


def plain(value: str) -> str:
    """A value on one line: what would move the cursor is written as in a Python literal."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in value)


def as_text(value: str | None) -> str:
    """A value of a row: `NULL`, or its canonical text on one line; the empty text is `''`."""
    return "NULL" if value is None else plain(value) or "''"


def count(number: int, noun: str) -> str:
    """`1 row`, `1,204 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
