"""Masks over columns of Arrow tables: each value that a piece has is masked once, however often it stands there."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from distributor.masking.values import Mask

_REMEMBERED = 1 << 16


def remembering(one: Mask) -> Mask:
    """The same mask; the values that it met last are not computed again."""
    return lru_cache(maxsize=_REMEMBERED)(one)


def masked(column: pa.ChunkedArray[Any], one: Mask) -> pa.ChunkedArray[Any]:
    """A column of canonical texts, masked; NULL stays NULL."""
    unlike = pc.unique(column).drop_null()
    made = pa.array([one(str(text)) for text in unlike.to_pylist()], pa.string())
    places: Any = pc.index_in(column, value_set=unlike)
    return pa.chunked_array([made.take(places.combine_chunks())], pa.string())
