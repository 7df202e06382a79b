"""Certificates of rows in Arrow columns: the same numbers as `model.certificate.certify`, a column at a time."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import md5
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from distributor.model.certificate import BUCKETS, TableCertificate, field_text, from_sums

_LANES = struct.Struct(">QQ")


def certify_columns(
    name: str, key_positions: Sequence[int], columns: Sequence[pa.ChunkedArray[Any]]
) -> TableCertificate:
    """The certificate of a table's rows; `columns` are strings of canonical text in column order."""
    fields = [_fields(column) for column in columns]
    rows = _joined([pa.scalar(field_text(name)), *fields])
    keys = _joined([fields[at] for at in key_positions])
    counts, first, second = [0] * BUCKETS, [0] * BUCKETS, [0] * BUCKETS
    unpack = _LANES.unpack
    for row, key in zip(rows, keys, strict=True):
        bucket = md5(key, usedforsecurity=False).digest()[0] % BUCKETS
        one, two = unpack(md5(row, usedforsecurity=False).digest())
        counts[bucket] += 1
        first[bucket] += one
        second[bucket] += two
    return from_sums(dict(enumerate(zip(counts, first, second, strict=True))))


def _fields(column: pa.ChunkedArray[Any]) -> Any:
    """`-` for NULL, else octets, colon, text."""
    lengths = pc.cast(pc.binary_length(column), pa.string())
    return pc.fill_null(pc.binary_join_element_wise(lengths, column, ":"), "-")


def _joined(parts: Sequence[Any]) -> list[bytes]:
    joined: Any = pc.binary_join_element_wise(*parts, "")
    return list(joined.cast(pa.binary()).to_pylist())
