"""MariaDB's side of docs/certificates.md: column types, canonical text and certificates, all as SQL.

Shares no code with `distributor.model.certificate`: two computations that meet in one number prove something.
The expressions count on the session settings of `mariadb_line`.

One kind of value has no text here. MariaDB spells large and very small doubles otherwise than the page does, so a row
with one of these is *exotic*: SQL hands out its texts, and the consumer spells and hashes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from consumers.adapters.base import TableSpec
from distributor.model.dataset import Column, DatasetSchema
from distributor.model.types import Kind, LogicalType

# Code points, and no padding: 'A', 'a' and 'A ' are three keys.
TEXT = "CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
COLLATION = "utf8mb4_nopad_bin"
# As information_schema spells them.
_TYPES = {
    Kind.BOOLEAN: "tinyint(1)",
    Kind.INTEGER: "bigint(20)",
    Kind.DOUBLE: "double",
    Kind.DATE: "date",
    Kind.TIME: "time(6)",
    Kind.TIMESTAMP: "datetime(6)",
    Kind.TIMESTAMPTZ: "datetime(6)",
    Kind.UUID: "uuid",
}
_VARYING = {Kind.TEXT, Kind.DECIMAL, Kind.JSON, Kind.BYTES}
_DIGITS, _SCALE = 65, 38
_KEY_OCTETS, _SLOT_OCTETS, _FIXED_OCTETS = 3072, 1, 32
_ROW_OCTETS, _SHORT = 16_000, 255
_CHARACTER = 4
_EVERYTHING = 18446744073709551615
EXOTIC = ""
"""The place of exotic rows in the answer to `sums`."""


def quoted(*names: str) -> str:
    """An identifier, qualified when several names are given."""
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)


def listed(names: Iterable[str]) -> str:
    """Identifiers with commas between them."""
    return ", ".join(quoted(name) for name in names)


def literal(text: str) -> str:
    """A text literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def is_number(type_: LogicalType) -> bool:
    """Whether a decimal is a DECIMAL column; without a declared precision, or too wide for one, it is text."""
    if type_.precision is None or type_.scale is None:
        return False
    return 0 <= type_.scale <= min(type_.precision, _SCALE) and type_.precision <= _DIGITS


def is_varying(type_: LogicalType) -> bool:
    """Whether it is stored as text or octets of any length."""
    return type_.kind in _VARYING and not is_number(type_)


def key_limit(schema: DatasetSchema, column: Column) -> int:
    """The most characters (octets of bytes) of a key column. InnoDB's keys have 3072 octets, one is the slot's."""
    types = {c.name: c.type for c in schema.columns}
    varying = [name for name in schema.key if is_varying(types[name])]
    room = _KEY_OCTETS - _SLOT_OCTETS - _FIXED_OCTETS * (len(schema.key) - len(varying))
    share = room // len(varying)
    most = share if column.type.kind is Kind.BYTES else share // _CHARACTER
    return min(most, column.type.length) if column.type.length else most


def column_types(schema: DatasetSchema) -> dict[str, str]:
    """Per column the type in which a slot stores it, as information_schema spells it."""
    found, room = {}, _ROW_OCTETS
    for column in schema.columns:
        type_ = column.type
        if not is_varying(type_):
            found[column.name] = _TYPES.get(type_.kind) or f"decimal({type_.precision},{type_.scale})"
            continue
        octets = type_.kind is Kind.BYTES
        if column.name in schema.key:
            limit = key_limit(schema, column)
            found[column.name] = f"varbinary({limit})" if octets else f"varchar({limit})"
        elif type_.length and type_.length <= _SHORT and type_.length * _CHARACTER <= room:
            # A row has 65,535 octets for all that is declared with a length.
            room -= type_.length * _CHARACTER
            found[column.name] = f"varchar({type_.length})"
        else:
            found[column.name] = "longblob" if octets else "longtext"
    return found


def is_text(type_: LogicalType) -> bool:
    """Whether its column has a collation."""
    return is_varying(type_) and type_.kind is not Kind.BYTES


