"""What lies under the names of a system's tables in stores that have tables and views, prepared or not."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import sqlalchemy as sa

from distributor.cli.desk import without_password
from distributor.errors import UnreachableError
from distributor.settings import MemberSettings, Settings

CONNECT_SECONDS = 5
_RELATIONS = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = ANY(%s) AND c.relkind NOT IN ('v', 'i', 'I', 'S', 'c')
"""
_IS_HELD = "SELECT to_regclass('distributor.slot_table') IS NOT NULL"
_GONE = """
    SELECT name FROM distributor.slot_table WHERE name = ANY(%s) AND name NOT IN
    (SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s)
"""
_HELD_SQLITE = "SELECT 1 FROM sqlite_schema WHERE name = '_distributor_table'"
_GONE_SQLITE = """
    SELECT name FROM _distributor_table WHERE name IN (SELECT value FROM json_each(?))
    AND lower(name) NOT IN (SELECT lower(name) FROM sqlite_schema)
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """Of the names of a system's tables: those of tables of its own, and those whose view was there and is gone."""

    in_the_way: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)


def look(settings: Settings, member: MemberSettings, names: Sequence[str]) -> Seen:
    """What a store has under these names; nothing of a kind that is not looked into here. Makes nothing.

    Raises UnreachableError.
    """
    match member.adapter:
        case "postgresql":
            return _look_into_postgresql(member, list(names))
        case "sqlite":
            return _look_into_sqlite(settings.resolve(Path(member.url.removeprefix("sqlite:///"))), list(names))
    return Seen()


def _look_into_postgresql(member: MemberSettings, names: list[str]) -> Seen:
    url = sa.make_url(member.url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as conn:
            in_the_way = {row[0] for row in conn.execute(_RELATIONS, (member.schema_, names))}
            if conn.execute(_IS_HELD).fetchone() != (True,):
                return Seen(in_the_way)
            gone = {row[0] for row in conn.execute(_GONE, (names, member.schema_))}
            return Seen(in_the_way, gone)
    except psycopg.OperationalError as error:
        raise UnreachableError(
            f"its store did not answer: {str(error).strip().splitlines()[0]}",
            where=without_password(member.url),
            mend="Is the server running there, and are user and password right?",
        ) from error


def _look_into_sqlite(path: Path, names: list[str]) -> Seen:
    if not path.exists():
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not os.access(above, os.W_OK):
            raise UnreachableError(
                "its file cannot be made", where=str(above), mend="Mend the rights of the directory."
            )
        return Seen()
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
            marks = ", ".join("?" * len(names))
            query = f"SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ({marks})"
            in_the_way = {row[0] for row in conn.execute(query, names)}
            if conn.execute(_HELD_SQLITE).fetchone() is None:
                return Seen(in_the_way)
            gone = {row[0] for row in conn.execute(_GONE_SQLITE, (json.dumps(names),))}
            return Seen(in_the_way, gone)
    except sqlite3.Error as error:
        raise UnreachableError(f"its file cannot be read: {error}", where=str(path), mend="Is it SQLite?") from error
