"""Rows of a dataset as those of a mapped table, with the lanes that a system's audit tells of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from distributor.mapping.compiled import Compiled
from distributor.model.certificate import LANE, leaf_of, row_lanes
from distributor.shaping.engine import Engine
from distributor.verification.answers import Key, Lanes, Sum


def shaped(table: Compiled, pieces: Iterable[pa.Table]) -> Iterator[tuple[Key, Lanes]]:
    """Key and lanes of every row that is the table's. `pieces` are in the columns of its source."""
    engine = Engine(table)
    at = table.schema.key_positions
    try:
        for piece in pieces:
            found = engine.shape(piece)
            rows = found.rows.filter(found.kept)
            for values in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                yield tuple(values[place] for place in at), row_lanes(table.schema.dataset, values)
    finally:
        engine.close()


def summed(rows: Iterable[tuple[Key, Lanes]]) -> dict[int, Sum]:
    """Rows and lanes per leaf."""
    found: dict[int, Sum] = {}
    for key, (first, second) in rows:
        leaf = leaf_of(key)
        count, one, two = found.get(leaf, (0, 0, 0))
        found[leaf] = (count + 1, (one + first) % LANE, (two + second) % LANE)
    return found
