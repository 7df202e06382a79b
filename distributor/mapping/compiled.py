"""A table's mapping for one shape of its dataset: every name resolved, every column typed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from distributor.errors import ConfigError, SchemaError
from distributor.mapping.expressions import Name, as_plain, divides, names, parsed, quoted
from distributor.mapping.tables import EVERYTHING, IDENTITY, SQL, ColumnMapping, SystemMapping, TableMapping
from distributor.model.certificate import EMPTY_TABLE, Certificate, TableCertificate
from distributor.model.dataset import Column, DatasetSchema, Index
from distributor.model.manifest import Manifest
from distributor.model.types import Kind, LogicalType

_EXACT_DIGITS = 15


@dataclass(frozen=True, slots=True)
class CompiledColumn:
    """One column of the system's table. `at` is the source's column whose canonical text is taken as it is; None: the
    expression is evaluated and its value cast to the type."""

    name: str
    type: LogicalType
    expr: str
    at: int | None


@dataclass(frozen=True)
class Compiled:
    """A table: from rows of `source` to rows of `schema`. Same key in the same order, whatever its columns are called,
    so that buckets and leaves of both are the same."""

    system: str
    mapping: TableMapping
    source: DatasetSchema
    schema: DatasetSchema
    columns: tuple[CompiledColumn, ...]

    @property
    def name(self) -> str:
        """The name under which readers find the table."""
        return self.mapping.into

    @property
    def identity(self) -> bool:
        """Whether rows are those of the source, but for names and order."""
        return not self.mapping.where and all(c.at is not None and c.type.length is None for c in self.columns)

    @property
    def unchanged(self) -> bool:
        """Whether rows are those of the source, column for column, under whatever names."""
        return self.identity and [column.at for column in self.columns] == list(range(len(self.source.columns)))

    @property
    def is_the_datasets(self) -> bool:
        """Whether its certificate is the dataset's, which every manifest has."""
        return self.unchanged and self.source.dataset == self.mapping.dataset

    @cached_property
    def fingerprint(self) -> str:
        """The same for the same rows of the same release: what a certificate of this table is kept under."""
        engine = IDENTITY if self.identity else SQL
        parts = [engine, self.source.model_dump_json(), self.schema.model_dump_json(), self.mapping.where]
        parts += [f"{column.name}\n{column.type}\n{column.expr}" for column in self.columns]
        return hashlib.sha256("\n\n".join(parts).encode()).hexdigest()

    def where_of(self, column: str, expr: str) -> str:
        """A place in the config, for messages."""
        return place(self.system, self.name, column, expr)

    def position(self, name: Name) -> int:
        """Where the source has a column that an expression names. Raises ConfigError."""
        return _position(self.mapping, self.source, name, place(self.system, self.name, "", str(name)))

    @property
    def reads(self) -> tuple[int, ...]:
        """The source's columns that expressions need."""
        texts = [column.expr for column in self.columns if column.at is None]
        texts += [self.mapping.where] if self.mapping.where else []
        found = {self.position(name) for text in texts for name in names(parsed(text, self.name))}
        return tuple(sorted(found))


def place(system: str, table: str, column: str, expr: str) -> str:
    """System, table, column and expression, as messages name them."""
    parts = [f"systems.{system}", f"table {table}", *([f"column {column}"] if column else []), repr(expr)]
    return ", ".join(parts)


def compile_system(mapping: SystemMapping, manifest: Manifest) -> tuple[Compiled, ...]:
    """All tables for the shapes of a release. Raises SchemaError when it lacks a dataset, ConfigError for a mapping
    that does not fit the dataset's columns."""
    schemas = {schema.dataset: schema for schema in manifest.schemas}
    for table in mapping.tables:
        if table.dataset not in schemas:
            raise SchemaError(
                f"release {manifest.release} has no dataset {table.dataset}",
                where=f"systems.{mapping.system}",
                mend="Publish a release that has it, or take the table out of the mapping.",
            )
        if table.source not in schemas:
            raise SchemaError(
                f"release {manifest.release} does not carry {table.dataset} together with what it references",
                where=f"systems.{mapping.system}, table {table.into}",
                mend="It was made before this mapping: run `distributor publish`.",
            )
    return tuple(compile_table(mapping.system, table, schemas[table.source]) for table in mapping.tables)


def compile_table(system: str, table: TableMapping, source: DatasetSchema) -> Compiled:
    """One table. Raises ConfigError."""
    try:
        columns = tuple(_columns(system, table, source))
    except ConfigError as error:
        if error.where.startswith("systems."):
            raise
        raise ConfigError(error.what, where=f"systems.{system}, {error.where}", mend=error.mend) from error
    twice = {c.name for c in columns if sum(other.name.lower() == c.name.lower() for other in columns) > 1}
    if twice:
        raise ConfigError(f"two columns are called {min(twice)!r}", where=place(system, table.into, "", table.dataset))
    if table.where:
        where = place(system, table.into, "where", table.where)
        for name in names(parsed(table.where, where)):
            _position(table, source, name, where)
    plain = {column.at: column.name for column in reversed(columns) if column.at is not None}
    return Compiled(system, table, source, _schema(system, table, source, columns, plain), columns)


def expected_of(mapping: SystemMapping, manifest: Manifest | None) -> Certificate | None:
    """The certificate that a member with this mapping must reach, by table, as the release's manifest has it.

    None where the release was made before the mapping was known. Raises as `compile_system`.
    """
    if manifest is None:
        return Certificate(tables={table.into: EMPTY_TABLE for table in mapping.tables})
    compiled = compile_system(mapping, manifest)
    found = {table.name: certificate_in(manifest, table) for table in compiled}
    tables = {name: certificate for name, certificate in found.items() if certificate is not None}
    return Certificate(tables=tables) if len(tables) == len(found) else None


