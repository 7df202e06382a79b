"""Canonical text → DuckDB's values, and back (docs/certificates.md, section 1)."""

from __future__ import annotations

from distributor.model.types import Kind, LogicalType

MOST_DIGITS = 38
_WIDE_DIGITS = 19


def typed(column: str, type_: LogicalType) -> str:
    """A column of canonical texts as the value that an expression computes with.

    A decimal without declared digits, or of more than 38, is its text: an expression casts it itself.
    """
    match type_.kind:
        case Kind.DECIMAL:
            if (
                type_.precision is None
                or type_.precision > MOST_DIGITS
                or not 0 <= (type_.scale or 0) <= type_.precision
            ):
                return column
            # Of fewer digits, DuckDB would multiply in 18 and give up beyond them; of many more, it would round where
            # columns of different scales meet.
            return f"CAST({column} AS DECIMAL({max(type_.precision, _WIDE_DIGITS)}, {type_.scale}))"
        case Kind.DATE:
            return f"CAST(replace({column}, ' BC', ' (BC)') AS DATE)"
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return f"CAST(regexp_replace({column}, '^([^ ]+) (.+) BC$', '\\1 (BC) \\2') AS {sql_type(type_)})"
        case Kind.BYTES:
            return f"from_hex(substr({column}, 3))"
        case Kind.TEXT:
            return column
        case _:
            return f"CAST({column} AS {sql_type(type_)})"


def computable(type_: LogicalType) -> bool:
    """Whether DuckDB has this decimal."""
    precision, scale = type_.precision, type_.scale or 0
    return precision is not None and precision <= MOST_DIGITS and 0 <= scale <= precision


def text(value: str, type_: LogicalType) -> str:
    """A computed value, cast to its declared type, as canonical text; of a double the value itself."""
    cast = f"CAST({value} AS {sql_type(type_)})"
    match type_.kind:
        case Kind.DOUBLE:
            return cast
        case Kind.DECIMAL if type_.scale:
            # With as many digits after the point as there are, DuckDB writes none before it.
            digits = f"regexp_replace(CAST({cast} AS VARCHAR), '^(-?)[.]', '\\10.')"
            return f"rtrim(rtrim({digits}, '0'), '.')"
        case Kind.DATE:
            return f"replace(CAST({cast} AS VARCHAR), ' (BC)', ' BC')"
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return f"regexp_replace(CAST({cast} AS VARCHAR), '^([^ ]+) [(]BC[)] (.+)$', '\\1 \\2 BC')"
        case Kind.BYTES:
            return f"'\\x' || lower(hex({cast}))"
        case _:
            return f"CAST({cast} AS VARCHAR)"


def sql_type(type_: LogicalType) -> str:
    """DuckDB's type."""
    if type_.kind is Kind.DECIMAL:
        return f"DECIMAL({type_.precision}, {type_.scale})"
    return _SQL_TYPES[type_.kind]


_SQL_TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.INTEGER: "BIGINT",
    Kind.DOUBLE: "DOUBLE",
    Kind.DATE: "DATE",
    Kind.TIME: "TIME",
    Kind.TIMESTAMP: "TIMESTAMP",
    Kind.TIMESTAMPTZ: "TIMESTAMPTZ",
    Kind.UUID: "UUID",
    Kind.BYTES: "BLOB",
    Kind.JSON: "JSON",
}
