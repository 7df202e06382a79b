"""SQLite's side of docs/certificates.md: how values are stored, and their canonical text again.

INTEGER holds integers and booleans (0, 1), REAL doubles, BLOB bytes; all else is TEXT, in canonical text. Two doubles
have no place in a REAL column: NaN would be stored as NULL and is the text 'NaN'; the minus of -0 would be lost, so it
is the blob '-0'. Both count as nothing in sums.

A decimal(p,s) with p ≤ 15 is a number in a NUMERIC column, an integer or a double: 15 digits survive a double, so it
compares and sorts as what it is, and comes back digit by digit (sums are a double's). Its NaN is the text 'NaN'. A
decimal that is wider, or has no declared width, would lose digits and is TEXT: readers compare it as text, unless they
cast it and accept the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa

from distributor.model.texts import double_text
from distributor.model.types import Kind, LogicalType

Value = str | int | float | bytes | None
_NEGATIVE_ZERO = b"-0"
_TYPES = {Kind.BOOLEAN: "INTEGER", Kind.INTEGER: "INTEGER", Kind.DOUBLE: "REAL", Kind.BYTES: "BLOB"}


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def column_type(type_: LogicalType) -> str:
    """The declared type of a column."""
    if type_.fits_a_double:
        return "NUMERIC"
    return _TYPES.get(type_.kind, "TEXT")


def stored(column: pa.ChunkedArray[pa.StringScalar], type_: LogicalType) -> list[Value]:
    """Canonical texts as the values that are stored."""
    texts: list[str | None] = column.to_pylist()
    convert = _store_decimal if type_.fits_a_double else _TO_STORE.get(type_.kind)
    return list(texts) if convert is None else [None if text is None else convert(text) for text in texts]


def readers(types: tuple[LogicalType, ...]) -> tuple[Callable[[Any], str | None], ...]:
    """Per column, what makes the canonical text of a value as SELECT returns it."""
    return tuple(_decimal if type_.fits_a_double else _FROM_STORE.get(type_.kind, _text) for type_ in types)


def _store_decimal(text: str) -> Value:
    if text == "NaN":
        return text
    return float(text) if "." in text else int(text)


def _decimal(value: Any) -> str | None:
    match value:
        case float():
            text = repr(value)
            # Digits and a point, most often: then it is what Decimal would make of it.
            return text if text[-1].isdigit() and "e" not in text else f"{Decimal(text):f}"
        case int():
            return str(value)
    return value if value in (None, "NaN") else _strange(value)


def _store_double(text: str) -> Value:
    if text == "NaN":
        return text
    return _NEGATIVE_ZERO if text == "-0" else float(text)


def _double(value: Any) -> str | None:
    if isinstance(value, float):
        return double_text(value)
    if value == _NEGATIVE_ZERO:
        return "-0"
    return value if value in (None, "NaN") else _strange(value)


def _boolean(value: Any) -> str | None:
    return _BOOLEANS[value] if value is None or value in (0, 1) else _strange(value)


def _integer(value: Any) -> str | None:
    return str(value) if isinstance(value, int) else None if value is None else _strange(value)


def _bytes(value: Any) -> str | None:
    return f"\\x{value.hex()}" if isinstance(value, bytes) else None if value is None else _strange(value)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else _strange(value)


def _strange(value: object) -> str:
    """Whatever somebody else has put there still has a text, and one that no value of a master has."""
    return f"\0{value!r}"


def readable(text: bytes) -> str:
    """A text as SQLite keeps it. What is no UTF-8 must not keep its row from being read."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return _strange(text)


_BOOLEANS = {0: "false", 1: "true", None: None}
_TO_STORE: dict[Kind, Callable[[str], Value]] = {
    Kind.BOOLEAN: lambda text: 1 if text == "true" else 0,
    Kind.INTEGER: int,
    Kind.DOUBLE: _store_double,
    Kind.BYTES: lambda text: bytes.fromhex(text[2:]),
}
_FROM_STORE: dict[Kind, Callable[[Any], str | None]] = {
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _integer,
    Kind.DOUBLE: _double,
    Kind.BYTES: _bytes,
}
