"""Sums over rows in DuckDB's SQL: certificates as docs/certificates.md has them, and quick ones of stored values.

Rows are given as a SELECT of the columns c0, c1, … of a table's stored types, so that names need no care.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from consumers.adapters.parquet_text import ODD, field, literal, to_text
from distributor.model.certificate import BUCKETS, Bucket, TableCertificate, field_text, from_sums
from distributor.model.dataset import DatasetSchema
from distributor.model.texts import double_text
from distributor.model.types import Kind

_PAGE = 50_000
BUCKET = f"CAST('0x' || left(k, 2) AS UTINYINT) % {BUCKETS}"
_LEAF = "CAST('0x' || left(k, 4) AS USMALLINT)"
_LANES = "CAST('0x' || left(r, 16) AS UBIGINT), CAST('0x' || right(r, 16) AS UBIGINT)"


def names(schema: DatasetSchema) -> list[str]:
    """c0, c1, …"""
    return [f"c{at}" for at in range(len(schema.columns))]


@dataclass(frozen=True, slots=True)
class Quick:
    """Rows, and two sums of DuckDB's own hash of the stored values: equal rows have equal ones within one process.

    For what DuckDB only copies from file to file: a tenth of a certificate's price.
    """

    rows: int = 0
    first: int = 0
    second: int = 0

    def plus(self, other: Quick, sign: int = 1) -> Quick:
        """The sum; `sign` -1 takes the other away."""
        return Quick(self.rows + sign * other.rows, self.first + sign * other.first, self.second + sign * other.second)


@dataclass(frozen=True, slots=True)
class Summed:
    """What a batch's rows sum up to, in both ways; quick ones by bucket."""

    certificate: TableCertificate
    quick: dict[int, Quick]


def certified(
    connection: duckdb.DuckDBPyConnection, schema: DatasetSchema, rows: str, only: Collection[int] = ()
) -> TableCertificate:
    """The certificate of rows, or of those in some buckets."""
    source, spelt = _spelt(connection, schema, rows)
    hashed = _hashed(schema, source, _in_buckets(only) if only else "true", spelt=spelt)
    return _as_sums(_by_bucket(connection, hashed)).certificate


def summed(connection: duckdb.DuckDBPyConnection, schema: DatasetSchema, rows: str) -> Summed:
    """Certificate and quick sums of rows."""
    # Many tables have no double that must be spelt: first without a look at the rows that would find out.
    found = _by_bucket(connection, _hashed(schema, rows, "true", hashes=_hashes(schema), spelt=False))
    if any(row[-1] for row in found):
        source, _ = _spelt(connection, schema, rows)
        found = _by_bucket(connection, _hashed(schema, source, "true", hashes=_hashes(schema)))
    return _as_sums(found)


def summed_both(
    connection: duckdb.DuckDBPyConnection, schema: DatasetSchema, before: str, after: str
) -> tuple[Summed, Summed]:
    """`summed` of few rows twice. To plan such a statement takes longer than to run it: so it is planned once."""
    both = f"SELECT *, 0 AS side FROM ({before}) UNION ALL SELECT *, 1 FROM ({after})"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE looked AS {both}")
    source, spelt = _spelt(connection, schema, "SELECT * FROM looked")
    hashed = _hashed(schema, source, "true", hashes=_hashes(schema), side="side", spelt=spelt)
    found = _by_bucket(connection, hashed)
    return _as_sums([row for row in found if not row[0]]), _as_sums([row for row in found if row[0]])


def quick(connection: duckdb.DuckDBPyConnection, schema: DatasetSchema, rows: str) -> Quick:
    """The quick sums of all rows together."""
    hashed = f"(SELECT {_hashes(schema)} FROM ({rows})) AS h(x, y)"
    query = f"SELECT count(*), coalesce(sum(x), 0), coalesce(sum(y), 0) FROM {hashed}"
    return Quick(*connection.execute(query).fetchall()[0])


