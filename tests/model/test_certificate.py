"""The certificate against docs/certificates.md, recomputed here from the page and not from the code."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.certificate import Certificate, TableCertificate, certify, row_text

VALUES = st.one_of(st.none(), st.text(max_size=6))
ROWS = st.lists(st.tuples(st.text(min_size=1, max_size=4), VALUES, VALUES), max_size=30, unique_by=lambda r: r[0])


def by_the_page(dataset: str, rows: list[tuple[str | None, ...]]) -> dict[int, tuple[int, int, int]]:
    """Sections 2 to 4 of the page, for datasets whose first column is the key."""
    table: dict[int, tuple[int, int, int]] = {}
    for row in rows:
        text = b""
        for value in (dataset, *row):
            text += b"-" if value is None else str(len(value.encode())).encode() + b":" + value.encode()
        digest = hashlib.md5(text).hexdigest()
        key = row[0]
        assert key is not None
        key_text = f"{len(key.encode())}:{key}".encode()
        bucket = int(hashlib.md5(key_text).hexdigest()[:2], 16) % 64
        n, a, b = table.get(bucket, (0, 0, 0))
        table[bucket] = (n + 1, (a + int(digest[:16], 16)) % 2**64, (b + int(digest[16:], 16)) % 2**64)
    return table


def flat(certificate: TableCertificate) -> dict[int, tuple[int, int, int]]:
    return {n: (b.rows, b.first, b.second) for n, b in certificate.buckets.items()}


@given(ROWS)
def test_the_code_computes_what_the_page_says(rows: list[tuple[str | None, ...]]) -> None:
    assert flat(certify("prices", (0,), rows)) == by_the_page("prices", rows)


def test_the_example_of_the_page() -> None:
    assert row_text("prices", ["A-1", None]) == "6:prices3:A-1-"


@given(ROWS, st.randoms())
def test_the_order_of_rows_does_not_matter(rows: list[tuple[str | None, ...]], chance: random.Random) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert certify("d", (0,), rows) == certify("d", (0,), shuffled)


@given(ROWS, ROWS)
def test_the_fold_equals_a_fresh_computation(
    old: list[tuple[str | None, ...]], new: list[tuple[str | None, ...]]
) -> None:
    touched = {row[0] for row in new}
    before = [row for row in old if row[0] in touched]
    kept = [row for row in old if row[0] not in touched]
    folded = certify("d", (0,), old).minus(certify("d", (0,), before)).plus(certify("d", (0,), new))
    assert folded == certify("d", (0,), kept + new)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("k", None), ("k", "")),
        (("k", "a "), ("k", "a")),
        (("k", "1.50"), ("k", "1.5")),
        (("ka", "b"), ("k", "ab")),
        (("k", "3:abc"), ("k", "abc")),
    ],
)
def test_different_rows_have_different_certificates(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> None:
    assert certify("d", (0,), [one]) != certify("d", (0,), [other])


def test_a_row_stored_twice_does_not_cancel_out() -> None:
    row = ("k", "v")
    assert certify("d", (0,), [row, row]) != certify("d", (0,), [])
    assert certify("d", (0,), [row, row]).total.rows == 2


def test_the_same_row_in_another_dataset_hashes_differently() -> None:
    assert certify("d", (0,), [("k", "v")]) != certify("e", (0,), [("k", "v")])


@given(ROWS)
def test_json_keeps_a_certificate_and_its_digest(rows: list[tuple[str | None, ...]]) -> None:
    whole = Certificate(tables={"t": certify("d", (0,), rows), "empty": TableCertificate()})
    back = Certificate.model_validate_json(whole.model_dump_json())
    assert back == whole
    assert back.digest == whole.digest


def test_a_difference_names_table_and_buckets() -> None:
    stored = Certificate(tables={"t": certify("d", (0,), [("k", "v")])})
    expected = Certificate(tables={"t": certify("d", (0,), [("k", "w")])})
    assert stored.difference(expected) == ["t: 1 rows stored, 1 expected, 1 of 64 buckets differ"]
    assert stored.difference(stored) == []
