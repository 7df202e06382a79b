"""The publisher makes releases by itself, and goes on when what stopped it is mended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from distributor.coordination.publisher import serve_publisher
from distributor.ledger import releases
from distributor.ledger.engine import ledger_engine, transaction
from distributor.settings import Settings
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
