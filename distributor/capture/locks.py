"""Locks on what is about to be read, taken before the snapshot exists: a TRUNCATE or a rewrite that commits meanwhile
would else read as a mass deletion."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

from distributor.capture.inspect import Source, table_identifier
from distributor.errors import UnreachableError
from distributor.settings.models import Dataset

_KINDS = """
SELECT name, c.relkind::text FROM unnest(%s::text[], %s::text[]) AS given(name, relation)
JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(relation)
"""


def lock(conn: psycopg.Connection, datasets: Mapping[str, Dataset], timeout: str) -> None:
    """Begins the transaction and locks every table that can be locked; a view is locked with all that it reads.

    PostgreSQL locks neither materialized views nor foreign tables: `confirm` looks after those. Raises
    LockNotAvailable.
    """
    unlockable = _unlockable(conn, {name: found for name, found in datasets.items() if found.capture == "scan"})
    conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(timeout))
    if tables := [table_identifier(datasets[name].table) for name in sorted(datasets.keys() - unlockable)]:
        conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.SQL(", ").join(tables)))


def confirm(conn: psycopg.Connection, source: Source) -> None:
    """After a read: whether it was of the relation that was looked at. Raises UnreachableError.

    One that is dropped and made again has no rows in a snapshot from before; what is refreshed has all of them.
    """
    name = source.relation.as_string(conn)
    row = conn.execute("SELECT pg_catalog.to_regclass(%s)::oid::bigint", [name]).fetchone()
    if row is None or row[0] != source.oid:
        raise UnreachableError("it was made anew while it was read", where=source.name, mend="Try again.")


def _unlockable(conn: psycopg.Connection, scanned: Mapping[str, Dataset]) -> set[str]:
    """Asked in a transaction of its own: in the one that reads, the question would take the snapshot."""
    if not scanned:
        return set()
    tables = [table_identifier(found.table).as_string(conn) for found in scanned.values()]
    found = conn.execute(_KINDS, [list(scanned), tables]).fetchall()
    conn.rollback()
    return {name for name, kind in found if kind in {"m", "f"}}
