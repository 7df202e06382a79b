"""What `check` asks of each system: is its adapter known, does its store answer, is anything in the way."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import psycopg
import sqlalchemy as sa

from distributor.cli.desk import without_password
from distributor.cli.finding import Findings
from distributor.errors import ConfigError, UnreachableError
from distributor.mapping.compiled import Compiled, compile_table
from distributor.mapping.joined import joins
from distributor.settings import MemberSettings, Settings
from distributor.shaping.engine import Engine

if TYPE_CHECKING:
    from distributor.mapping.tables import SystemMapping, TableMapping
    from distributor.model.dataset import DatasetSchema

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


@runtime_checkable
class _Inspects(Protocol):
    """An adapter, found by its entry point, that can tell whether what it made still is as it made it."""

    def inspect(self, tables: Sequence[tuple[TableMapping, DatasetSchema]]) -> Sequence[str]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of the names of a system's tables: those of tables of its own, and those whose view was there and is gone."""

    in_the_way: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    held: bool = False


def check_member(
    settings: Settings,
    environment: str,
    system: str,
    shapes: Mapping[str, DatasetSchema],
    coming: Mapping[str, DatasetSchema],
    findings: Findings,
) -> None:
    """Adds what was found about one member. `shapes` are the newest release's, `coming` those of the next one.

    Raises DistributorError for what makes it unusable.
    """
    part = f"{environment}.{system}"
    member = settings.environments[environment].systems[system]
    known = {found.name: found for found in entry_points(group="distributor.adapters")}
    if member.adapter not in known:
        raise ConfigError(f"there is no adapter {member.adapter!r}", mend=f"Known: {', '.join(sorted(known))}.")
    mapping = settings.mapping(system)
    names = [table.into for table in mapping.tables]
    tables = _typed(mapping, _with_joined(mapping, coming))
    match member.adapter:
        case "postgresql":
            seen = _look_into_postgresql(member, names)
        case "sqlite":
            seen = _look_into_sqlite(settings.resolve(Path(member.url.removeprefix("sqlite:///"))), names)
            _note_decimals_as_text(part, tables, findings)
        case _:
            findings.note(part, f"this program cannot look into a store of {member.adapter}; its consumer will")
            return
    if seen.in_the_way:
        findings.problem(
            part,
            f"tables of its own are in the way: {', '.join(sorted(seen.in_the_way))}",
            "Readers will find views of those names: rename the tables, or map to other names (`into`).",
        )
    elif seen.gone:
        findings.problem(
            part,
            f"views that readers look at are gone: {', '.join(sorted(seen.gone))}",
            "Its consumer makes them again when it starts, or stages; grants have to be given again.",
        )
    elif seen.held and (
        altered := _altered(settings, environment, system, _typed(mapping, shapes), known[member.adapter])
    ):
        for sentence in altered:
            findings.problem(part, sentence, f"Until then `distributor verify {environment}` says the same.")
    else:
        findings.ok(
            part, f"{member.adapter} at {without_password(member.url)} answers; readers find {', '.join(names)}"
        )


def _typed(mapping: SystemMapping, shapes: Mapping[str, DatasetSchema]) -> list[Compiled]:
    """The system's tables, every expression of which can be computed. Raises ConfigError that names one that cannot.

    Tables of datasets that have no shape here are left out.
    """
    tables = [
        compile_table(mapping.system, table, shapes[table.source]) for table in mapping.tables if table.source in shapes
    ]
    for table in tables:
        engine = Engine(table)
        try:
            engine.bind()
        finally:
            engine.close()
    return tables


def _with_joined(mapping: SystemMapping, shapes: Mapping[str, DatasetSchema]) -> dict[str, DatasetSchema]:
    """The shapes, and those that a publish would make of them for tables that read referenced rows."""
    made = {
        one.name: one.shape(shapes)
        for one in joins([mapping]).values()
        if {one.dataset, *(reference.target for reference in one.references)} <= shapes.keys()
    }
    return {**shapes, **made}


def _note_decimals_as_text(part: str, tables: Sequence[Compiled], findings: Findings) -> None:
    columns = [
        f"{table.name}.{column.name}"
        for table in tables
        for column in table.schema.columns
        if column.type.kind == "decimal" and not column.type.fits_a_double
    ]
    if columns:
        findings.note(part, f"decimals that SQLite holds as text, and compares as text: {', '.join(columns)}")


def _altered(
    settings: Settings, environment: str, system: str, shapes: Mapping[str, DatasetSchema], adapter: EntryPoint
) -> Sequence[str]:
    """What is not as the adapter made it, asked of the adapter itself. Of tables without a release nobody knows."""
    made = adapter.load()(settings.environments[environment].systems[system], settings.directory)
    if not isinstance(made, _Inspects):
        return ()
    try:
        tables = _typed(settings.mapping(system), shapes)
        return made.inspect([(table.mapping, table.schema) for table in tables])
    finally:
        made.close()


def _look_into_postgresql(member: MemberSettings, names: list[str]) -> _Seen:
    url = sa.make_url(member.url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as conn:
            in_the_way = {row[0] for row in conn.execute(_RELATIONS, (member.schema_, names))}
            if conn.execute(_IS_HELD).fetchone() != (True,):
                return _Seen(in_the_way)
            gone = {row[0] for row in conn.execute(_GONE, (names, member.schema_))}
            return _Seen(in_the_way, gone, held=True)
    except psycopg.OperationalError as error:
        raise UnreachableError(
            f"its store did not answer: {str(error).strip().splitlines()[0]}",
            where=without_password(member.url),
            mend="Is the server running there, and are user and password right?",
        ) from error


def _look_into_sqlite(path: Path, names: list[str]) -> _Seen:
    if not path.exists():
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not os.access(above, os.W_OK):
            raise UnreachableError(
                "its file cannot be made", where=str(above), mend="Mend the rights of the directory."
            )
        return _Seen()
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
            marks = ", ".join("?" * len(names))
            query = f"SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ({marks})"
            in_the_way = {row[0] for row in conn.execute(query, names)}
            if conn.execute(_HELD_SQLITE).fetchone() is None:
                return _Seen(in_the_way)
            gone = {row[0] for row in conn.execute(_GONE_SQLITE, (json.dumps(names),))}
            return _Seen(in_the_way, gone, held=True)
    except sqlite3.Error as error:
        raise UnreachableError(f"its file cannot be read: {error}", where=str(path), mend="Is it SQLite?") from error