def certificate_in(manifest: Manifest, table: Compiled) -> TableCertificate | None:
    """One table's certificate, where the manifest has it."""
    if table.is_the_datasets:
        return manifest.certificate.tables.get(table.mapping.dataset, EMPTY_TABLE)
    return manifest.mapped.get(table.fingerprint)


def _columns(system: str, table: TableMapping, source: DatasetSchema) -> Iterator[CompiledColumn]:
    # What travels beside a dataset's own columns is for expressions that name it.
    own = [column.name for column in source.columns if source.dataset == table.dataset or "." not in column.name]
    if not table.columns:
        yield from (_every(source, name) for name in own)
    named = {entry.name.lower() for entry in table.columns}
    read = {source.column_names[_position(table, source, Name("", n), "")] for n in table.plainly_read()}
    for entry in table.columns:
        if EVERYTHING in (entry.name, entry.expr):
            yield from (_every(source, name) for name in own if name not in read and name.lower() not in named)
        else:
            yield _column(system, table, source, entry)


def _every(source: DatasetSchema, name: str) -> CompiledColumn:
    at = source.column_names.index(name)
    return CompiledColumn(name, source.columns[at].type, name, at)


def _column(system: str, table: TableMapping, source: DatasetSchema, entry: ColumnMapping) -> CompiledColumn:
    where = place(system, table.into, entry.name, entry.expr)
    tree = parsed(entry.expr, where)
    found = {name: _position(table, source, name, where) for name in names(tree)}
    plain = as_plain(tree)
    given = source.columns[found[plain]].type if plain else None
    type_ = entry.type or given
    if type_ is None:
        raise ConfigError(
            "it has no type",
            where=where,
            mend=f'Write {entry.name} = {{expr = "…", type = "text"}}; docs/mappings.md lists the types.',
        )
    if given is not None and _keeps_its_text(given, type_):
        return CompiledColumn(entry.name, type_, entry.expr, found[plain] if plain else None)
    _refuse(where, tree_divides=divides(tree), type_=type_)
    return CompiledColumn(entry.name, type_, entry.expr, None)


def _refuse(where: str, *, tree_divides: bool, type_: LogicalType) -> None:
    if type_.kind is Kind.JSON:
        raise ConfigError("json is only carried as it is", where=where, mend='Declare "text" for what is made of it.')
    if type_.kind is Kind.DECIMAL and type_.precision is None:
        raise ConfigError("a computed decimal needs its digits", where=where, mend='Declare "decimal(12,2)", say.')
    if type_.kind is Kind.DECIMAL and (type_.precision or 0) > 38:
        raise ConfigError("a computed decimal has at most 38 digits", where=where)
    if tree_divides and type_.kind is Kind.DECIMAL and (type_.precision or 0) > _EXACT_DIGITS:
        raise ConfigError(
            f"a division has {_EXACT_DIGITS} exact digits, not {type_.precision}",
            where=where,
            mend="Multiply instead, or declare fewer digits.",
        )


def _keeps_its_text(given: LogicalType, wanted: LogicalType) -> bool:
    """Whether every value of one type has the same canonical text as one of the other."""
    if given == wanted:
        return True
    if wanted.kind is Kind.TEXT:
        # A length is checked, and changes nothing.
        return wanted.length is None or given.kind is Kind.TEXT
    if given.kind is wanted.kind is Kind.DECIMAL and given.precision is not None and given.scale is not None:
        if wanted.precision is None or wanted.scale is None:
            return wanted.precision is None
        return wanted.scale >= given.scale and wanted.precision - wanted.scale >= given.precision - given.scale
    return False


def _position(table: TableMapping, source: DatasetSchema, name: Name, where: str) -> int:
    wanted = f"{table.reference_of(name.of)}.{name.column}" if table.is_foreign(name.of) else name.column
    known = source.column_names
    if wanted in known:
        return known.index(wanted)
    alike = [at for at, other in enumerate(known) if other.lower() == wanted.lower()]
    if len(alike) == 1:
        return alike[0]
    # A name of several words reads as an expression of other names, unless it is quoted.
    odd = [column for column in known if where.endswith(f", {column!r}")]
    raise ConfigError(
        f"the dataset {table.dataset} has no column {wanted!r}",
        where=where,
        mend=f"It has {', '.join(known)}." + (f" Write '{quoted(odd[0])}' for that column." if odd else ""),
    )


def _schema(
    system: str,
    table: TableMapping,
    source: DatasetSchema,
    columns: tuple[CompiledColumn, ...],
    plain: dict[int, str],
) -> DatasetSchema:
    names_of = {source.column_names[at]: name for at, name in plain.items()}
    if missing := [name for name in source.key if name not in names_of]:
        raise ConfigError(
            f"the key column {missing[0]!r} is not among its columns",
            where=place(system, table.into, "", table.dataset),
            mend=f'Add it as it is, under any name: {missing[0]} = "{missing[0]}".',
        )
    return DatasetSchema(
        dataset=table.dataset,
        columns=tuple(
            Column(name=c.name, type=c.type, nullable=c.at is None or source.columns[c.at].nullable) for c in columns
        ),
        key=tuple(names_of[name] for name in source.key),
        indexes=tuple(
            Index(columns=tuple(names_of[name] for name in index.columns), unique=index.unique)
            for index in source.indexes
            if all(name in names_of for name in index.columns)
        ),
    )
