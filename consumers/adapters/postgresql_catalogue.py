"""What PostgreSQL's catalogue says about relations, by name."""

from __future__ import annotations

from dataclasses import dataclass

from consumers.adapters.postgresql_line import Transaction
from consumers.adapters.postgresql_text import literal, quoted

_KINDS = {"r": "table", "v": "view", "m": "materialized view", "f": "foreign table", "p": "partitioned table"}
_LIKENESS = "distributor_likeness"
_COLUMNS = """
    SELECT attname::text, format_type(atttypid, atttypmod)
    FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
    WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND relname = %s AND attnum > 0 AND NOT attisdropped
    ORDER BY attnum
"""
_RELATION = """
    SELECT relkind::text, oid FROM pg_class
    WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND relname = %s
"""
_READS = """
    SELECT DISTINCT n.nspname::text, c.relname::text
    FROM pg_rewrite r
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_class c ON c.oid = d.refobjid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE r.ev_class = %s AND c.oid <> r.ev_class
"""
_PRIMARY_KEY = """
    SELECT attname::text FROM pg_index
    JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
    WHERE indrelid = to_regclass(%s) AND indisprimary
"""

_MADE = """
    SELECT c.relname::text, c.relkind::text, c.oid::bigint, r.oid::bigint, r.xmin::text
    FROM pg_class c LEFT JOIN pg_rewrite r ON r.ev_class = c.oid
    WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND c.relname = ANY (%s)
"""


@dataclass(frozen=True, slots=True)
class Relation:
    """Anything that has taken a name. `reads`: (schema, name) of what a view looks at."""

    kind: str
    reads: set[tuple[str, str]]


def relation(transaction: Transaction, schema: str, name: str) -> Relation | None:
    """What has this name; None when it is free."""
    for kind, place in transaction.run(_RELATION, (schema, name)):
        return Relation(_KINDS.get(kind, "relation"), {(row[0], row[1]) for row in transaction.run(_READS, (place,))})
    return None


def made(transaction: Transaction, schema: str, names: list[str]) -> frozenset[tuple[object, ...]]:
    """What tells relations of these names from any that are made later, or under another definition."""
    return frozenset(transaction.run(_MADE, (schema, names)))


def is_defined_as(transaction: Transaction, schema: str, name: str, query: str) -> bool:
    """Whether a view is one of this query. The server tells: it spells the query of a temporary view the same way."""
    _, ((same,),), _ = transaction.run_all(
        f"CREATE TEMPORARY VIEW {_LIKENESS} AS {query}",
        f"SELECT pg_get_viewdef(to_regclass({literal(quoted(schema, name))}))"
        f" = pg_get_viewdef('pg_temp.{_LIKENESS}'::regclass)",
        f"DROP VIEW pg_temp.{_LIKENESS}",
    )
    return bool(same)


def columns_of(transaction: Transaction, schema: str, name: str) -> dict[str, str]:
    """Column → type as format_type() spells it; empty when there is no such relation."""
    return {row[0]: row[1] for row in transaction.run(_COLUMNS, (schema, name))}


def primary_key(transaction: Transaction, place: str) -> set[str]:
    """The columns of a table's primary key; empty without one. `place` is quoted."""
    return {name for (name,) in transaction.run(_PRIMARY_KEY, (place,))}
