"""Certificates of rows in Arrow columns: the same numbers as `model.certificate.certify`, a column at a time."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import md5
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from distributor.model.certificate import BUCKETS, TableCertificate, bucket_of, field_text, from_sums, row_lanes

_LANES = struct.Struct(">QQ")
# Below this, calling Arrow once per column costs more than going row by row.
_FEW = 100


class Sums:
    """Per-bucket sums of rows as they stream by; with `sign` -1 rows are taken away."""

    def __init__(self) -> None:
        self._counts, self._first, self._second = [0] * BUCKETS, [0] * BUCKETS, [0] * BUCKETS

    def add(self, name: str, key_positions: Sequence[int], columns: Sequence[pa.ChunkedArray[Any]], sign: int) -> None:
        """Folds a table's rows in; `columns` are strings of canonical text in column order."""
        if len(columns[0]) < _FEW:
            self._add_few(name, key_positions, columns, sign)
            return
        fields = [_fields(column) for column in columns]
        rows = _joined([pa.scalar(field_text(name)), *fields])
        keys = _joined([fields[at] for at in key_positions])
        counts, first, second, unpack = self._counts, self._first, self._second, _LANES.unpack
        for row, key in zip(rows, keys, strict=True):
            bucket = md5(key, usedforsecurity=False).digest()[0] % BUCKETS
            one, two = unpack(md5(row, usedforsecurity=False).digest())
            counts[bucket] += sign
            first[bucket] += sign * one
            second[bucket] += sign * two

    def _add_few(
        self, name: str, key_positions: Sequence[int], columns: Sequence[pa.ChunkedArray[Any]], sign: int
    ) -> None:
        for values in zip(*(column.to_pylist() for column in columns), strict=True):
            bucket = bucket_of([values[at] for at in key_positions])
            one, two = row_lanes(name, values)
            self._counts[bucket] += sign
            self._first[bucket] += sign * one
            self._second[bucket] += sign * two

    @property
    def certificate(self) -> TableCertificate:
        """What the sums come to: a certificate, or the difference of two."""
        return from_sums(dict(enumerate(zip(self._counts, self._first, self._second, strict=True))))


def _fields(column: pa.ChunkedArray[Any]) -> Any:
    """`-` for NULL, else octets, colon, text."""
    lengths = pc.cast(pc.binary_length(column), pa.string())
    return pc.fill_null(pc.binary_join_element_wise(lengths, column, ":"), "-")


def _joined(parts: Sequence[Any]) -> list[bytes]:
    joined: Any = pc.binary_join_element_wise(*parts, "")
    return list(joined.cast(pa.binary()).to_pylist())
