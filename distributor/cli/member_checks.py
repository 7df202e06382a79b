"""What `check` asks of each system: is its adapter known, does its store answer, is anything in the way."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path

import psycopg
import sqlalchemy as sa

from distributor.cli.desk import without_password
from distributor.cli.finding import Findings
from distributor.errors import ConfigError, UnreachableError
from distributor.settings import MemberSettings, Settings

CONNECT_SECONDS = 5
_RELATIONS = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = ANY(%s) AND c.relkind NOT IN ('v', 'i', 'I', 'S', 'c')
"""


def check_member(settings: Settings, environment: str, system: str, findings: Findings) -> None:
    """Adds what was found about one member. Raises DistributorError for what makes it unusable."""
    part = f"{environment}.{system}"
    member = settings.environments[environment].systems[system]
    known = {found.name for found in entry_points(group="distributor.adapters")}
    if member.adapter not in known:
        raise ConfigError(f"there is no adapter {member.adapter!r}", mend=f"Known: {', '.join(sorted(known))}.")
    names = [table.into for table in settings.mapping(system).tables]
    match member.adapter:
        case "postgresql":
            in_the_way = _postgresql_tables(member, names)
        case "sqlite":
            in_the_way = _sqlite_tables(settings.resolve(Path(member.url.removeprefix("sqlite:///"))), names)
        case _:
            findings.note(part, f"this program cannot look into a store of {member.adapter}; its consumer will")
            return
    if in_the_way:
        findings.problem(
            part,
            f"tables of its own are in the way: {', '.join(sorted(in_the_way))}",
            "Readers will find views of those names: rename the tables, or map to other names (`into`).",
        )
    else:
        findings.ok(
            part, f"{member.adapter} at {without_password(member.url)} answers; readers find {', '.join(names)}"
        )


def _postgresql_tables(member: MemberSettings, names: list[str]) -> set[str]:
    """Those of the names that are tables of the system's own."""
    url = sa.make_url(member.url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as conn:
            return {row[0] for row in conn.execute(_RELATIONS, (member.schema_, names))}
    except psycopg.OperationalError as error:
        raise UnreachableError(
            f"its store did not answer: {str(error).strip().splitlines()[0]}",
            where=without_password(member.url),
            mend="Is the server running there, and are user and password right?",
        ) from error


def _sqlite_tables(path: Path, names: list[str]) -> set[str]:
    if not path.exists():
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not os.access(above, os.W_OK):
            raise UnreachableError(
                "its file cannot be made", where=str(above), mend="Mend the rights of the directory."
            )
        return set()
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
            marks = ", ".join("?" * len(names))
            query = f"SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ({marks})"
            return {row[0] for row in conn.execute(query, names)}
    except sqlite3.Error as error:
        raise UnreachableError(f"its file cannot be read: {error}", where=str(path), mend="Is it SQLite?") from error
