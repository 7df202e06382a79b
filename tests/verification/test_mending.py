"""What a repair would do with what was found."""

from __future__ import annotations

import pytest

from distributor.ledger.verifications import Verification
from distributor.requests.verifications import Asked
from distributor.rollout.state import Environment
from distributor.telemetry.clock import now
from distributor.verification.answers import Key
from distributor.verification.comparison import Wrong, WrongRow
from distributor.verification.findings import Findings, MemberFinding, Outcome, TableFinding
from distributor.verification.mending import plan


def member(system: str, *keys: Key) -> MemberFinding:
    wrong = tuple(WrongRow(key, Wrong.EXTRA) for key in keys)
    table = TableFinding("online", "items", *["products"] * 3, ("sku",), 2, 1, 1, buckets=frozenset({7}), wrong=wrong)
    return MemberFinding(system, Outcome.VERIFIED, release=2, tables=(table,))


@pytest.mark.parametrize("key", [("\0b'BY-HAND'",), ("a\0b",), (None,), ("P1", "\0'EUR'")])
def test_a_key_by_which_no_row_is_found_is_put_in_no_list_and_others_have_theirs(key: Key) -> None:
    asked = Asked(Verification("v", "uat", now(), "ann", "", 2), ("crm", "pos"), Environment("uat", shown=2))
    wanted = plan(Findings(asked, (member("crm", ("P1",), key), member("pos", ("P2",)))))
    assert wanted.lists == {"pos": {"products": [("P2",)]}}
    assert wanted.anew == {"crm": "rows are stored under keys that no release can have"}
    assert wanted.systems == ("pos", "crm")
    assert (wanted.keys("pos"), wanted.keys("crm")) == (1, None)
