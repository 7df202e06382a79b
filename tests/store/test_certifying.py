"""Certificates of columns are those of rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.certificate import certify
from distributor.store import certifying
from distributor.store.certifying import Sums

TEXT = st.one_of(st.none(), st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=5))
ROWS = st.lists(st.tuples(TEXT, st.text(max_size=3, alphabet="ab:ü-"), TEXT), max_size=20)


@pytest.mark.parametrize("few", [0, 10, 1000])
@given(st.lists(ROWS, max_size=3), ROWS)
def test_sums_of_columns_are_certificates_of_rows(
    few: int, added: list[list[tuple[str | None, ...]]], taken: list[tuple[str | None, ...]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certifying, "_FEW", few)
        sums = _summed(added, taken)
    expected = certify("prices", (1, 0), [row for rows in added for row in rows])
    assert sums.certificate == expected.minus(certify("prices", (1, 0), taken))


def _summed(added: list[list[tuple[str | None, ...]]], taken: list[tuple[str | None, ...]]) -> Sums:
    sums = Sums()
    for rows in added:
        sums.add("prices", (1, 0), _columns(rows), 1)
    sums.add("prices", (1, 0), _columns(taken), -1)
    return sums


def _columns(rows: list[tuple[str | None, ...]]) -> list[pa.ChunkedArray[Any]]:
    return [pa.chunked_array([pa.array([row[at] for row in rows], pa.string())]) for at in range(3)]
