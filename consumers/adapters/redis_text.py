"""How rows lie in Redis: as the fields of docs/certificates.md, so that what is stored is what is hashed.

The *packed* form of values is the concatenation of their fields: `-` for NULL, else octets, a colon, and the text. A
row is stored packed, under its key packed. Its row text is the dataset's field and the packed row, as it lies there.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from distributor.model.certificate import BUCKETS, TableCertificate, field_text, from_sums
from distributor.model.dataset import DatasetSchema

_LANES = struct.Struct(">QQ")


def piece_of(key: bytes) -> str:
    """The piece of a table in which the row of this packed key lies: three hex digits."""
    return hashlib.sha1(key, usedforsecurity=False).hexdigest()[:3]


def packed(rows: pa.Table, names: Sequence[str]) -> list[bytes]:
    """These columns of every row, packed."""
    if not rows.num_rows:
        return []
    fields = [_field(rows[name]) for name in names]
    joined = _join(*fields, pa.scalar("", pa.large_string()))
    found: list[bytes] = joined.cast(pa.large_binary()).to_pylist()
    return found


# Its annotations know no arrays beside a scalar, which is the separator.
_join: Any = pc.binary_join_element_wise


def _field(column: Any) -> Any:
    # Large: a batch may have more than 2 GiB of text.
    text = column.cast(pa.large_string())
    length = pc.binary_length(text).cast(pa.large_string())
    field = _join(length, text, pa.scalar(":", pa.large_string()))
    return pc.fill_null(field, pa.scalar("-", pa.large_string()))


def unpacked(text: bytes) -> list[bytes | None] | None:
    """The texts of packed values; None when that is not what this is."""
    values: list[bytes | None] = []
    at = 0
    while at < len(text):
        if text[at] == ord("-"):
            values.append(None)
            at += 1
            continue
        colon = text.find(b":", at)
        digits = text[at:colon]
        if colon < 0 or not digits.isdigit():
            return None
        at = colon + 1 + int(digits)
        if at > len(text):
            return None
        values.append(text[colon + 1 : at])
    return values


def texts(text: bytes) -> tuple[str | None, ...]:
    """Packed values as texts. What is no text of a master has one all the same, which differs from any of a master."""
    values = unpacked(text)
    if values is None:
        return (_strange(text),)
    return tuple(None if value is None else _readable(value) for value in values)


def _readable(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return _strange(text)


def _strange(text: bytes) -> str:
    return f"\0{text!r}"


class Hasher:
    """Lanes and places of stored rows of one table."""

    def __init__(self, schema: DatasetSchema) -> None:
        self._dataset = field_text(schema.dataset).encode()
        self._positions = schema.key_positions
        self._width = len(schema.columns)
        self._leads = self._positions == tuple(range(len(self._positions)))

    def certificate(self, rows: Iterable[tuple[bytes, bytes]]) -> TableCertificate:
        """Of rows as key and row, both packed."""
        sums = [[0, 0, 0] for _ in range(BUCKETS)]
        md5, unpack = hashlib.md5, _LANES.unpack
        for key, row in rows:
            entry = sums[md5(key, usedforsecurity=False).digest()[0] % BUCKETS]
            first, second = unpack(md5(self._text(key, row), usedforsecurity=False).digest())
            entry[0] += 1
            entry[1] += first
            entry[2] += second
        return from_sums({number: (rows, first, second) for number, (rows, first, second) in enumerate(sums)})

    def lanes(self, key: bytes, row: bytes) -> tuple[int, int]:
        """Both lanes of a row."""
        first, second = _LANES.unpack(hashlib.md5(self._text(key, row), usedforsecurity=False).digest())
        return first, second

    def _text(self, key: bytes, row: bytes) -> bytes:
        """The row text; of a row that lies under another key than its own, one that no row of a master has."""
        if row.startswith(key) if self._leads else self._key_of(row) == key:
            return self._dataset + row
        return self._dataset + b"\0" + key + row

    def _key_of(self, row: bytes) -> bytes:
        values = unpacked(row)
        if values is None or len(values) != self._width:
            return b""
        key = (values[at] for at in self._positions)
        return b"".join(b"-" if value is None else b"%d:%s" % (len(value), value) for value in key)


def leaf_of(key: bytes) -> int:
    """The leaf of a packed key."""
    return int.from_bytes(hashlib.md5(key, usedforsecurity=False).digest()[:2], "big")
