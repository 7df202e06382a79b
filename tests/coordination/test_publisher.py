"""The publisher makes releases by itself, and goes on when what stopped it is mended."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import Engine

from distributor.capture import scans, watch
from distributor.coordination.publisher import serve_publisher
from distributor.ledger import audit, processes, releases
from distributor.ledger.engine import ledger_engine, transaction
from distributor.publishing.publish import publish
from distributor.settings import Settings
from distributor.settings.models import Dataset
from distributor.store.chunks import read_manifest
from distributor.store.directory import DirectoryStore
from distributor.views.status import Status, look
from tests.capture.master import install_capture
from tests.support import wait_for


@contextmanager
def publishing(settings: Settings) -> Iterator[None]:
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    def run() -> None:
        loop.run_until_complete(serve_publisher(settings, stop))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()


def test_a_table_that_was_missing_is_published_once_it_is_there(
    database: Callable[[], str], ledger_url: str, make_settings: Callable[..., Settings]
) -> None:
    master = database()
    settings = make_settings(ledger_url, "amqp://nowhere/")
    settings = settings.model_copy(update={"master": settings.master.model_copy(update={"url": master})})
    engine = ledger_engine(ledger_url)

    def newest() -> int:
        with transaction(engine) as conn:
            found = releases.head(conn)
        return found.rows if found else 0

    with publishing(settings), psycopg.connect(master, autocommit=True) as conn:
        conn.execute("CREATE TABLE products (sku text PRIMARY KEY, name text)")
        conn.execute("INSERT INTO products VALUES ('A-1', 'Anvil')")
        wait_for(newest, what="the first release")
    engine.dispose()


def test_what_stops_publishing_is_told_until_it_is_mended(
    database: Callable[[], str],
    ledger_url: str,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "HEARTBEAT_SECONDS", 0.1)
    master = database()
    settings = make_settings(ledger_url, "amqp://nowhere/")
    settings = settings.model_copy(update={"master": settings.master.model_copy(update={"url": master})})
    engine = ledger_engine(ledger_url)

    def trouble() -> processes.Trouble | None:
        with transaction(engine) as conn:
            return processes.trouble(conn, "publisher", datetime.now(UTC) - timedelta(minutes=1))

    with psycopg.connect(master, autocommit=True) as conn:
        conn.execute("CREATE TABLE products (sku text PRIMARY KEY)")
        publish(settings, DirectoryStore(settings.store.path))
        conn.execute("ALTER TABLE products ADD COLUMN color text DEFAULT 'red'")
        began = datetime.now(UTC)
        with publishing(settings):
            wait_for(trouble, what="the trouble")
            told = trouble()
            assert told is not None
            assert began <= told.since <= datetime.now(UTC)
            assert "column color is new" in told.why
            status = look_at(engine, settings)
            assert status.publishing_stopped is not None
            assert status.publishing_stopped.why == told.why
            conn.execute("ALTER TABLE products DROP COLUMN color")
            wait_for(lambda: trouble() is None, what="the end of the trouble")
    assert look_at(engine, settings).publishing_stopped is None
    engine.dispose()


def test_the_audit_says_why_each_release_was_made_and_once_why_none_was(
    database: Callable[[], str], ledger_url: str, make_settings: Callable[..., Settings]
) -> None:
    master = database()
    settings = make_settings(ledger_url, "amqp://nowhere/")
    hasty = {"url": master, "quiet_period": timedelta(hours=1), "max_delay": timedelta(hours=1), "max_rows": 3}
    calm = {"url": master, "quiet_period": timedelta(milliseconds=50), "max_rows": 0}
    settings = settings.model_copy(update={"master": settings.master.model_copy(update=hasty)})
    at_peace = settings.model_copy(update={"master": settings.master.model_copy(update=calm)})
    engine = ledger_engine(ledger_url)

    def acts() -> list[audit.AuditRecord]:
        with transaction(engine) as conn:
            return [act for act in reversed(audit.records(conn)) if act.who == "publisher"]

    with psycopg.connect(master, autocommit=True) as conn:
        conn.execute("CREATE TABLE products (sku text PRIMARY KEY, name text)")
        install_capture(master, settings.master.datasets)
        with publishing(settings):
            wait_for(lambda: len(acts()) == 1, what="the first release")
            conn.execute("INSERT INTO products VALUES ('A-1', 'Anvil'), ('A-2', 'Axe')")
            conn.execute("INSERT INTO products VALUES ('B-1', 'Bell')")
            wait_for(lambda: len(acts()) == 2, what="the release of three rows")
        with publishing(at_peace):
            conn.execute("UPDATE products SET name = 'Bucket' WHERE sku = 'B-1'")
            wait_for(lambda: len(acts()) == 3, what="the release of one row")
            for _ in range(2):
                conn.execute("UPDATE products SET name = name")
                wait_for(lambda: keys_waiting(conn) == 0, what="an empty journal")
            conn.execute("DELETE FROM products WHERE sku = 'A-1'")
            wait_for(lambda: len(acts()) >= 5, what="the last release")
    found = acts()
    assert [act.detail for act in found] == [
        {"release": 1, "rows": 0},
        {"release": 2, "rows": 3},
        {"release": 3, "rows": 1},
        None,
        {"release": 4, "rows": 1},
    ]
    expected = [
        "began to watch the master: what had changed before",
        r"waited no longer for quiet: max_rows is 3 \(3 changed keys since \d\d:\d\d:\d\d\)",
        r"(waited \d\.\d s for quiet \(1 changed key since \d\d:\d\d:\d\d\))|(began to watch .*)",
        r"waited \d\.\d s for quiet \([36] changed keys since .*\); every row is as before: no release was made",
        r"waited \d\.\d s for quiet \(1 changed key since \d\d:\d\d:\d\d\)",
    ]
    for act, sentence in zip(found, expected, strict=True):
        assert re.fullmatch(sentence, act.why), act.why
    engine.dispose()


def keys_waiting(conn: psycopg.Connection) -> int:
    row = conn.execute("SELECT count(*) FROM distributor_capture.changed_keys").fetchone()
    assert row
    return int(row[0])


def test_what_no_trigger_sees_is_published_too(
    database: Callable[[], str],
    ledger_url: str,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "CATALOGUE_SECONDS", 0.1)
    monkeypatch.setattr(scans, "SCAN_SECONDS", 0.3)
    master = database()
    settings = make_settings(ledger_url, "amqp://nowhere/")
    changed = settings.master.model_copy(update={"url": master, "max_delay": timedelta(seconds=0.3)})
    settings = settings.model_copy(update={"master": changed})
    engine = ledger_engine(ledger_url)

    def rows() -> int:
        with transaction(engine) as conn:
            found = releases.head(conn)
        return _rows(settings, found.manifest) if found else -1

    with psycopg.connect(master, autocommit=True) as conn:
        conn.execute("CREATE TABLE products (sku text PRIMARY KEY) PARTITION BY LIST (sku)")
        conn.execute("CREATE TABLE a PARTITION OF products FOR VALUES IN ('a')")
        conn.execute("CREATE TABLE b AS SELECT 'b' AS sku")
        conn.execute("ALTER TABLE b ADD PRIMARY KEY (sku)")
        with publishing(settings):
            wait_for(lambda: rows() == 0, what="the first release")
            conn.execute("INSERT INTO products VALUES ('a')")
            wait_for(lambda: rows() == 1, what="a row that no trigger saw")
            install_capture(master, settings.master.datasets)
            conn.execute("ALTER TABLE products ATTACH PARTITION b FOR VALUES IN ('b')")
            wait_for(lambda: rows() == 2, what="the attached partition")
            conn.execute("DROP TABLE b")
            wait_for(lambda: rows() == 1, what="the dropped partition")
    engine.dispose()


def test_a_view_is_published_as_often_as_the_config_says(
    database: Callable[[], str], ledger_url: str, make_settings: Callable[..., Settings]
) -> None:
    master = database()
    settings = make_settings(ledger_url, "amqp://nowhere/")
    view = Dataset.model_validate({"table": "sold", "key": ("sku",), "capture": "scan", "scan_every": "200ms"})
    changed = settings.master.model_copy(update={"url": master, "datasets": {"products": view}})
    settings = settings.model_copy(update={"master": changed})
    engine = ledger_engine(ledger_url)

    def rows() -> int:
        with transaction(engine) as conn:
            found = releases.head(conn)
        return _rows(settings, found.manifest) if found else -1

    with psycopg.connect(master, autocommit=True) as conn:
        conn.execute("CREATE TABLE articles (sku text, sold boolean)")
        conn.execute("CREATE VIEW sold AS SELECT sku FROM articles WHERE sold")
        with publishing(settings):
            wait_for(lambda: rows() == 0, what="the first release")
            conn.execute("INSERT INTO articles VALUES ('a', true), ('b', false)")
            wait_for(lambda: rows() == 1, what="a row of the view")
            conn.execute("UPDATE articles SET sold = true")
            wait_for(lambda: rows() == 2, what="another one")
    engine.dispose()


def _rows(settings: Settings, manifest: str) -> int:
    read = read_manifest(DirectoryStore(settings.store.path), manifest)
    return read.certificate.tables["products"].total.rows


def look_at(engine: Engine, settings: Settings) -> Status:
    with transaction(engine) as conn:
        return look(conn, settings, ["prod"])
