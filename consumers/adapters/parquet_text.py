"""DuckDB's and Parquet's side of docs/certificates.md: native types, texts made and read in SQL, and what has no place.

A decimal(p,s) of at most 38 digits is a DECIMAL; a wider one, or one without a declared width, is VARCHAR in canonical
text, and so is json. What Parquet's types do not have (NaN as a decimal, infinite dates, 24:00:00) is named by `unfit`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from consumers.adapters.base import Batch
from distributor.model.dataset import DatasetSchema
from distributor.model.types import Kind, LogicalType
from distributor.model.unfit import Unfit, shortened

ODD = "abs({0}) >= 1e15 AND isfinite({0})"
"""Doubles whose text DuckDB writes otherwise than PostgreSQL does."""
_MOST_DIGITS = 38
_TYPES = {
    Kind.BOOLEAN: "BOOLEAN",
    Kind.INTEGER: "BIGINT",
    Kind.DOUBLE: "DOUBLE",
    Kind.DATE: "DATE",
    Kind.TIME: "TIME",
    Kind.TIMESTAMP: "TIMESTAMP",
    Kind.TIMESTAMPTZ: "TIMESTAMP WITH TIME ZONE",
    Kind.UUID: "UUID",
    Kind.BYTES: "BLOB",
}
_FIXED = {Kind.UUID: 36}
# What surely has a place; the rest is looked at one by one.
_SURE = {
    Kind.INTEGER: r"^-?[0-9]{1,18}$",
    Kind.DATE: "^[0-9]",
    Kind.TIME: "^([01][0-9]|2[0-3]):",
    Kind.TIMESTAMP: "^[0-9]{4,5}-",
    Kind.TIMESTAMPTZ: "^[0-9]{4,5}-",
}
_LAST_YEAR = 294246


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string."""
    return "'" + text.replace("'", "''") + "'"


def width(type_: LogicalType) -> tuple[int, int] | None:
    """Digits and scale of a DECIMAL column; None when the type is no decimal or has too many digits for one."""
    if type_.kind is not Kind.DECIMAL or type_.precision is None or type_.scale is None:
        return None
    digits = max(type_.precision, type_.scale) if type_.scale >= 0 else type_.precision - type_.scale
    return (digits, max(type_.scale, 0)) if digits <= _MOST_DIGITS else None


def column_type(type_: LogicalType) -> str:
    """The type of a column, as DuckDB calls it."""
    if native := width(type_):
        return f"DECIMAL({native[0]},{native[1]})"
    return _TYPES.get(type_.kind, "VARCHAR")


def from_text(text: str, type_: LogicalType) -> str:
    """SQL that makes the stored value of a canonical text."""
    match type_.kind:
        case Kind.BYTES:
            return f"unhex(substr({text}, 3))"
        case Kind.DATE | Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            era = f"regexp_replace({text}, '^([0-9-]+)(.*) BC$', '\\1 (BC)\\2')"
            text = f"CASE WHEN ends_with({text}, 'BC') THEN {era} ELSE {text} END"
    kind = column_type(type_)
    return text if kind == "VARCHAR" else f"CAST({text} AS {kind})"


def to_text(value: str, type_: LogicalType, odd: str = "NULL") -> str:
    """SQL that makes the canonical text of a stored value; `odd` is that of a double of which ODD is true."""
    text = f"CAST({value} AS VARCHAR)"
    match type_.kind:
        case Kind.BYTES:
            return f"'\\x' || lower(hex({value}))"
        case Kind.DOUBLE:
            digits = f"CAST(CAST({value} AS BIGINT) AS VARCHAR)"
            whole = f"CASE WHEN {value} = 0 AND signbit({value}) THEN '-0' ELSE {digits} END"
            plain = f"CASE WHEN trunc({value}) = {value} THEN {whole} ELSE {text} END"
            names = f"CASE WHEN isnan({value}) THEN 'NaN' WHEN {value} > 0 THEN 'Infinity' ELSE '-Infinity' END"
            return f"CASE WHEN abs({value}) < 1e15 THEN {plain} WHEN NOT isfinite({value}) THEN {names} ELSE {odd} END"
        case Kind.DATE:
            return f"replace({text}, ' (BC)', ' BC')"
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return f"CASE WHEN {value} < '0001-01-01' THEN replace({text}, ' (BC)', '') || ' BC' ELSE {text} END"
    if (native := width(type_)) and native[1]:
        # To look at the last digit first is twice as fast.
        trimmed = f"CASE WHEN ends_with({text}, '0') THEN rtrim(rtrim({text}, '0'), '.') ELSE {text} END"
        if native[0] > native[1]:
            return trimmed
        # DuckDB writes no zero before the point where the type has no digit for it.
        signed = f"WHEN {value} < 0 THEN '-0' || substr({trimmed}, 2)"
        return f"CASE WHEN {value} = 0 THEN '0' {signed} ELSE '0' || {trimmed} END"
    return value if column_type(type_) == "VARCHAR" else text


