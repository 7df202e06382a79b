"""A table with every logical type, rows that have broken loaders before, and rows that carry their release."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from consumers.adapters.base import Batch, TableSpec
from distributor.mapping.tables import TableMapping
from distributor.model.dataset import Column, DatasetSchema, Index
from distributor.model.types import LogicalType

Row = tuple[str | None, ...]

_COLUMNS = (
    ("code", "text"),
    ("number", "integer"),
    ("text", "text"),
    ("flag", "boolean"),
    ("price", "decimal(12,2)"),
    ("small", "decimal(15,15)"),
    ("exact", "decimal"),
    ("ratio", "double"),
    ("day", "date"),
    ("clock", "time"),
    ("moment", "timestamp"),
    ("instant", "timestamptz"),
    ("guid", "uuid"),
    ("raw", "bytes"),
    ("document", "json"),
    ('order "by" %s', "text"),
)
SAMPLES = DatasetSchema(
    dataset="samples",
    columns=tuple(
        Column(name=name, type=LogicalType.parse(type_), nullable=name not in ("code", "number"))
        for name, type_ in _COLUMNS
    ),
    key=("code", "number"),
    indexes=(Index(columns=("text",)), Index(columns=("price", "flag"), unique=True)),
)
PRICES = DatasetSchema(
    dataset="prices",
    columns=(
        Column(name="sku", type=LogicalType.parse("text"), nullable=False),
        Column(name="release", type=LogicalType.parse("integer")),
    ),
    key=("sku",),
)
KEYS = DatasetSchema(
    dataset="keys", columns=(Column(name="id", type=LogicalType.parse("uuid"), nullable=False),), key=("id",)
)
SAMPLE_TABLE = TableSpec(TableMapping(dataset="samples", into="all types"), SAMPLES)
PRICE_TABLE = TableSpec(TableMapping(dataset="prices", into="list_prices"), PRICES)
KEY_TABLE = TableSpec(TableMapping(dataset="keys", into="keys"), KEYS)
TABLES = (SAMPLE_TABLE, PRICE_TABLE, KEY_TABLE)

# Column → canonical texts; every one of them becomes a row in which all other columns are NULL.
_NASTY: dict[str, tuple[str, ...]] = {
    "text": (
        "", " ", " trailing ", "NULL", "null", "\\N", "\\.", "line\n\\.\nline", "\r\n", "a\tb", "back\\slash", "it's",
        'say "no"', '"', '""', ",", ";", "%s %(x)s", "{}", "$1", "ÄÖÜ ß", "e\u0301 is not \u00e9", "\U0001f9ff",
        "\u202e", "\ufeff", "\u0001", "x" * 9000, "true", "1.50", "-- ; DROP TABLE", "NaN",
    ),
    "flag": ("true", "false"),
    "price": ("0", "0.01", "-0.01", "9999999999.99", "-9999999999.99", "1.5", "100", "NaN", "1.1", "0.07"),
    "small": (
        "0", "0.000000000000001", "-0.000000000000001", "0.1", "0.123456789012345", "0.999999999999999", "0.00001",
        "NaN",
    ),
    "exact": (
        "0", "0.000000000000000000000000000001", "123456789012345678901234567890.123456789", "-1", "1" + "0" * 60,
        "0.1", "NaN", "Infinity", "-Infinity",
    ),
    "ratio": (
        "0", "-0", "0.1", "1e+15", "1.5e+15", "999999999999999", "1.2345678901234568e+15", "1e-05", "0.0001", "5e-324",
        "1.7976931348623157e+308", "-1e+20", "0.30000000000000004", "NaN", "Infinity",
        "-Infinity",
    ),
    "day": (
        "2026-02-28", "2024-02-29", "0001-01-01", "9999-12-31", "infinity", "-infinity", "10000-01-01", "0044-03-15 BC",
    ),
    "clock": ("00:00:00", "23:59:59.5", "23:59:59.999999", "24:00:00"),
    "moment": ("2026-02-28 12:00:00", "2026-02-28 12:00:00.000001", "1999-12-31 23:59:59.9", "infinity"),
    "instant": ("2026-02-28 11:00:00+00", "2026-10-25 00:30:00.123456+00", "1900-01-01 00:00:00+00", "-infinity"),
    "guid": ("09a3f61e-39c4-4eb3-96e8-28c7b8d344d2", "00000000-0000-0000-0000-000000000000"),
    "raw": ("\\x", "\\x00", "\\x00ff", "\\x5c2e0a", "\\x" + "00" * 5000),
    "document": (
        "null", "{}", "[]", '""', '{"a": 1, "bc": [1, 2]}', '{"b": 1, "aa": 2}', '"a\\"b\\\\n\\n"', "1.50",
        "0.1", '{"ä": "\U0001f9ff"}', "[null, true, false]", "123456789012345678901234567890",
    ),
    'order "by" %s': ("100%", "'"),
}  # fmt: skip


def nasty_rows() -> list[Row]:
    """One row per awkward value, rows of nothing but NULLs, and awkward keys."""
    names = SAMPLES.column_names
    found: list[Row] = [_row(names, "all null", 0, {})]
    for name, texts in _NASTY.items():
        found += [_row(names, name, number, {name: text}) for number, text in enumerate(texts)]
    found += [_row(names, code, -1, {}) for code in ("", " ", "\n", "'", '"', "\\", "NULL", "ü", "%s")]
    found += [_row(names, "number", number, {}) for number in (-(2**63), 2**63 - 1, 0)]
    return found


def numbered_rows(count: int, release: int, *, start: int = 0) -> list[Row]:
    """Rows of PRICES that carry a release: a reader that sees two of them at once has seen a mix."""
    return [(f"P{number:06}", str(release)) for number in range(start, start + count)]


def batch(table: TableSpec, upserts: Iterable[Row] = (), deletes: Iterable[Row] = ()) -> Batch:
    """A batch of whole rows; of those to delete only the key counts."""
    positions = table.schema.key_positions
    keys = [tuple(row[position] for position in positions) for row in deletes]
    return Batch(table, _arrow(list(upserts), table.schema.column_names), _arrow(keys, table.schema.key))


def _arrow(rows: Sequence[Row], names: Sequence[str]) -> pa.Table:
    columns = [pa.array([row[i] for row in rows], pa.string()) for i in range(len(names))]
    return pa.table(columns, schema=pa.schema([(name, pa.string()) for name in names]))


def _row(names: Sequence[str], code: str, number: int, values: dict[str, str]) -> Row:
    return tuple({"code": code, "number": str(number), **values}.get(name) for name in names)
