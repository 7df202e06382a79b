"""The master's triggers: they write the keys of changed rows into a journal, and nothing more.

One set of functions per dataset, `SECURITY DEFINER` with everything pinned, so that whoever writes a row needs no
right on the journal and no setting of theirs changes the canonical text of a key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from enum import StrEnum

import psycopg
from psycopg import sql

from distributor.capture.fixed import CANONICAL_SETTINGS
from distributor.capture.inspect import Source

SCHEMA = "distributor_capture"
KEYS_PER_ENTRY = 10_000
_LOCK_TIMEOUT = "5s"

_JOURNAL = sql.SQL(
    """
    CREATE SCHEMA IF NOT EXISTS distributor_capture;
    CREATE TABLE IF NOT EXISTS distributor_capture.changed_keys (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        dataset text NOT NULL,
        keys text[],
        whole boolean NOT NULL DEFAULT false,
        changed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
    )
    """
)


class CaptureState(StrEnum):
    """Whether the triggers of one dataset see every change. All but INSTALLED are scanned whole at every publish;
    those of SCAN, which need none, only when it is their time."""

    INSTALLED = "installed"
    MISSING = "missing"
    OUTDATED = "outdated"
    REPLICATED = "replicated"
    SCAN = "scan"


class _Event(StrEnum):
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    TRUNCATE = "truncate"


def state(source: Source, conn: psycopg.Connection) -> CaptureState:
    """The state of one dataset's triggers, from what `inspect` has already read."""
    if source.scanned:
        return CaptureState.SCAN
    wanted = {
        (oid, _trigger(source.dataset, event), _fingerprint(source, event, conn))
        for oid in source.tables
        for event in _Event
    }
    ours = {trigger for trigger in source.triggers if trigger[1] in {_trigger(source.dataset, e) for e in _Event}}
    if not ours:
        return CaptureState.MISSING
    if source.replicated:
        return CaptureState.REPLICATED
    return CaptureState.INSTALLED if wanted <= ours else CaptureState.OUTDATED


def install(conn: psycopg.Connection, sources: Iterable[Source]) -> tuple[str, ...]:
    """Puts the triggers of every dataset on its table and all partitions; returns the datasets that needed it.

    Such a dataset is marked whole: what changed before is not missed. Commits nothing: the caller does. A table that
    somebody keeps locked for five seconds makes this fail with LockNotAvailable.
    """
    conn.execute(_JOURNAL)
    conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(_LOCK_TIMEOUT))
    changed = [source for source in sources if state(source, conn) in {CaptureState.MISSING, CaptureState.OUTDATED}]
    for source in changed:
        for event in _Event:
            conn.execute(_function(source, event))
            for schema, table in source.tables.values():
                conn.execute(_create_trigger(source.dataset, event, sql.Identifier(schema, table)))
        conn.execute(
            "INSERT INTO distributor_capture.changed_keys (dataset, whole) VALUES (%s, true)", [source.dataset]
        )
    return tuple(source.dataset for source in changed)


def remove(conn: psycopg.Connection, datasets: Sequence[str] | None = None) -> None:
    """Takes the triggers of these datasets away with what they recorded; None: everything, journal and schema too."""
    conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(_LOCK_TIMEOUT))
    if datasets is None:
        conn.execute("DROP SCHEMA IF EXISTS distributor_capture CASCADE")
        return
    if not journal_exists(conn):
        return
    for dataset in datasets:
        for event in _Event:
            conn.execute(sql.SQL("DROP FUNCTION IF EXISTS {} CASCADE").format(_function_name(dataset, event)))
    conn.execute("DELETE FROM distributor_capture.changed_keys WHERE dataset = ANY(%s)", [list(datasets)])


def journal_exists(conn: psycopg.Connection) -> bool:
    """Whether capture was ever installed in this database."""
    row = conn.execute("SELECT to_regclass('distributor_capture.changed_keys') IS NOT NULL", prepare=True).fetchone()
    return bool(row and row[0])


def _trigger(dataset: str, event: _Event) -> str:
    return f"distributor_{dataset}_{event}"


def _function_name(dataset: str, event: _Event) -> sql.Identifier:
    return sql.Identifier(SCHEMA, f"{dataset}_{event}")


def _fingerprint(source: Source, event: _Event, conn: psycopg.Connection) -> str:
    return hashlib.md5(_body(source, event).as_bytes(conn), usedforsecurity=False).hexdigest()


def _key(source: Source) -> sql.Composable:
    """The journal's element: the canonical text, or for several columns a JSON list of them."""
    texts = [source.text_of(column, of="changed") for column in source.schema.key]
    if len(texts) == 1:
        return texts[0]
    return sql.SQL("pg_catalog.jsonb_build_array({})::text").format(sql.SQL(", ").join(texts))


def _body(source: Source, event: _Event) -> sql.Composed:
    """The function's source. Its md5 is how an installed function is recognised."""
    dataset = sql.Literal(source.dataset)
    if event is _Event.TRUNCATE:
        record: sql.Composable = sql.SQL(
            "INSERT INTO distributor_capture.changed_keys (dataset, whole) VALUES ({}, true);"
        ).format(dataset)
    else:
        each = sql.SQL("SELECT {} AS key FROM {} AS changed")
        keys: sql.Composable = each.format(_key(source), sql.Identifier("changed_rows"))
        if event is _Event.UPDATE:
            # UNION: a row that keeps its key counts once, one that changes it counts under both.
            keys = sql.SQL("{} UNION {}").format(keys, each.format(_key(source), sql.Identifier("former_rows")))
        record = sql.SQL(
            "INSERT INTO distributor_capture.changed_keys (dataset, keys)"
            " SELECT {dataset}, pg_catalog.array_agg(key) FROM"
            " (SELECT key, (pg_catalog.row_number() OVER () - 1) / {size} AS entry FROM ({keys}) AS keys) AS numbered"
            " GROUP BY entry;"
        ).format(dataset=dataset, size=sql.Literal(KEYS_PER_ENTRY), keys=keys)
    return sql.SQL("BEGIN {} RETURN NULL; END").format(record)


def _function(source: Source, event: _Event) -> sql.Composed:
    settings = sql.SQL(" ").join(
        sql.SQL("SET {} TO {}").format(sql.SQL(name), sql.SQL(value) if name == "DateStyle" else sql.Literal(value))
        for name, value in CANONICAL_SETTINGS.items()
    )
    return sql.SQL(
        "CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        " SET search_path TO pg_catalog, pg_temp {settings} AS {body}"
    ).format(
        name=_function_name(source.dataset, event),
        settings=settings,
        body=sql.Literal(_body(source, event).as_string(None)),
    )


def _create_trigger(dataset: str, event: _Event, table: sql.Identifier) -> sql.Composed:
    tables = {
        _Event.INSERT: "REFERENCING NEW TABLE AS changed_rows",
        _Event.UPDATE: "REFERENCING OLD TABLE AS former_rows NEW TABLE AS changed_rows",
        _Event.DELETE: "REFERENCING OLD TABLE AS changed_rows",
        _Event.TRUNCATE: "",
    }
    return sql.SQL(
        "CREATE OR REPLACE TRIGGER {trigger} AFTER {event} ON {table} {references}"
        " FOR EACH STATEMENT EXECUTE FUNCTION {function}();"
        " ALTER TABLE ONLY {table} ENABLE ALWAYS TRIGGER {trigger}"
    ).format(
        trigger=sql.Identifier(_trigger(dataset, event)),
        event=sql.SQL(event.value.upper()),
        table=table,
        references=sql.SQL(tables[event]),
        function=_function_name(dataset, event),
    )
