"""The publisher makes releases by itself, and goes on when what stopped it is mended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import Engine

from distributor.capture import scans, watch
from distributor.coordination.publisher import serve_publisher
from distributor.ledger import processes, releases
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
