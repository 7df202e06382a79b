"""One compiled table, run over Arrow tables of canonical texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from distributor.errors import ConfigError
from distributor.mapping.compiled import Compiled, CompiledColumn
from distributor.mapping.expressions import Name, names, parsed, rendered
from distributor.model.texts import double_text
from distributor.model.types import Kind, LogicalType
from distributor.model.unfit import Unfit, shortened
from distributor.shaping.sql import text, typed

_MEMORY = "256MB"
_ROWS = "given"
_WHERE = "kept"
_AS_WHERE = "where"
_PARTS = 8
_BOOLEAN = LogicalType(Kind.BOOLEAN)
# Where DuckDB's sentences begin to speak of its own ways, or of columns as they are called in here.
_INSIDE = re.compile(r" when casting from source column c\d| in expression \(|\. (?:Use|You|Try) ")
_FAMILY = re.compile(r"^[A-Z]\w*(?: \w+)* Error: ")


@dataclass(frozen=True, slots=True)
class Shaped:
    """Rows of a system's table, canonical texts. `kept` says of every given row whether it is one of the table's;
    `rows` are those of all given rows. `unfit` are those for which an expression failed: none of them is kept."""

    rows: pa.Table
    kept: Any
    unfit: tuple[Unfit, ...] = ()


class Engine:
    """Runs one table's mapping. DuckDB in memory, without files, network or settings. For one thread."""

    def __init__(self, table: Compiled) -> None:
        self.table = table
        self._computed = [column for column in table.columns if column.at is None]
        self._database: duckdb.DuckDBPyConnection | None = None
        where = table.mapping.where
        self._where = CompiledColumn(_AS_WHERE, _BOOLEAN, where, None) if where else None
        self._condition = self._expression(where) if where else ""
        self._select = self._written()
        self._bound = False

    def close(self) -> None:
        """Gives the memory back."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def shape(self, rows: pa.Table) -> Shaped:
        """Rows in the source's columns as rows of the table.

        What an expression fails on (a text that is no number, digits that do not fit) is unfit, and never raised.
        """
        given = rows.rename_columns([f"c{at}" for at in range(rows.num_columns)])
        if not (self._computed or self.table.mapping.where):
            return self._checked(given, [], None, [])
        self._bind()
        try:
            found = self._run(self._select, given)
        except duckdb.Error:
            return self._shaped_without_failures(given)
        return self._put_together(given, found, [])

    def bind(self) -> None:
        """Types every expression, with no row at hand. Raises ConfigError that names the one that cannot be typed."""
        if self._computed or self.table.mapping.where:
            self._bind()

    def _bind(self) -> None:
        if self._bound:
            return
        wanted = [(column, text(self._expression(column.expr), column.type)) for column in self._computed]
        for column, sql in [*wanted, *([(self._where, self._condition)] if self._where else [])]:
            try:
                found = self._run(f"SELECT {sql} AS v FROM {_ROWS}", self._no_rows())
            except duckdb.Error as error:
                raise ConfigError(
                    f"it cannot be computed: {_in_short(error)}",
                    where=self.table.where_of(column.name, column.expr),
                    mend="Cast what it computes with: CAST(column AS …), or TRY_CAST where it may not fit.",
                ) from error
            if column is self._where and not pa.types.is_boolean(found["v"].type):
                raise ConfigError(
                    "`where` is neither true nor false",
                    where=self.table.where_of(column.name, column.expr),
                    mend="Write a comparison: active = true, stock > 0, …",
                )
        self._bound = True

    def _no_rows(self) -> pa.Table:
        width = len(self.table.source.columns)
        return pa.table({f"c{at}": pa.array([], pa.string()) for at in range(width)})

    def _put_together(self, given: pa.Table, found: pa.Table, unfit: list[Unfit]) -> Shaped:
        kept = found[_WHERE] if self.table.mapping.where else None
        return self._checked(given, [found[f"e{at}"] for at in range(len(self._computed))], kept, unfit)

    def _checked(
        self,
        given: pa.Table,
        values: Sequence[Any],
        kept: Any,
        unfit: list[Unfit],
    ) -> Shaped:
        computed = iter(values)
        columns = [
            given.column(column.at) if column.at is not None else _texts(next(computed), column)
            for column in self.table.columns
        ]
        rows = pa.table(columns, schema=pa.schema([(c.name, pa.string()) for c in self.table.columns]))
        stays = _all_true(given.num_rows) if kept is None else pc.fill_null(kept, pa.scalar(value=False))
        for column in self.table.columns:
            if column.type.length is None:
                continue
            wrong: Any = pc.and_(stays, pc.greater(pc.utf8_length(rows[column.name]), pa.scalar(column.type.length)))
            wrong = pc.fill_null(wrong, pa.scalar(value=False))
            if pc.any(wrong).as_py():
                unfit += self._named(rows.filter(wrong), column, f"is longer than {column.type.length} characters")
                stays = pc.and_not(stays, wrong)
        return Shaped(rows, stays, tuple(unfit))

    def _shaped_without_failures(self, given: pa.Table) -> Shaped:
        """Slower, each expression by itself: which rows fail, and the others shaped."""
        unfit: list[Unfit] = []
        good = _all_true(given.num_rows)
        for column in self._computed:
            value = self._guarded(text(self._expression(column.expr), column.type))
            good = self._without(given, good, value, column, unfit)
        if self._where:
            good = self._without(given, good, self._condition, self._where, unfit)
        found = self._run(self._select, given.filter(good))
        rank: Any = pc.subtract(pc.cumulative_sum(good.cast(pa.int64())), 1)
        places = pc.if_else(good, rank, pa.scalar(None, pa.int64()))
        shaped = self._put_together(given, found.take(places), unfit)
        return Shaped(shaped.rows, pc.and_(shaped.kept, good), shaped.unfit)

    def _without(self, given: pa.Table, good: Any, sql: str, column: CompiledColumn, unfit: list[Unfit]) -> Any:
        failed = pa.array(self._failures(sql, given), pa.bool_())
        if not pc.any(failed).as_py():
            return good
        rows = given.filter(failed)
        shown = [self.table.position(name) for name in names(parsed(column.expr, column.name))]
        values = rows.column(shown[0]).to_pylist() if shown else [None] * rows.num_rows
        texts = zip(*(rows.column(place).to_pylist() for place in self.table.source.key_positions), strict=True)
        # One row stands for all: each reason would be a query of its own.
        reason = self._reason(sql, rows.slice(0, 1))
        for key, value in zip(texts, values, strict=True):
            unfit.append(self._unfit(key, column.name, value, f"does not go through {column.expr!r}: {reason}"))
        return pc.and_not(good, failed)

    def _failures(self, sql: str, given: pa.Table) -> list[bool]:
        """Per row whether the expression fails on it."""
        try:
            self._run(f"SELECT {sql} AS v FROM {_ROWS}", given)
        except duckdb.Error:
            numbered = given.append_column("place", pa.array(range(given.num_rows), pa.int64()))
        else:
            return [False] * given.num_rows
        try:
            # A value that is NULL is one, too: inside a struct it is told apart from a failure.
            query = f"SELECT TRY({{'v': {sql}}}) IS NULL AS failed FROM {_ROWS} ORDER BY place"
            return [bool(failed) for failed in self._run(query, numbered)["failed"].to_pylist()]
        except duckdb.Error:
            # TRY lets errors through that arise inside AND, IN, BETWEEN and COALESCE.
            return self._failures_one_by_one(sql, numbered)

    def _failures_one_by_one(self, sql: str, numbered: pa.Table) -> list[bool]:
        self._run(f"CREATE OR REPLACE TEMP TABLE held AS SELECT * FROM {_ROWS}; SELECT 1 AS done", numbered)
        assert self._database is not None
        database = self._database

        def failures(start: int, end: int) -> list[bool]:
            try:
                database.execute(f"SELECT {sql} AS v FROM held WHERE place >= {start} AND place < {end}").fetchall()
            except duckdb.Error:
                if end - start == 1:
                    return [True]
                places = range(start, end, max((end - start) // _PARTS, 1))
                return [failed for at in places for failed in failures(at, min(at + places.step, end))]
            return [False] * (end - start)

        return failures(0, numbered.num_rows)

    def _reason(self, sql: str, row: pa.Table) -> str:
        try:
            self._run(f"SELECT {sql} AS v FROM {_ROWS}", row)
        except duckdb.Error as error:
            return _in_short(error)
        return "it cannot be computed"

    def _named(self, rows: pa.Table, column: CompiledColumn, why: str) -> list[Unfit]:
        keys = rows.select(list(self.table.schema.key)).to_pylist()
        values = rows[column.name].to_pylist()
        return [
            self._unfit(tuple(map(str, key.values())), column.name, value, why)
            for key, value in zip(keys, values, strict=True)
        ]

    def _unfit(self, key: tuple[str, ...], column: str, value: str | None, why: str) -> Unfit:
        return Unfit(
            table=self.table.name,
            dataset=self.table.mapping.dataset,
            key=key,
            column=column,
            value=shortened(value),
            why=why,
        )

    def _run(self, query: str, given: pa.Table) -> pa.Table:
        if self._database is None:
            self._database = duckdb.connect(
                config={
                    "enable_external_access": "false",
                    "memory_limit": _MEMORY,
                    "autoload_known_extensions": "false",
                    "autoinstall_known_extensions": "false",
                }
            )
            self._database.execute("SET TimeZone = 'UTC'")
        self._database.register(_ROWS, given)
        try:
            found: Any = self._database.sql(query).to_arrow_table()
            return cast(pa.Table, found)
        finally:
            self._database.unregister(_ROWS)

    def _written(self) -> str:
        parts = [
            f"{self._guarded(text(self._expression(column.expr), column.type))} AS e{at}"
            for at, column in enumerate(self._computed)
        ]
        if self.table.mapping.where:
            parts.append(f"{self._condition} AS {_WHERE}")
        return f"SELECT {', '.join(parts)} FROM {_ROWS}"

    def _guarded(self, value: str) -> str:
        """Rows that are not the table's may well be such that a column cannot be computed."""
        return f"CASE WHEN {self._condition} THEN {value} END" if self._where else value

    def _expression(self, expr: str) -> str:
        source = self.table.source

        def column(name: Name) -> str:
            at = self.table.position(name)
            return typed(f"c{at}", source.columns[at].type)

        return f"({rendered(parsed(expr, self.table.name), column)})"


def _in_short(error: Exception) -> str:
    first = str(error).strip().splitlines()[0]
    return _FAMILY.sub("", _INSIDE.split(first)[0]).rstrip(".")


def _all_true(rows: int) -> Any:
    return pa.chunked_array([pa.array([True] * rows, pa.bool_())])


def _texts(values: Any, column: CompiledColumn) -> Any:
    if column.type.kind is not Kind.DOUBLE:
        return values.cast(pa.string())
    found = [None if value is None else double_text(value) for value in values.to_pylist()]
    return pa.chunked_array([pa.array(found, pa.string())])
