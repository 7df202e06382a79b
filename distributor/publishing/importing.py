"""Loads a file into a table of the master: all of it, or nothing and the reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from distributor.capture.fixed import clear_errors, connect, where_of
from distributor.capture.inspect import Source, inspect
from distributor.errors import BadInputError, UsageError
from distributor.publishing.files import read_into_given
from distributor.publishing.input_error import provide as provide_input_error
from distributor.settings.models import Settings

_NOTHING = "Nothing was loaded."
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Rows of the file, and what they did to the table; rows that were there already count nowhere else."""

    dataset: str
    rows: int
    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True, slots=True)
class _Target:
    """A column of the file: where it goes."""

    name: str
    given: sql.Identifier
    type: str
    not_null: bool

    @property
    def value(self) -> sql.Composed:
        return sql.SQL("{}::{}").format(self.given, sql.SQL(self.type))


def import_file(
    settings: Settings, dataset: str, file: Path, *, replace: bool = False, dry_run: bool = False
) -> ImportResult:
    """Inserts and updates by key; with `replace`, rows that the file does not have are deleted.

    Columns that the file does not have keep their values, or get their defaults. Raises UsageError for an unknown
    dataset, BadInputError naming file, row, column and value; then nothing was loaded.
    """
    configured = settings.master.datasets
    if dataset not in configured:
        raise UsageError(f"there is no dataset {dataset!r}", where="config", mend=f"Known: {', '.join(configured)}.")
    if not file.is_file():
        raise UsageError("there is no such file", where=str(file))
    with (
        connect(settings.master.url, application="distributor import") as conn,
        clear_errors(where_of(settings.master.url)),
    ):
        source = inspect(conn, {dataset: configured[dataset]})[dataset]
        provide_input_error(conn)
        names = read_into_given(conn, file, source.schema.column_names)
        targets = _targets(conn, source, names, file)
        _check_values(conn, targets, file)
        _check_keys(conn, source, targets, file)
        try:
            result = _load(conn, source, targets, replace)
        except psycopg.IntegrityError as error:
            raise BadInputError(
                f"{error.diag.message_primary}: {error.diag.message_detail or 'no details'}",
                where=f"{file}, table {source.name}",
                mend=f"The table's own rules refuse that. {_NOTHING}",
            ) from error
        if dry_run:
            conn.rollback()
        return result


def _targets(conn: psycopg.Connection, source: Source, names: list[str], file: Path) -> list[_Target]:
    if missing := [name for name in source.schema.key if name not in names]:
        raise BadInputError(f"it lacks the key column {missing[0]!r}", where=str(file), mend=_NOTHING)
    declared = {
        name: (type_, not_null, generated)
        for name, type_, not_null, generated in conn.execute(_DECLARED, [source.relation.as_string(conn)])
    }
    if generated := [name for name in names if declared[name][2]]:
        raise BadInputError(
            f"the column {generated[0]!r} is computed by the table", where=str(file), mend="Leave it out of the file."
        )
    return [
        _Target(name, sql.Identifier("given", f"c{at}"), declared[name][0], declared[name][1])
        for at, name in enumerate(names)
    ]


def _check_values(conn: psycopg.Connection, targets: list[_Target], file: Path) -> None:
    """Every value must be one of its column's type, and there where the column needs one."""
    for target in targets:
        wrong = conn.execute(
            sql.SQL(
                "SELECT row, {value}, pg_temp.input_error({value}, {type}) FROM pg_temp.given"
                " WHERE pg_temp.input_error({value}, {type}) IS NOT NULL OR ({not_null} AND {value} IS NULL)"
                " ORDER BY row LIMIT 1"
            ).format(value=target.given, type=sql.Literal(target.type), not_null=sql.Literal(target.not_null))
        ).fetchone()
        if wrong is None:
            continue
        row, value, message = wrong
        where = f"{file}, row {row}, column {target.name}"
        if value is None:
            raise BadInputError("it has no value, and the column needs one", where=where, mend=_NOTHING)
        shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
        raise BadInputError(f"{shown!r} does not fit {target.type}: {message}", where=where, mend=_NOTHING)


def _check_keys(conn: psycopg.Connection, source: Source, targets: list[_Target], file: Path) -> None:
    keys = sql.SQL(", ").join(target.value for target in targets if target.name in source.schema.key)
    twice = conn.execute(
        sql.SQL(
            "SELECT min(row), max(row), concat_ws(', ', {keys}) FROM pg_temp.given GROUP BY {keys}"
            " HAVING count(*) > 1 ORDER BY 1 LIMIT 1"
        ).format(keys=keys)
    ).fetchone()
    if twice:
        raise BadInputError(
            f"rows {twice[0]} and {twice[1]} have the same key ({', '.join(source.schema.key)}) = ({twice[2]})",
            where=str(file),
            mend=f"Keep one of them. {_NOTHING}",
        )


def _load(conn: psycopg.Connection, source: Source, targets: list[_Target], replace: bool) -> ImportResult:
    keys = [target for target in targets if target.name in source.schema.key]
    others = [target for target in targets if target not in keys]
    matches = sql.SQL(" AND ").join(
        sql.SQL("t.{} = {}").format(sql.Identifier(target.name), target.value) for target in keys
    )
    rows, known = conn.execute(
        sql.SQL(
            "SELECT count(*), count(*) FILTER (WHERE EXISTS (SELECT FROM {} AS t WHERE {})) FROM pg_temp.given"
        ).format(source.relation, matches)
    ).fetchone() or (0, 0)
    deleted = 0
    if replace:
        deleted = conn.execute(
            sql.SQL("DELETE FROM {} AS t WHERE NOT EXISTS (SELECT FROM pg_temp.given WHERE {})").format(
                source.relation, matches
            )
        ).rowcount
    # A row that says what the table has already is not written: it would be captured, compared and vanish.
    update = sql.SQL("WHEN MATCHED AND ROW({}) IS DISTINCT FROM ROW({}) THEN UPDATE SET {}").format(
        sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(target.name)) for target in others),
        sql.SQL(", ").join(sql.SQL("{}::text").format(target.value) for target in others),
        sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(target.name), target.value) for target in others),
    )
    merged = conn.execute(
        sql.SQL(
            "MERGE INTO {} AS t USING pg_temp.given ON {} {}"
            " WHEN NOT MATCHED THEN INSERT ({}) OVERRIDING SYSTEM VALUE VALUES ({})"
        ).format(
            source.relation,
            matches,
            update if others else sql.SQL(""),
            sql.SQL(", ").join(sql.Identifier(target.name) for target in targets),
            sql.SQL(", ").join(target.value for target in targets),
        )
    ).rowcount
    inserted = rows - known
    return ImportResult(source.dataset, rows, inserted, merged - inserted, deleted)


_DECLARED = """
SELECT attname, pg_catalog.format_type(atttypid, atttypmod), attnotnull, attgenerated <> ''
FROM pg_catalog.pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
"""
