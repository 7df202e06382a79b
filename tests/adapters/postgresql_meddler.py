"""Somebody in a member's PostgreSQL who alters rows at once, or by a trigger. The adapter's code is not used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql

from consumers.adapters.base import TableSpec
from consumers.conformance.alterations import SPELLED
from consumers.conformance.edits import Drop, Edit, Odd, Oddity, Put
from consumers.conformance.mutations import PROOF
from consumers.conformance.samples import Row
from distributor.rollout.member_row import SlotName

_TYPES = {
    "decimal": "numeric",
    "double": "float8",
    "integer": "int8",
    "bytes": "bytea",
    "json": "jsonb",
    "boolean": "bool",
}


class PostgreSQLMeddler:
    oddities: Sequence[Oddity] = ()
    # Every type but text holds values and not spellings.
    equal = frozenset((str(column.type), what) for column in PROOF.columns for what, *_ in SPELLED.get(column.name, ()))

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("SET synchronous_commit = off")

    def alter(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> None:
        self._connection.execute(_statements(slot, table, edits))

    @contextmanager
    def altering(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> Iterator[None]:
        body = sql.SQL("BEGIN IF pg_trigger_depth() = 1 THEN {}; END IF; RETURN NULL; END").format(
            _statements(slot, table, edits)
        )
        create = sql.SQL(
            "CREATE FUNCTION public.meddle() RETURNS trigger LANGUAGE plpgsql AS {};"
            "CREATE TRIGGER meddle AFTER INSERT OR UPDATE OR DELETE ON {}"
            " FOR EACH STATEMENT EXECUTE FUNCTION public.meddle()"
        )
        self._connection.execute(create.format(sql.Literal(body.as_string(self._connection)), _place(slot, table)))
        try:
            yield
        finally:
            self._connection.execute("DROP FUNCTION public.meddle CASCADE")

    def close(self) -> None:
        self._connection.close()


def _statements(slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> sql.Composed:
    return sql.SQL("; ").join(_statement(_place(slot, table), table, edit) for edit in edits)


def _place(slot: SlotName, table: TableSpec) -> sql.Identifier:
    return sql.Identifier(f"distributor_{slot}", table.name)


def _statement(place: sql.Identifier, table: TableSpec, edit: Edit) -> sql.Composed:
    match edit:
        case Put(row):
            names = [sql.Identifier(name) for name in table.schema.column_names]
            return sql.SQL("INSERT INTO {} VALUES ({}) ON CONFLICT ({}) DO UPDATE SET ({}) = ROW (excluded.*)").format(
                place,
                sql.SQL(", ").join(_values(table, row)),
                sql.SQL(", ").join(map(sql.Identifier, table.schema.key)),
                sql.SQL(", ").join(names),
            )
        case Drop(key):
            return sql.SQL("DELETE FROM {} WHERE {}").format(place, _same(table, key))
        case Odd(key, column, value):
            # The value is the test's own SQL.
            return sql.SQL("UPDATE {} SET {} = {} WHERE {}").format(
                place,
                sql.Identifier(column),
                sql.SQL(value),
                _same(table, key),
            )


def _same(table: TableSpec, key: Row) -> sql.Composed:
    row = tuple(zip(table.schema.key, key, strict=True))
    return sql.SQL(" AND ").join(sql.SQL("{} = {}").format(sql.Identifier(n), sql.Literal(v)) for n, v in row)


def _values(table: TableSpec, row: Row) -> list[sql.Composed]:
    kinds = [column.type.kind.value for column in table.schema.columns]
    return [
        sql.SQL("{}::{}").format(sql.Literal(text), sql.SQL(_TYPES.get(kind, kind)))
        for kind, text in zip(kinds, row, strict=True)
    ]
