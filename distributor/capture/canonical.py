"""The canonical text of a master's column as an SQL expression (docs/certificates.md, section 1)."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from distributor.model.types import Kind, LogicalType

_KINDS = {
    "bool": Kind.BOOLEAN,
    "int2": Kind.INTEGER,
    "int4": Kind.INTEGER,
    "int8": Kind.INTEGER,
    "float4": Kind.DOUBLE,
    "float8": Kind.DOUBLE,
    "date": Kind.DATE,
    "time": Kind.TIME,
    "timestamp": Kind.TIMESTAMP,
    "timestamptz": Kind.TIMESTAMPTZ,
    "uuid": Kind.UUID,
    "bytea": Kind.BYTES,
    "json": Kind.JSON,
    "jsonb": Kind.JSON,
    "text": Kind.TEXT,
    "varchar": Kind.TEXT,
    "bpchar": Kind.TEXT,
    "name": Kind.TEXT,
    "char": Kind.TEXT,
}


@dataclass(frozen=True, slots=True)
class MasterType:
    """A column's type in the master, domains resolved: the base type's schema, name and modifier."""

    schema: str
    name: str
    modifier: int = -1
    is_array: bool = False
    is_enum: bool = False

    @property
    def is_builtin(self) -> bool:
        """Whether the name means PostgreSQL's own type."""
        return self.schema == "pg_catalog"

    @property
    def identifier(self) -> sql.Identifier:
        """The type's full name, independent of any search path."""
        return sql.Identifier(self.schema, self.name)

    @property
    def is_listed(self) -> bool:
        """False: not on the list of logical types; it travels as plain text."""
        return (
            self.is_array
            or self.is_enum
            or self.name == "citext"
            or (self.is_builtin and (self.name in _KINDS or self.name == "numeric"))
        )

    @property
    def logical(self) -> LogicalType:
        """The logical type under which the column travels."""
        if self.is_array:
            return LogicalType(Kind.JSON)
        if not self.is_builtin:
            return LogicalType(Kind.TEXT)
        if self.name == "numeric":
            return _decimal(self.modifier)
        return LogicalType(_KINDS.get(self.name, Kind.TEXT))


def _decimal(modifier: int) -> LogicalType:
    """The inverse of PostgreSQL's numeric typmod: precision above, an 11-bit signed scale below."""
    if modifier < 4:
        return LogicalType(Kind.DECIMAL)
    packed = modifier - 4
    scale = (packed & 0x7FF) ^ 1024
    return LogicalType(Kind.DECIMAL, (packed >> 16) & 0xFFFF, scale - 1024)


def canonical(column: sql.Composable, type_: MasterType) -> sql.Composed:
    """The expression that gives the canonical text of a column, under CANONICAL_SETTINGS."""
    if type_.is_array:
        return sql.SQL("pg_catalog.to_jsonb({}::{})::text").format(column, type_.identifier)
    if type_.is_builtin and type_.name == "numeric":
        return sql.SQL("pg_catalog.trim_scale({})::text").format(column)
    if type_.is_builtin and type_.name in {"json", "jsonb"}:
        return sql.SQL("{}::jsonb::text").format(column)
    return sql.SQL("{}::text").format(column)
