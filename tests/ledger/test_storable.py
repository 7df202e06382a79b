"""What a stranger wrote, kept by a real jsonb column."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from sqlalchemy import Engine

from distributor.ledger import deadletters
from distributor.ledger.deadletters import DeadLetter
from distributor.ledger.engine import transaction


def test_everything_comes_back_readable(ledger: Engine) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    headers = {"nan\0": [math.nan, math.inf, -math.inf], "\ud800": {"raw": b"\0", "at": at}}
    letter = DeadLetter(
        at=at,
        origin="\ud800",
        exchange="e\0",
        routing_key="k\0",
        type="t\0",
        reason="r\0",
        headers=headers,
        content_type="c\0",
        body=b"\0\xff",
        attempts=2**63,
    )
    with transaction(ledger) as conn:
        deadletters.put(conn, letter)
        [kept] = deadletters.letters(conn)
    assert kept.headers == {
        r"nan\x00": ["nan", "inf", "-inf"],
        r"\ud800": {"raw": "AA==", "at": "2026-03-01T00:00:00+00:00"},
    }
    assert (kept.origin, kept.type, kept.reason) == (r"\ud800", r"t\x00", r"r\x00")
    assert (kept.exchange, kept.routing_key, kept.content_type) == (r"e\x00", r"k\x00", r"c\x00")
    assert (kept.body, kept.attempts) == (b"\0\xff", 2**31 - 1)
