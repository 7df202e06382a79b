"""Loads a file into a table of the master: all of it, or nothing and the reason."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from distributor.capture.fixed import clear_errors, connect, where_of
from distributor.capture.inspect import Source, inspect
from distributor.errors import BadInputError, UsageError
from distributor.publishing.bad_records import MOST, NOTHING, BadRecord, BadRecords
from distributor.publishing.files import read_into_given
from distributor.publishing.input_error import provide as provide_input_error
from distributor.settings.models import Settings

_SHOWN = 80
_ANY_TEXT = ("text", "character varying")


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Rows of the file, and what they did to the table; rows that were there already count nowhere else.

    `copies` of these rows are exact copies of others, and were taken once. `bad` records are none of these rows: they
    were written to a file of their own; `told` are some of them, with their reasons.
    """

    dataset: str
    rows: int
    inserted: int
    updated: int
    deleted: int
    copies: int = 0
    bad: int = 0
    told: tuple[str, ...] = ()


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
    settings: Settings,
    dataset: str,
    file: Path,
    *,
    replace: bool = False,
    dry_run: bool = False,
    bad_records: Path | None = None,
    most_bad: int = MOST,
) -> ImportResult:
    """Inserts and updates by key; with `replace`, rows that the file does not have are deleted.

    Columns that the file does not have keep their values, or get their defaults. Exact copies of a row count once. With
    `bad_records`, a file that is made, records that cannot be loaded are written to it, at most `most_bad`, and the
    others are loaded. Raises UsageError for an unknown dataset, BadInputError naming file, line, column and value;
    then nothing was loaded.
    """
    configured = settings.master.datasets
    if dataset not in configured:
        raise UsageError(f"there is no dataset {dataset!r}", where="config", mend=f"Known: {', '.join(configured)}.")
    if not file.is_file():
        raise UsageError("there is no such file", where=str(file))
    if replace and bad_records:
        raise UsageError(
            "--replace deletes what the file does not have, and of a bad record nobody knows what it was",
            where="--bad-records",
            mend="Load the good records first, then mend the others.",
        )
    bad = BadRecords(file, bad_records, most_bad)
    with (
        connect(settings.master.url, application="distributor import") as conn,
        clear_errors(where_of(settings.master.url)),
    ):
        source = inspect(conn, {dataset: configured[dataset]})[dataset]
        provide_input_error(conn)
        names = read_into_given(conn, file, source.schema.column_names, bad)
        targets = _targets(conn, source, names, file)
        if not bad.keeps:
            bad.settle()
        _check_values(conn, targets, file, bad)
        copies = _check_keys(conn, source, targets, file, bad)
        bad.settle()
        try:
            loaded = _load(conn, source, targets, replace)
            result = dataclasses.replace(
                loaded, rows=loaded.rows + copies, copies=copies, bad=bad.count, told=tuple(bad.told)
            )
        except psycopg.IntegrityError as error:
            raise BadInputError(
                f"{error.diag.message_primary}: {error.diag.message_detail or 'no details'}",
                where=f"{file}, table {source.name}",
                mend=f"The table's own rules refuse that. {NOTHING}",
            ) from error
        if dry_run:
            conn.rollback()
        else:
            # Before what is good is loaded for good: nothing may be missing from both.
            bad.write()
        return result


def _targets(conn: psycopg.Connection, source: Source, names: list[str], file: Path) -> list[_Target]:
    if missing := [name for name in source.schema.key if name not in names]:
        raise BadInputError(f"it lacks the key column {missing[0]!r}", where=str(file), mend=NOTHING)
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


def _check_values(conn: psycopg.Connection, targets: list[_Target], file: Path, bad: BadRecords) -> None:
    """Every value must be one of its column's type, and there where the column needs one."""
    for target in targets:
        if target.type in _ANY_TEXT and not target.not_null:
            continue
        wrong = conn.execute(
            sql.SQL(
                "SELECT row, place, raw, {value}, pg_temp.input_error({value}, {type}) FROM pg_temp.given"
                " WHERE pg_temp.input_error({value}, {type}) IS NOT NULL OR ({not_null} AND {value} IS NULL)"
                " ORDER BY row LIMIT {most}"
            ).format(
                value=target.given,
                type=sql.Literal(target.type),
                not_null=sql.Literal(target.not_null),
                most=sql.Literal(bad.most + 1 if bad.keeps else 1),
            )
        ).fetchall()
        for row, place, raw, value, message in wrong:
            reason = "it has no value, and the column needs one"
            if value is not None:
                shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
                reason = f"{shown!r} does not fit {target.type}: {message}"
            if not bad.keeps:
                where = f"{file}, row {row}" if place == row else f"{file}, line {place}, row {row}"
                raise BadInputError(reason, where=f"{where}, column {target.name}", mend=NOTHING)
            bad.add([BadRecord(place, reason, raw, target.name)])
        conn.execute("DELETE FROM pg_temp.given WHERE row = ANY(%s)", [[row for row, *_ in wrong]])


def _check_keys(conn: psycopg.Connection, source: Source, targets: list[_Target], file: Path, bad: BadRecords) -> int:
    """No two rows may have one key, but for exact copies: how many of these there were, beside the first ones."""
    keys = sql.SQL(", ").join(target.value for target in targets if target.name in source.schema.key)
    same_key = sql.SQL("SELECT {keys} FROM pg_temp.given GROUP BY {keys} HAVING count(*) > 1").format(keys=keys)
    if conn.execute(sql.SQL("{} LIMIT 1").format(same_key)).fetchone() is None:
        return 0
    columns = sql.SQL(", ").join(target.given for target in targets)
    copies = conn.execute(
        sql.SQL(
            "DELETE FROM pg_temp.given AS g USING (SELECT row, row_number() OVER (PARTITION BY {} ORDER BY row) AS nth"
            " FROM pg_temp.given) AS d WHERE g.row = d.row AND d.nth > 1"
        ).format(columns)
    ).rowcount
    named = f"({', '.join(source.schema.key)})"
    twice = conn.execute(
        sql.SQL(
            "SELECT rows, places, raws, text FROM (SELECT array_agg(row ORDER BY row) AS rows, array_agg(place ORDER BY"
            " row) AS places, array_agg(raw ORDER BY row) AS raws, concat_ws(', ', {keys}) AS text FROM pg_temp.given"
            " GROUP BY {keys} HAVING count(*) > 1) AS doubled ORDER BY rows[1] LIMIT {most}"
        ).format(keys=keys, most=sql.Literal(bad.most + 1 if bad.keeps else 1))
    ).fetchall()
    for rows, places, raws, key in twice:
        if not bad.keeps:
            lines = f" (lines {places[0]} and {places[-1]})" if places != rows else ""
            raise BadInputError(
                f"rows {rows[0]} and {rows[-1]} have the same key {named} = ({key}){lines}",
                where=str(file),
                mend=f"Keep one of them. {NOTHING}",
            )
        reason = f"{len(rows)} different rows have the key {named} = ({key})"
        bad.add(BadRecord(place, reason, raw) for place, raw in zip(places, raws, strict=True))
        conn.execute("DELETE FROM pg_temp.given WHERE row = ANY(%s)", [rows])
    return copies


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