def field(text: str, type_: LogicalType) -> str:
    """SQL that makes the field of a canonical text."""
    if type_.kind in _FIXED:
        return f"coalesce('{_FIXED[type_.kind]}:' || {text}, '-')"
    return f"coalesce(strlen({text}) || ':' || {text}, '-')"


def unfit(batch: Batch) -> list[Unfit]:
    """Values among the upserts that have no place in their columns; one per row."""
    schema, rows = batch.table.schema, batch.upserts
    found: dict[int, Unfit] = {}
    for column in schema.columns:
        sure = _sure(column.type)
        if sure is None:
            continue
        texts = rows[column.name]
        doubtful: Any = pc.fill_null(pc.invert(pc.match_substring_regex(texts, sure)), pa.scalar(False))  # noqa: FBT003
        for at in pc.indices_nonzero(doubtful).to_pylist():
            text = texts[at].as_py()
            why = _why(text, column.type)
            if why and at not in found:
                key = tuple(str(rows[name][at].as_py()) for name in schema.key)
                found[at] = Unfit(
                    table=batch.table.name,
                    dataset=schema.dataset,
                    key=key,
                    column=column.name,
                    value=shortened(text),
                    why=why,
                )
    return [found[at] for at in sorted(found)]


def mismatches(schema: DatasetSchema, found: Sequence[tuple[str, pa.DataType]]) -> list[str]:
    """How a file's columns differ from a table's, in half sentences that end with what is wrong."""
    there = dict(found)
    wrong = []
    for column in schema.columns:
        wanted = _arrow(column.type)
        if column.name not in there:
            wrong.append(f"has no column {column.name}, of type {column_type(column.type)}")
        elif there[column.name] != wanted:
            wrong.append(f"has a column {column.name} of type {there[column.name]}, not {column_type(column.type)}")
    if extra := there.keys() - set(schema.column_names):
        wrong.append(f"has a column {min(extra)} that was not made here")
    return wrong


def _sure(type_: LogicalType) -> str | None:
    if native := width(type_):
        digits, scale = native
        point = rf"(\.[0-9]{{1,{scale}}})?" if scale else ""
        before = f"[0-9]{{1,{digits - scale}}}" if digits > scale else "0"
        return f"^-?{before}{point}$"
    return _SURE.get(type_.kind)


def _why(text: str, type_: LogicalType) -> str | None:
    """Why a value that is not surely one of its column's is none; None when it is one after all."""
    match type_.kind:
        case Kind.DECIMAL if not text.strip("-").replace(".", "").isdigit():
            return f"is no number, and a column of type {column_type(type_)} holds no other"
        case Kind.DECIMAL:
            return f"has more digits than {column_type(type_)}"
        case Kind.INTEGER:
            return None if -(2**63) <= int(text) < 2**63 else "is not within 64 bits"
        case Kind.TIME:
            return "is the end of a day, and Parquet's times end before it"
        case _ if not text[:1].isdigit():
            return "is infinite, and Parquet has no such date"
    years = re.match("[0-9]+", text)
    late = years is not None and int(years[0]) > _LAST_YEAR
    return f"is later than the year {_LAST_YEAR}" if late else None


def _arrow(type_: LogicalType) -> pa.DataType:
    """The type as pyarrow reads it from a file."""
    if native := width(type_):
        return pa.decimal128(*native)
    return _ARROW.get(type_.kind, pa.string())


_ARROW: dict[Kind, pa.DataType] = {
    Kind.BOOLEAN: pa.bool_(),
    Kind.INTEGER: pa.int64(),
    Kind.DOUBLE: pa.float64(),
    Kind.DATE: pa.date32(),
    Kind.TIME: pa.time64("us"),
    Kind.TIMESTAMP: pa.timestamp("us"),
    Kind.TIMESTAMPTZ: pa.timestamp("us", tz="UTC"),
    Kind.UUID: pa.uuid(),
    Kind.BYTES: pa.binary(),
}