def leaves(
    connection: duckdb.DuckDBPyConnection, schema: DatasetSchema, rows: str, only: Collection[int]
) -> dict[int, Bucket]:
    """Sums per leaf, of the leaves in some buckets."""
    spelt_rows, spelt = _spelt(connection, schema, rows)
    source = _hashed(schema, spelt_rows, _in_buckets(only), spelt=spelt)
    query = f"SELECT leaf, count(*), sum(a), sum(b) FROM (SELECT {_LEAF}, {_LANES} FROM {source}) AS s(leaf, a, b)"
    found = connection.execute(f"{query} GROUP BY leaf").fetchall()
    return from_sums({leaf: (count, first, second) for leaf, count, first, second in found}).buckets


def rows_in(
    connection: duckdb.DuckDBPyConnection, schema: DatasetSchema, rows: str, only: Collection[int]
) -> list[tuple[tuple[str | None, ...], int, int]]:
    """Key and both lanes of every row in some leaves."""
    connection.register("wanted", pa.table({"leaf": pa.array(sorted(only), pa.uint16())}))
    spelt_rows, spelt = _spelt(connection, schema, rows)
    source = _hashed(schema, spelt_rows, f"{_LEAF} IN (SELECT leaf FROM wanted)", spelt=spelt)
    found = connection.execute(f"SELECT key, {_LANES} FROM {source}").fetchall()
    connection.unregister("wanted")
    return [(tuple(key), first, second) for key, first, second in found]


def within(connection: duckdb.DuckDBPyConnection, schema: DatasetSchema, rows: str, first: int, last: int) -> str:
    """SELECT of the rows in the buckets from `first` up to `last`."""
    in_key = any(schema.columns[at].type.kind is Kind.DOUBLE for at in schema.key_positions)
    source, spelt = _spelt(connection, schema, rows) if in_key else (rows, False)
    values = _values(schema, spelt=spelt)
    text = ", ".join(field(values[at], schema.columns[at].type) for at in schema.key_positions)
    kept = f"(SELECT *, md5(concat({text})) AS k FROM ({source}))"
    return f"SELECT {', '.join(names(schema))} FROM {kept} WHERE {BUCKET} >= {first} AND {BUCKET} < {last}"


def key_bucket(columns: Sequence[str]) -> str:
    """SQL that makes the bucket of a key from the texts of its columns, none of which is NULL."""
    fields = ", ".join(f"strlen({column}) || ':' || {column}" for column in columns)
    return f"CAST('0x' || left(md5(concat({fields})), 2) AS UTINYINT) % {BUCKETS}"


def texts(connection: duckdb.DuckDBPyConnection, schema: DatasetSchema, rows: str) -> pa.Table:
    """Rows as canonical texts under the table's own names; few rows only."""
    source, spelt = _spelt(connection, schema, rows)
    values = ", ".join(_values(schema, spelt=spelt))
    found: pa.Table = connection.sql(f"SELECT {values} FROM ({source})").to_arrow_table()
    shape = pa.schema([(name, pa.string()) for name in schema.column_names])
    return found.rename_columns(list(schema.column_names)).cast(shape)


def _as_sums(found: Sequence[tuple[int, ...]]) -> Summed:
    return Summed(
        from_sums({bucket: (rows, first, second) for _, bucket, rows, first, second, *_ in found}),
        {bucket: Quick(rows, x, y) for _, bucket, rows, _, _, x, y, _ in found},
    )


def _by_bucket(connection: duckdb.DuckDBPyConnection, source: str) -> list[tuple[int, ...]]:
    """Side, bucket, rows, sums of both lanes, of x and of y, and whether any is odd."""
    return connection.execute(
        f"SELECT side, bucket, count(*), sum(a), sum(b), sum(x), sum(y), bool_or(odd) FROM"
        f" (SELECT side, {BUCKET}, {_LANES}, x, y, odd FROM {source}) AS s(side, bucket, a, b, x, y, odd)"
        " GROUP BY side, bucket"
    ).fetchall()


