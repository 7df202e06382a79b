"""The old way, for comparison: every row of the master copied into new tables of one system, then indexed."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psycopg

_SCHEMA = "nightly"


def full_refresh(master_url: str, system_url: str, datasets: Iterable[str]) -> float:
    """Copies the datasets into a schema of their own and drops it again. Returns the copy's milliseconds."""
    with psycopg.connect(master_url) as master, psycopg.connect(system_url) as system:
        begun = time.perf_counter()
        system.execute(f"CREATE SCHEMA {_SCHEMA}".encode())
        for dataset in datasets:
            _copy(master, system, dataset)
        system.commit()
        took = (time.perf_counter() - begun) * 1000
        system.execute(f"DROP SCHEMA {_SCHEMA} CASCADE".encode())
    return took


def _copy(master: psycopg.Connection, system: psycopg.Connection, dataset: str) -> None:
    columns = master.execute(
        "SELECT string_agg(format('%%I %%s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)"
        " FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        [dataset],
    ).fetchone()
    indexes = master.execute(
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass", [dataset]
    ).fetchall()
    assert columns is not None
    system.execute(f"CREATE TABLE {_SCHEMA}.{dataset} ({columns[0]})".encode())
    with (
        master.cursor().copy(f"COPY {dataset} TO STDOUT (FORMAT binary)".encode()) as out,
        system.cursor().copy(f"COPY {_SCHEMA}.{dataset} FROM STDIN (FORMAT binary)".encode()) as into,
    ):
        for block in out:
            into.write(block)
    for (definition,) in indexes:
        system.execute(definition.replace(" ON public.", f" ON {_SCHEMA}.").encode())