def canonical(value: str, type_: LogicalType) -> str:
    """The canonical text of a stored value; of an exotic double another one."""
    match type_.kind:
        case Kind.TEXT | Kind.JSON:
            return value
        case Kind.BOOLEAN:
            return f"CASE {value} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE CONCAT('\\0', {value}) END"
        case Kind.DECIMAL:
            return value if not is_number(type_) else _short(value) if type_.scale else f"CAST({value} AS CHAR)"
        case Kind.TIME | Kind.TIMESTAMP:
            return _short(value)
        case Kind.TIMESTAMPTZ:
            return f"CONCAT({_short(value)}, '+00')"
        case Kind.BYTES:
            return f"CONCAT('\\\\x', LOWER(HEX({value})))"
        case _:
            return f"CAST({value} AS CHAR)"


def canonical_columns(schema: DatasetSchema, of: str) -> list[str]:
    """The canonical texts of all columns of the row `of`, in their order."""
    return [canonical(quoted(of, column.name), column.type) for column in schema.columns]


def exotic(schema: DatasetSchema, of: str) -> str:
    """Whether the row `of` is one that SQL cannot spell; empty when no row can be."""
    names = [quoted(of, column.name) for column in schema.columns if column.type.kind is Kind.DOUBLE]
    odd = (f"{n} <> 0 AND (ABS({n}) < 1e-4 OR ABS({n}) >= 1e15 OR LOCATE('e', {n}))" for n in names)
    return " OR ".join(f"COALESCE({each}, FALSE)" for each in odd)


def sums(table: TableSpec, source: str, where: str, digits: int = 2) -> str:
    """A query for (first hex digits of the key's hash, rows, hashes, sum of first lanes, sum of second lanes).

    `source` gives the rows under the alias `t`. Exotic rows are counted under EXOTIC, and are in no sum.
    """
    schema = table.schema
    odd = exotic(schema, "t")
    place, hash_ = f"LEFT({key_md5(table, 't')}, {digits})", f"CONVERT({row_md5(table, 't')} USING ascii)"
    if odd:
        place, hash_ = f"IF({odd}, '{EXOTIC}', {place})", f"IF({odd}, REPEAT('0', 32), {hash_})"
    lanes = (f"SUM(CAST(CONV({half}(hash, 16), 16, 10) AS UNSIGNED))" for half in ("LEFT", "RIGHT"))
    # LIMIT keeps the optimiser from writing the hash out twice.
    return (
        f"SELECT place, COUNT(*), COUNT(hash), {', '.join(lanes)} FROM ("
        f"SELECT CONVERT({place} USING ascii) AS place, {hash_} AS hash"
        f" FROM {source} WHERE {where} LIMIT {_EVERYTHING}) AS hashes GROUP BY place"
    )


def hashes(table: TableSpec, source: str) -> str:
    """A query for (rows, exotic rows, the hash of each other row and the first octet of its key's hash, all as one
    string of octets): of few rows, quicker than their sums. `source` as in `sums`."""
    odd = exotic(table.schema, "t")
    each = f"UNHEX(CONCAT({row_md5(table, 't')}, LEFT({key_md5(table, 't')}, 2)))"
    one = f"IF({odd}, x'', {each})" if odd else each
    return (
        f"SELECT COUNT(*), {f'COALESCE(SUM({odd}), 0)' if odd else 0}, GROUP_CONCAT({one} SEPARATOR '') FROM {source}"
    )


def row_md5(table: TableSpec, of: str) -> str:
    """The hash of a row in hex."""
    return f"MD5({_fields([literal(table.schema.dataset), *canonical_columns(table.schema, of)])})"


def key_md5(table: TableSpec, of: str) -> str:
    """The hash of a key in hex: it says in which bucket and leaf a row lies."""
    texts = canonical_columns(table.schema, of)
    return f"MD5({_fields([texts[at] for at in table.schema.key_positions])})"


def _fields(texts: Sequence[str]) -> str:
    fields = (f"COALESCE(CONCAT(OCTET_LENGTH({text}), ':', {text}), '-')" for text in texts)
    return f"CONCAT({', '.join(fields)})"


def _short(value: str) -> str:
    """Without zeros at the end of a fraction, and without a point that has none."""
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {value}))"