def _hashed(
    schema: DatasetSchema, rows: str, condition: str, *, hashes: str = "0, 0", side: str = "0", spelt: bool = True
) -> str:
    """Per row that meets the condition: `key` (its texts), `k` and `r` (md5 of key text and row text), x and y
    (`hashes`), `side`, and whether it has a double of which only a spelt row knows the text.

    One step after the other, so that every text is made once, and what is planned for every batch stays small.
    """
    odd = " OR ".join(f"coalesce({ODD.format(f'c{at}')}, false)" for at in _doubles(schema))
    made = ", ".join(f"{text} AS t{at}" for at, text in enumerate(_values(schema, spelt=spelt)))
    said = f"SELECT {made}, {hashes}, {side}, {'false' if spelt else odd or 'false'} FROM ({rows})"
    names_of = ", ".join([*(f"t{at}" for at in range(len(schema.columns))), "x", "y", "side", "odd"])
    fields = [field(f"t{at}", column.type) for at, column in enumerate(schema.columns)]
    key_text = ", ".join(fields[at] for at in schema.key_positions)
    key = ", ".join(f"t{at}" for at in schema.key_positions)
    row_text = f"concat({literal(field_text(schema.dataset))}, {', '.join(fields)})"
    return (
        f"(SELECT [{key}] AS key, k, md5({row_text}) AS r, x, y, side, odd FROM"
        f" (SELECT *, md5(concat({key_text})) AS k FROM ({said}) AS s({names_of})) WHERE {condition})"
    )


def _values(schema: DatasetSchema, *, spelt: bool) -> list[str]:
    """SQL that makes the text of every column."""
    return [to_text(f"c{at}", c.type, f"o{at}" if spelt else "NULL") for at, c in enumerate(schema.columns)]


def _spelt(connection: duckdb.DuckDBPyConnection, schema: DatasetSchema, rows: str) -> tuple[str, bool]:
    """The rows, and beside every double cN of which ODD is true its text as oN, made page by page in Python; or the
    rows as they are, and False, when there is none."""
    doubles = _doubles(schema)
    if not doubles:
        return rows, False
    found = " UNION ALL ".join(f"SELECT c{at} FROM ({rows}) WHERE {ODD.format(f'c{at}')}" for at in doubles)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE seen AS SELECT DISTINCT value FROM ({found}) AS f(value)")
    page = _page(connection, "-infinity")
    if not page:
        return rows, False
    connection.execute("CREATE OR REPLACE TEMP TABLE odd (value DOUBLE, text VARCHAR)")
    while page:
        spelt = pa.table({"value": pa.array(page, pa.float64()), "text": pa.array(map(double_text, page), pa.string())})
        connection.register("spelt", spelt)
        connection.execute("INSERT INTO odd SELECT value, text FROM spelt")
        connection.unregister("spelt")
        page = _page(connection, repr(page[-1])) if len(page) == _PAGE else []
    beside = ", ".join(f"o{at}.text AS o{at}" for at in doubles)
    joins = " ".join(f"LEFT JOIN odd AS o{at} ON o{at}.value = c{at}" for at in doubles)
    return f"SELECT t.*, {beside} FROM ({rows}) AS t {joins}", True


def _page(connection: duckdb.DuckDBPyConnection, after: str) -> list[float]:
    query = f"SELECT value FROM seen WHERE value > CAST('{after}' AS DOUBLE) ORDER BY value LIMIT {_PAGE}"
    return [value for (value,) in connection.execute(query).fetchall()]


def _doubles(schema: DatasetSchema) -> list[int]:
    return [at for at, column in enumerate(schema.columns) if column.type.kind is Kind.DOUBLE]


def _hashes(schema: DatasetSchema) -> str:
    # DuckDB hashes 0 and -0 alike.
    values = ", ".join([*names(schema), *(f"signbit(c{at})" for at in _doubles(schema))])
    return f"hash({values}), hash(1, {values})"


def _in_buckets(only: Collection[int]) -> str:
    return f"{BUCKET} IN ({', '.join(map(str, sorted(only)))})" if only else "false"
