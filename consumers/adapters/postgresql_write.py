"""The statements that write a batch into a slot and read both sides back, as SQL: the first answers like `sums` what
was there before, the last what is there now.

`rows` and `keys` are relations: what is to be upserted, in all columns, and the keys of what is to go. From PostgreSQL
18 on a write returns what it replaced: that saves looking every key up once more.
"""

from __future__ import annotations

from consumers.adapters.base import TableSpec
from consumers.adapters.postgresql_text import canonical_columns, listed, quoted, sums, sums_of_texts
from distributor.model.dataset import DatasetSchema

RETURNS_OLD = 180000
"""The server's version from which on RETURNING knows the row before."""


def looked_up(table: TableSpec, place: str, rows: str, keys: str, touched: str) -> tuple[str, ...]:
    """Both sides by key. `touched` is a relation of all keys."""
    look = read_by_key(table, place, touched)
    return look, delete(place, keys, table.schema), upsert(place, rows, table.schema), look


def returned(table: TableSpec, place: str, rows: str, keys: str, touched: str) -> tuple[str, ...]:
    """What was there comes from the writes themselves; what is there now is looked up, whoever else wrote it.

    One statement writes everything: triggers of somebody else's run after all that was there is known.
    """
    schema = table.schema
    there = f"c{schema.key_positions[0]} IS NOT NULL"
    writing = (
        f"WITH gone AS ({delete(place, keys, schema)} RETURNING {canonical_columns(schema, 't')}),"
        f" written AS ({upsert(place, rows, schema)} RETURNING {canonical_columns(schema, 'old')}) "
    )
    before = f"SELECT * FROM gone UNION ALL SELECT * FROM written WHERE {there}"
    return writing + sums_of_texts(table, before), read_by_key(table, place, touched)


def can_return(schema: DatasetSchema) -> bool:
    """Whether an upsert returns every row: where all columns are key, it leaves alone, and out, what is there."""
    return len(schema.key) < len(schema.columns)


def delete(place: str, keys: str, schema: DatasetSchema) -> str:
    """Deletes what has a key of `keys`."""
    same = " AND ".join(f"t.{name} = k.{name}" for name in map(quoted, schema.key))
    return f"DELETE FROM {place} AS t USING {keys} AS k WHERE {same}"


def upsert(place: str, rows: str, schema: DatasetSchema) -> str:
    """Inserts `rows`, or updates by key."""
    names = listed(schema.column_names)
    rest = [quoted(name) for name in schema.column_names if name not in schema.key]
    action = f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in rest)}" if rest else "NOTHING"
    source = f"SELECT {names} FROM {rows} AS i"
    return f"INSERT INTO {place} ({names}) {source} ON CONFLICT ({listed(schema.key)}) DO {action}"


def read_by_key(table: TableSpec, place: str, keys: str) -> str:
    """The sums of what stands under some keys."""
    key = listed(table.schema.key)
    return sums(table, f"{place} AS t JOIN (SELECT {key} FROM {keys} AS k) AS k USING ({key})")
