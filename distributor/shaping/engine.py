"""One compiled table, run over Arrow tables of canonical texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from distributor.mapping.compiled import Compiled, CompiledColumn
from distributor.mapping.expressions import Name, names, parsed, rendered
from distributor.model.texts import double_text
from distributor.model.types import Kind
from distributor.model.unfit import Unfit, shortened
from distributor.shaping.sql import text, typed

_MEMORY = "256MB"
_ROWS = "given"
_WHERE = "kept"


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
        self._select = self._written()

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
        try:
            found = self._run(self._select, given)
        except duckdb.Error:
            return self._shaped_without_failures(given)
        return self._put_together(given, found, [])

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
        numbered = given.append_column("place", pa.array(range(given.num_rows), pa.int64()))
        unfit: list[Unfit] = []
        good = _all_true(given.num_rows)
        for column in self._computed:
            value = self._guarded(text(self._expression(column.expr), column.type))
            good = self._without(numbered, good, value, column, unfit)
        if self.table.mapping.where:
            where = CompiledColumn("where", self.table.columns[0].type, self.table.mapping.where, None)
            good = self._without(numbered, good, self._expression(where.expr), where, unfit)
        # What fails is given as NULLs, on which expressions do not fail, and is not kept.
        nothing: Any = pa.scalar(None, pa.string())
        blank = pa.table([pc.if_else(good, column, nothing) for column in given.columns], names=given.schema.names)
        shaped = self._put_together(given, self._run(self._select, blank), unfit)
        return Shaped(shaped.rows, pc.and_(shaped.kept, good), shaped.unfit)

    def _without(self, given: pa.Table, good: Any, sql: str, column: CompiledColumn, unfit: list[Unfit]) -> Any:
        tried = self._run(f"SELECT place, TRY({{'v': {sql}}}) IS NULL AS failed FROM {_ROWS} ORDER BY place", given)
        failed = tried["failed"]
        if not pc.any(failed).as_py():
            return good
        keys = given.filter(failed)
        reason = self._reason(sql, keys.slice(0, 1))
        shown = [self.table.position(name) for name in names(parsed(column.expr, column.name))]
        values = keys.column(shown[0]).to_pylist() if shown else [None] * keys.num_rows
        texts = zip(*(keys.column(place).to_pylist() for place in self.table.source.key_positions), strict=True)
        for key, value in zip(texts, values, strict=True):
            unfit.append(self._unfit(key, column.name, value, f"does not go through {column.expr!r}: {reason}"))
        return pc.and_not(good, failed)

    def _reason(self, sql: str, row: pa.Table) -> str:
        try:
            self._run(f"SELECT {sql} FROM {_ROWS}", row)
        except duckdb.Error as error:
            return str(error).strip().splitlines()[0].rstrip(".")
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
            parts.append(f"{self._expression(self.table.mapping.where)} AS {_WHERE}")
        return f"SELECT {', '.join(parts)} FROM {_ROWS}"

    def _guarded(self, value: str) -> str:
        """Rows that are not the table's may well be such that a column cannot be computed."""
        where = self.table.mapping.where
        return f"CASE WHEN {self._expression(where)} THEN {value} END" if where else value

    def _expression(self, expr: str) -> str:
        source = self.table.source

        def column(name: Name) -> str:
            at = self.table.position(name)
            return typed(f"c{at}", source.columns[at].type)

        return f"({rendered(parsed(expr, self.table.name), column)})"


def _all_true(rows: int) -> Any:
    return pa.chunked_array([pa.array([True] * rows, pa.bool_())])


def _texts(values: Any, column: CompiledColumn) -> Any:
    if column.type.kind is not Kind.DOUBLE:
        return values.cast(pa.string())
    found = [None if value is None else double_text(value) for value in values.to_pylist()]
    return pa.chunked_array([pa.array(found, pa.string())])
