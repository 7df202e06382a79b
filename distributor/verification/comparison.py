"""What is stored against what should be: buckets, leaves, rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from distributor.model.certificate import BUCKETS, LANE, TableCertificate
from distributor.verification.answers import Key, Lanes, Sum

_EMPTY: Sum = (0, 0, 0)


class Wrong(StrEnum):
    """What is wrong with the stored rows of a key."""

    MISSING = "missing"
    EXTRA = "extra"
    DIFFERENT = "different"
    DOUBLED = "doubled"


@dataclass(frozen=True, slots=True)
class WrongRow:
    """A key under which other rows are stored than the release has."""

    key: Key
    what: Wrong


def differing(stored: Mapping[int, Sum], expected: Mapping[int, Sum]) -> frozenset[int]:
    """The buckets (or leaves) whose rows or lanes differ; one that is not named is empty."""
    return frozenset(
        number
        for number in stored.keys() | expected.keys()
        if stored.get(number, _EMPTY) != expected.get(number, _EMPTY)
    )


def sums_of(certificate: TableCertificate) -> dict[int, Sum]:
    """A certificate's buckets as plain sums."""
    return dict(certificate.buckets)


def bucket_of_leaf(leaf: int) -> int:
    """The bucket in which a leaf lies."""
    return (leaf >> 8) % BUCKETS


def folded(leaves: Mapping[int, Sum]) -> dict[int, Sum]:
    """The sums of leaves as those of their buckets."""
    found: dict[int, Sum] = {}
    for leaf, (rows, first, second) in leaves.items():
        before = found.get(bucket_of_leaf(leaf), _EMPTY)
        found[bucket_of_leaf(leaf)] = (before[0] + rows, (before[1] + first) % LANE, (before[2] + second) % LANE)
    return found


def rows_in(sums: Mapping[int, Sum], only: Iterable[int] | None = None) -> int:
    """How many rows buckets (or leaves) have: all, or those that are named."""
    chosen = sums.keys() if only is None else only
    return sum(sums.get(number, _EMPTY)[0] for number in chosen)


def wrong_rows(stored: Iterable[tuple[Key, Lanes]], expected: Mapping[Key, Lanes]) -> list[WrongRow]:
    """Every key of these rows that is not stored exactly once and as expected, in the order of keys."""
    found: dict[Key, list[Lanes]] = {}
    for key, lanes in stored:
        found.setdefault(key, []).append(lanes)
    wrong = [WrongRow(key, Wrong.MISSING) for key in expected.keys() - found.keys()]
    for key, rows in found.items():
        if key not in expected:
            wrong.append(WrongRow(key, Wrong.EXTRA))
        elif len(rows) > 1:
            wrong.append(WrongRow(key, Wrong.DOUBLED))
        elif rows[0] != expected[key]:
            wrong.append(WrongRow(key, Wrong.DIFFERENT))
    return sorted(wrong, key=lambda row: in_order(row.key))


def in_order(key: Key) -> tuple[tuple[bool, str], ...]:
    """What keys are sorted by; a key column that is NULL, which only a hand can have written, comes first."""
    return tuple((value is not None, value or "") for value in key)
