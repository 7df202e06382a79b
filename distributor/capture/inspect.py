"""What the master's catalog says about the datasets, in one query."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql

from distributor.capture.canonical import MasterType, canonical
from distributor.errors import SchemaError
from distributor.model.dataset import Column, DatasetSchema, Index
from distributor.settings.models import Dataset

_TABLES = {"r", "p"}
_SCANNED = {"v": "view", "m": "materialized view", "f": "foreign table"}
_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')


@dataclass(frozen=True)
class Source:
    """A dataset's table in the master.

    `tables` is the table and everything that inherits from it: oid → (schema, name). `identity` changes whenever rows
    may have changed without a trigger: another table under the name, partitions attached or detached, a rewrite, a
    column dropped and added again, a renamed enum label.
    `triggers` is what stands on those tables: (oid of table, name of trigger, md5 of its function's source), only
    those that always fire. `replicated`: rows come by logical replication, which fires no statement triggers.
    `scanned`: the config wants it compared whole. `key_is_proven`: the master itself keeps the key unique and not null.
    `places`: column → where the catalogue keeps it; no two columns ever have the same one, whatever their names.
    """

    schema: DatasetSchema
    types: Mapping[str, MasterType]
    relation: sql.Identifier
    name: str
    tables: Mapping[int, tuple[str, str]]
    identity: str
    triggers: frozenset[tuple[int, str, str]]
    replicated: bool
    places: Mapping[str, str]
    oid: int
    scanned: bool
    key_is_proven: bool

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self.schema.dataset

    @cached_property
    def as_plain_text(self) -> tuple[str, ...]:
        """Columns whose type is not on the list of logical types: they travel as `::text`."""
        return tuple(name for name, type_ in self.types.items() if not type_.is_listed)

    def text_of(self, column: str, *, of: str) -> sql.Composed:
        """The canonical text of a column of the table or alias `of`."""
        return canonical(sql.Identifier(of, column), self.types[column])


def table_identifier(table: str) -> sql.Identifier:
    """`schema.table` or `table` as the config has it; names as they are stored, or quoted as in SQL."""
    parts = [quoted.replace('""', '"') if quoted else plain for quoted, plain in _PART.findall(table)]
    return sql.Identifier(*parts)


def inspect(conn: psycopg.Connection, datasets: Mapping[str, Dataset]) -> dict[str, Source]:
    """Every dataset's source. Raises SchemaError for a table that is missing, of a wrong kind, or without a key."""
    names = list(datasets)
    tables = [table_identifier(datasets[name].table).as_string(conn) for name in names]
    rows = conn.execute(_CATALOG, {"names": names, "tables": tables}, prepare=True).fetchall()
    return {name: _source(name, datasets[name], found) for name, found in rows}


def _source(dataset: str, config: Dataset, found: dict[str, Any]) -> Source:
    where = f"dataset {dataset}, table {config.table}"
    if found["kind"] is None:
        raise SchemaError("the master has no such table", where=where, mend="Correct `table` in the config.")
    scanned = config.capture == "scan"
    if found["kind"] not in _TABLES and (found["kind"] not in _SCANNED or not scanned):
        what = _SCANNED.get(found["kind"])
        raise SchemaError(
            f"this is a {what}, on which no trigger sees a change" if what else "this is no table",
            where=where,
            mend=f'Set `capture = "scan"` and `key` in [master.datasets.{dataset}].' if what else "Name a table.",
        )
    types = {
        column["name"]: MasterType(
            column["schema"], column["type"], column["modifier"], column["array"], column["enum"]
        )
        for column in found["columns"]
    }
    columns = tuple(
        Column(
            name=column["name"],
            type=types[column["name"]].logical,
            # What the catalogue does not say of a key, the scan proves.
            nullable=not column["not_null"] and not (scanned and column["name"] in config.key),
        )
        for column in found["columns"]
    )
    key, proven = _key(config, columns, found["indexes"], where)
    proven = proven and all(column["not_null"] for column in found["columns"] if column["name"] in key)
    if arrays := [name for name in key if types[name].is_array]:
        raise SchemaError(f"the key column {arrays[0]!r} is an array", where=where, mend="Name other columns in `key`.")
    indexes = [Index(columns=tuple(i["columns"]), unique=i["unique"]) for i in found["indexes"] if i["plain"]]
    plain = sorted(set(indexes) - {Index(columns=key, unique=True)}, key=lambda index: (index.columns, index.unique))
    members = found["members"]
    stored: tuple[object, ...] = (
        [(m["oid"], m["file"]) for m in members],
        [(c["name"], c["stored"]) for c in found["columns"]],
    )
    if found["definition"]:
        stored = (*stored, found["definition"])
    return Source(
        schema=DatasetSchema(dataset=dataset, columns=columns, key=key, indexes=tuple(plain)),
        types=types,
        relation=sql.Identifier(found["schema"], found["name"]),
        name=f"{found['schema']}.{found['name']}",
        tables={m["oid"]: (m["schema"], m["name"]) for m in members},
        identity=hashlib.sha256(repr(stored).encode()).hexdigest(),
        triggers=frozenset((t["oid"], t["name"], t["source"]) for t in found["triggers"]),
        replicated=found["replicated"],
        places={column["name"]: f"{found['oid']}.{column['place']}" for column in found["columns"]},
        oid=found["oid"],
        scanned=scanned,
        key_is_proven=proven,
    )


def _key(
    config: Dataset, columns: tuple[Column, ...], indexes: list[dict[str, Any]], where: str
) -> tuple[tuple[str, ...], bool]:
    """The configured key, else the primary key, and whether an index keeps it unique: without one only a scan can."""
    primary = next((tuple(index["columns"]) for index in indexes if index["primary"]), ())
    key = config.key or primary
    known = {column.name: column for column in columns}
    if not key:
        raise SchemaError(
            "it has no primary key", where=where, mend="Add one, or name columns that are unique and not null in `key`."
        )
    for name in key:
        if name not in known:
            raise SchemaError(f"the key column {name!r} does not exist", where=where, mend="Correct `key`.")
        if known[name].nullable:
            raise SchemaError(f"the key column {name!r} may be null", where=where, mend="Make it NOT NULL.")
    unique = any(index["unique"] and set(index["columns"]) <= set(key) for index in indexes)
    if not unique and config.capture != "scan":
        raise SchemaError(
            f"the key ({', '.join(key)}) is not unique", where=where, mend="Add a unique index on these columns."
        )
    return key, unique


# `plain` indexes are btree without expressions or conditions; INCLUDE columns are left out of `columns`.
_CATALOG = """
WITH RECURSIVE wanted AS (
    SELECT name, pg_catalog.to_regclass(relation)::oid AS oid
    FROM unnest(%(names)s::text[], %(tables)s::text[]) AS given(name, relation)
), tree(root, oid) AS (
    SELECT DISTINCT oid, oid FROM wanted WHERE oid IS NOT NULL
    UNION SELECT tree.root, i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
), members AS (
    SELECT tree.root, json_agg(json_build_object(
               'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname,
               'file', pg_catalog.pg_relation_filenode(c.oid)::bigint) ORDER BY c.oid) AS members,
           bool_or(EXISTS (SELECT FROM pg_catalog.pg_subscription_rel s WHERE s.srrelid = c.oid)) AS replicated
    FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    GROUP BY tree.root
), triggers AS (
    SELECT tree.root, json_agg(json_build_object('oid', t.tgrelid::bigint, 'name', t.tgname,
               'source', pg_catalog.md5(p.prosrc))) AS triggers
    FROM tree JOIN pg_catalog.pg_trigger t ON t.tgrelid = tree.oid AND NOT t.tgisinternal AND t.tgenabled = 'A'
    JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'distributor_capture'
    GROUP BY tree.root
), columns AS (
    SELECT a.attrelid, json_agg(json_build_object(
               'name', a.attname, 'place', a.attnum, 'stored', concat_ws(' ', a.attnum, t.oid,
                   CASE WHEN a.attgenerated <> '' THEN (SELECT d.adbin::text FROM pg_catalog.pg_attrdef d
                       WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum) END,
                   CASE WHEN t.typtype = 'e' THEN (SELECT string_agg(e.enumlabel, ' ' ORDER BY e.oid)
                       FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) END),
               'not_null', a.attnotnull OR base.not_null, 'modifier', base.modifier,
               'schema', n.nspname, 'type', t.typname, 'array', t.typsubscript = 'array_subscript_handler'::regproc,
               'enum', t.typtype = 'e') ORDER BY a.attnum) AS columns
    FROM pg_catalog.pg_attribute a
    CROSS JOIN LATERAL (
        WITH RECURSIVE up(oid, modifier, not_null, depth) AS (
            SELECT a.atttypid, a.atttypmod, false, 0
            UNION ALL
            SELECT d.typbasetype, d.typtypmod, up.not_null OR d.typnotnull, depth + 1
            FROM up JOIN pg_catalog.pg_type d ON d.oid = up.oid AND d.typtype = 'd'
        ) SELECT * FROM up ORDER BY depth DESC LIMIT 1
    ) AS base
    JOIN pg_catalog.pg_type t ON t.oid = base.oid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    WHERE a.attrelid IN (SELECT oid FROM wanted) AND a.attnum > 0 AND NOT a.attisdropped
    GROUP BY a.attrelid
), indexes AS (
    SELECT i.indrelid, json_agg(json_build_object('primary', i.indisprimary, 'unique', i.indisunique,
               'plain', m.amname = 'btree',
               'columns', (SELECT json_agg(a.attname ORDER BY k.place)
                           FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
                           JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                           WHERE k.place <= i.indnkeyatts)) ORDER BY i.indexrelid) AS indexes
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = c.relam
    WHERE i.indrelid IN (SELECT oid FROM wanted) AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    GROUP BY i.indrelid
)
SELECT wanted.name, json_build_object(
    'kind', c.relkind, 'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname,
    'columns', coalesce(columns.columns, '[]'),
    'indexes', coalesce(indexes.indexes, '[]'), 'members', members.members,
    'triggers', coalesce(triggers.triggers, '[]'), 'replicated', members.replicated,
    'definition', CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.md5(pg_catalog.pg_get_viewdef(c.oid)) END)
FROM wanted
LEFT JOIN pg_catalog.pg_class c ON c.oid = wanted.oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN members ON members.root = wanted.oid
LEFT JOIN triggers ON triggers.root = wanted.oid
LEFT JOIN columns ON columns.attrelid = wanted.oid
LEFT JOIN indexes ON indexes.indrelid = wanted.oid
"""
