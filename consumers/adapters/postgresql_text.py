"""PostgreSQL's side of docs/certificates.md: column types, canonical text and certificates, all as SQL.

Shares no code with `distributor.model.certificate`: two computations that meet in one number prove something.
The expressions count on the session settings of `postgresql_line`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pyarrow as pa

from consumers.adapters.base import TableSpec
from distributor.model.certificate import TableCertificate, from_sums
from distributor.model.dataset import DatasetSchema
from distributor.model.types import Kind, LogicalType

# Spelled as format_type() spells them, so that a catalogue's answer can be compared with what was asked for.
_TYPES = {
    Kind.TEXT: "text",
    Kind.BOOLEAN: "boolean",
    Kind.INTEGER: "bigint",
    Kind.DECIMAL: "numeric",
    Kind.DOUBLE: "double precision",
    Kind.DATE: "date",
    Kind.TIME: "time without time zone",
    Kind.TIMESTAMP: "timestamp without time zone",
    Kind.TIMESTAMPTZ: "timestamp with time zone",
    Kind.UUID: "uuid",
    Kind.BYTES: "bytea",
    Kind.JSON: "jsonb",
}


def quoted(*names: str) -> str:
    """An identifier, qualified when several names are given."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def listed(names: Iterable[str]) -> str:
    """Identifiers with commas between them."""
    return ", ".join(quoted(name) for name in names)


def literal(text: str) -> str:
    """A text literal, whatever standard_conforming_strings says."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def column_type(type_: LogicalType) -> str:
    """The type in which a slot stores it."""
    name = _TYPES[type_.kind]
    return name if type_.precision is None else f"{name}({type_.precision},{type_.scale})"


def canonical(expression: str, type_: LogicalType) -> str:
    """The canonical text of a stored value."""
    match type_.kind:
        case Kind.TEXT:
            return expression
        case Kind.DECIMAL:
            return f"trim_scale({expression})::text"
        case _:
            return f"{expression}::text"


def canonical_rows(table: TableSpec, source: str) -> str:
    """A query for the canonical texts of all columns, in their order. `source` gives the rows under the alias `t`."""
    return f"SELECT {canonical_columns(table.schema, 't')} FROM {source}"


def canonical_columns(schema: DatasetSchema, of: str) -> str:
    """The canonical texts of all columns of the row `of`, as c0, c1, …"""
    texts = (
        f"{canonical(f'{of}.{quoted(column.name)}', column.type)} AS c{i}" for i, column in enumerate(schema.columns)
    )
    return ", ".join(texts)


def in_statement(rows: pa.Table, schema: DatasetSchema) -> str:
    """Rows of canonical texts, of some columns of a dataset, as a relation that carries them in its own text."""
    types = {column.name: column_type(column.type) for column in schema.columns}
    names = [f"c{i}" for i in range(rows.num_columns)]
    columns = zip(names, rows.column_names, strict=True)
    values = ", ".join(f"{text}::{types[column]} AS {quoted(column)}" for text, column in columns)
    texts = literal(json.dumps(rows.rename_columns(names).to_pylist(), ensure_ascii=False))
    return f"(SELECT {values} FROM json_to_recordset({texts}) AS texts({', '.join(f'{c} text' for c in names)}))"


def sums(table: TableSpec, source: str) -> str:
    """A query for (bucket, rows, sum of first lanes, sum of second lanes) of rows; `source` as in `canonical_rows`."""
    return sums_of_texts(table, canonical_rows(table, source))


def sums_of_texts(table: TableSpec, texts: str) -> str:
    """The same of a query that gives the canonical texts as columns c0, c1, …"""
    # OFFSET 0 keeps the planner from writing each text's expression out twice, once for its length.
    return (
        "SELECT ('x' || substr(key, 1, 2))::bit(8)::int & 63, count(*),"
        " sum(hash::bit(64)::bigint), sum((hash << 64)::bit(64)::bigint)"
        f" FROM (SELECT ('x' || {row_md5(table)})::bit(128) AS hash, {key_md5(key_texts(table))} AS key"
        f" FROM ({texts} OFFSET 0) AS texts OFFSET 0) AS hashes GROUP BY 1"
    )


def row_md5(table: TableSpec) -> str:
    """The hash of a row in hex, from its canonical texts c0, c1, …"""
    texts = (f"c{i}" for i in range(len(table.schema.columns)))
    return f"md5({_fields([literal(table.schema.dataset), *texts])})"


def key_md5(texts: Sequence[str]) -> str:
    """The hash of a key in hex: it says in which bucket and leaf a row lies."""
    return f"md5({_fields(texts)})"


def key_texts(table: TableSpec) -> list[str]:
    """The key columns among the canonical texts."""
    return [f"c{i}" for i in table.schema.key_positions]


def certificate(rows: Iterable[tuple[int, int, int, int]]) -> TableCertificate:
    """The answer to `sums` as a certificate."""
    return from_sums({bucket: (count, int(first), int(second)) for bucket, count, first, second in rows})


def _fields(texts: Sequence[str]) -> str:
    return " || ".join(f"coalesce(octet_length({text}) || ':' || {text}, '-')" for text in texts)
