"""Canonical texts on their way into MariaDB: as literals of SQL, and what has none that would be stored exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from consumers.adapters.base import Batch
from consumers.adapters.mariadb_text import is_number, is_varying, key_limit
from distributor.model.dataset import Column, DatasetSchema
from distributor.model.types import Kind, LogicalType
from distributor.model.unfit import Unfit, shortened

# A statement and an answer are packets: 16 MiB on a server as it comes, and octets travel as hex.
LONGEST = 4_000_000
_STATEMENT = 4 * 1024 * 1024
_DEEPEST = 31
_DAY = r"^\d{4}-\d\d-\d\d"

# Arrow's stubs know no column that may be in chunks and become another type.
Texts = Any
_Test = tuple[Callable[[Texts], Texts], str]
"""What says of each value whether it is unfit, and the half sentence about one that is."""


def values(first: str, rows: pa.Table, schema: DatasetSchema) -> Iterator[str]:
    """Rows of canonical texts, after a first column that is `first` for all, as what stands after VALUES; in pieces
    that a packet takes."""
    if not rows.num_rows:
        return
    types = {column.name: column.type for column in schema.columns}
    columns: list[Texts] = [_literals(rows[name], types[name]) for name in rows.column_names]
    joined = pc.binary_join_element_wise(f"({first}", *columns, ",")
    piece: list[str] = []
    size = 0
    for row, octets in zip(joined.to_pylist(), pc.binary_length(joined).to_pylist(), strict=True):
        if piece and size + octets > _STATEMENT:
            yield ",".join(piece)
            piece, size = [], 0
        piece.append(f"{row})")
        size += octets + 2
    yield ",".join(piece)


def unfit(batch: Batch) -> list[Unfit]:
    """Every value among the upserts that MariaDB cannot hold exactly; one per row."""
    schema, rows = batch.table.schema, batch.upserts
    found: dict[int, tuple[str, str]] = {}
    for column in schema.columns:
        for test, why in _tests(schema, column):
            bad = pc.fill_null(test(rows[column.name]), pa.scalar(value=False))
            for at in pc.indices_nonzero(bad.combine_chunks()).to_pylist():
                found.setdefault(at, (column.name, why))
    if not found:
        return []
    keys = [rows[name] for name in schema.key]
    return [
        Unfit(
            table=batch.table.name,
            dataset=schema.dataset,
            key=tuple(key[at].as_py() for key in keys),
            column=name,
            value=shortened(rows[name][at].as_py()),
            why=why,
        )
        for at, (name, why) in sorted(found.items())
    ]


def _tests(schema: DatasetSchema, column: Column) -> Sequence[_Test]:
    type_ = column.type
    if column.name in schema.key and is_varying(type_):
        limit = key_limit(schema, column)
        return (_longer(type_, limit), *_of_kind(type_))
    if type_.length is not None:
        return (_longer(type_, type_.length), *_of_kind(type_))
    return _of_kind(type_)


def _of_kind(type_: LogicalType) -> Sequence[_Test]:
    match type_.kind:
        case Kind.DECIMAL if is_number(type_):
            assert type_.precision is not None
            assert type_.scale is not None
            digits = type_.precision - type_.scale
            whole = rf"\d{{1,{digits}}}" if digits else "0"
            fraction = rf"(\.\d{{1,{type_.scale}}})?" if type_.scale else ""
            return (_other_than(f"^-?{whole}{fraction}$", f"is no value of a {type_}"),)
        case Kind.DOUBLE:
            return ((lambda texts: pc.is_in(texts, _NO_DOUBLES), "is none of MariaDB's doubles"),)
        case Kind.DATE:
            return (_other_than(f"{_DAY}$", "is no day of the years 1 to 9999"),)
        case Kind.TIMESTAMP:
            return (_other_than(rf"{_DAY} [\d:.]+$", "is no moment of the years 1 to 9999"),)
        case Kind.TIMESTAMPTZ:
            return (_other_than(rf"{_DAY} [\d:.]+\+00$", "is no moment of the years 1 to 9999"),)
        case Kind.JSON:
            return (
                _TOO_LONG,
                (_deep, f"is nested deeper than {_DEEPEST} levels, which MariaDB does not take for JSON"),
            )
        case Kind.TEXT | Kind.DECIMAL | Kind.BYTES:
            return (_TOO_LONG,)
    return ()


def _longer(type_: LogicalType, limit: int) -> _Test:
    if type_.kind is Kind.BYTES:
        return lambda texts: pc.greater(
            pc.binary_length(texts), pa.scalar(2 * limit + 2)
        ), f"is longer than {limit} octets"
    return lambda texts: pc.greater(pc.utf8_length(texts), pa.scalar(limit)), f"is longer than {limit} characters"


def _other_than(pattern: str, why: str) -> _Test:
    return lambda texts: pc.invert(pc.match_substring_regex(texts, pattern)), why


def _deep(texts: Texts) -> Texts:
    """Brackets in strings count among the first ones only: few texts have so many, and those are looked at closely."""
    many: Texts = pc.greater(
        pc.add(pc.count_substring(texts, "["), pc.count_substring(texts, "{")), pa.scalar(_DEEPEST)
    )
    if not pc.any(many).as_py():
        return many
    verdicts = [
        bool(is_many) and _depth(text) > _DEEPEST
        for is_many, text in zip(many.to_pylist(), texts.to_pylist(), strict=True)
    ]
    return pa.chunked_array([pa.array(verdicts, pa.bool_())])


def _depth(text: str) -> int:
    deepest = depth = 0
    in_string = escaped = False
    for sign in text:
        if in_string:
            in_string = escaped or sign != '"'
            escaped = not escaped and sign == "\\"
        elif sign == '"':
            in_string = True
        elif sign in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in "]}":
            depth -= 1
    return deepest


def _literals(texts: Texts, type_: LogicalType) -> Texts:
    match type_.kind:
        case Kind.BOOLEAN:
            return pc.fill_null(pc.if_else(pc.equal(texts, pa.scalar("true")), "1", "0"), "NULL")
        case Kind.TIMESTAMPTZ:
            literals = _quoted(pc.replace_substring_regex(texts, r"\+00$", ""))
        case Kind.BYTES:
            literals = pc.binary_join_element_wise("UNHEX(", _quoted(pc.utf8_slice_codeunits(texts, 2)), ")", "")
        case _:
            literals = _quoted(texts)
    return pc.fill_null(literals, "NULL")


def _quoted(texts: Texts) -> Texts:
    escaped = pc.replace_substring(pc.replace_substring(texts, "\\", "\\\\"), "'", "''")
    return pc.binary_join_element_wise("'", escaped, "'", "")


_NO_DOUBLES = pa.array(["NaN", "Infinity", "-Infinity", "-0"])
_TOO_LONG: _Test = (
    lambda texts: pc.greater(pc.binary_length(texts), pa.scalar(LONGEST)),
    f"is longer than {LONGEST:,} octets",
)
