"""Stored against expected, without any server: answers in parts, sums, rows."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from distributor.ledger.verifications import AnswerPart
from distributor.model.certificate import Bucket, bucket_of, certify, leaf_of, row_lanes
from distributor.verification.answers import Key, Lanes, assemble
from distributor.verification.comparison import (
    Wrong,
    WrongRow,
    bucket_of_leaf,
    differing,
    in_order,
    rows_in,
    sums_of,
    wrong_rows,
)
from distributor.wire.messages import AuditedReport

ONE, TWO = (1, 1, 2), (2, 3, 4)
KEYS = st.tuples(st.one_of(st.none(), st.text(max_size=3)), st.text(max_size=3))


def part(number: int, of: int, **more: Any) -> AnswerPart:
    """As it is kept: of the report that came."""
    given = {
        "environment": "prod",
        "system": "crm",
        "audit_id": "a.1",
        "depth": "rows",
        "part": number,
        "parts": of,
        "release": 3,
        "mapping": "m",
        "table": "products",
        "reported_at": "2026-02-28T12:00:00Z",
    }
    return AnswerPart.model_validate_json(AuditedReport.model_validate({**given, **more}).model_dump_json())


def test_an_answer_is_put_together_from_its_parts() -> None:
    answer = assemble(
        [
            part(1, 4, sums={7: Bucket(rows=1, first=1, second=2)}, seconds=1.5),
            part(2, 4, sums={9: Bucket(rows=2, first=3, second=4)}, rows=[(("A", None), "00000000000000ff", "f" * 16)]),
            part(3, 4, table="prices", seconds=0.5),
            part(4, 4, slot="shadow", release=None, mapping="", table=""),
        ]
    )
    online, shadow = answer.slots["online"], answer.slots["shadow"]
    assert online.tables["products"].sums == {7: ONE, 9: TWO}
    assert online.tables["products"].rows == [(("A", None), (255, 2**64 - 1))]
    assert online.tables["prices"].sums == {}
    assert (shadow.release, shadow.tables) == (None, {})
    assert (answer.error, answer.seconds, answer.torn_apart) == ("", 1.5, False)


def test_parts_of_two_moments_are_no_answer() -> None:
    assert assemble([part(1, 2), part(2, 2, release=4)]).torn_apart
    assert not assemble([part(1, 2), part(2, 2, slot="shadow", release=2)]).torn_apart
    failed = assemble([part(1, 1, error="the disk is gone")])
    assert (failed.error, failed.slots) == ("the disk is gone", {})


def test_what_is_not_named_is_empty() -> None:
    assert differing({1: ONE, 2: TWO}, {1: ONE, 2: TWO}) == frozenset()
    assert differing({1: ONE, 3: ONE}, {1: TWO, 2: TWO, 4: (0, 0, 0)}) == {1, 2, 3}
    assert rows_in({1: ONE, 2: TWO}) == 3
    assert rows_in({1: ONE, 2: TWO}, [2, 9]) == 2


def test_a_certificate_has_the_sums_of_its_rows() -> None:
    first, second = row_lanes("d", ["a"])
    assert sums_of(certify("d", [0], [["a"]])) == {bucket_of(["a"]): (1, first, second)}


def test_every_kind_of_wrong_row_is_named() -> None:
    right: dict[Key, Lanes] = {(key,): row_lanes("d", [key, "x"]) for key in ("a", "b", "c", "d")}
    other = row_lanes("d", ["b", "y"])
    stored = [(("a",), right[("a",)]), (("b",), other), (("d",), right["d",]), (("d",), right["d",]), ((None,), other)]
    assert wrong_rows(stored, right) == [
        WrongRow((None,), Wrong.EXTRA),
        WrongRow(("b",), Wrong.DIFFERENT),
        WrongRow(("c",), Wrong.MISSING),
        WrongRow(("d",), Wrong.DOUBLED),
    ]
    assert wrong_rows(right.items(), right) == []


@given(st.lists(KEYS, unique=True), st.data())
def test_exactly_what_was_altered_is_found(keys: list[tuple[str | None, str]], data: st.DataObject) -> None:
    right: dict[Key, Lanes] = {key: row_lanes("d", [*key, "x"]) for key in keys}
    altered: dict[Key, str] = {key: data.draw(st.sampled_from(["", "lost", "other", "twice"])) for key in keys}
    stored = [
        (key, row_lanes("d", [*key, "y"]) if altered[key] == "other" else lanes)
        for key, lanes in right.items()
        for _ in range({"lost": 0, "twice": 2}.get(altered[key], 1))
    ]
    names = {"lost": Wrong.MISSING, "other": Wrong.DIFFERENT, "twice": Wrong.DOUBLED}
    expected = [WrongRow(key, names[how]) for key, how in altered.items() if how]
    assert wrong_rows(stored, right) == sorted(expected, key=lambda row: in_order(row.key))


@given(KEYS)
def test_a_leaf_lies_in_the_bucket_of_its_keys(key: tuple[str | None, str]) -> None:
    assert bucket_of_leaf(leaf_of(key)) == bucket_of(key)
