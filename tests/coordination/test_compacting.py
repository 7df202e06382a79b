"""Beside a publisher that runs, bases come about by themselves; what fails there stops nobody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import Engine

from distributor.coordination import compacting
from distributor.ledger import releases
from distributor.ledger.engine import ledger_engine, transaction
from distributor.settings import Settings
from distributor.store.chunks import read_link
from distributor.store.directory import DirectoryStore
from distributor.store.ways import read_base
from tests.capture.master import install_capture
from tests.coordination.test_publisher import publishing
from tests.support import wait_for


@pytest.fixture
def settings(
    database: Callable[[], str],
    ledger_url: str,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """A base is due after three releases, and that is looked at often."""
    monkeypatch.setattr(compacting, "LOOK_SECONDS", 0.05)
    made = make_settings(ledger_url, "amqp://nowhere/")
    master = made.master.model_copy(update={"url": database(), "quiet_period": timedelta()})
    store = made.store.model_copy(update={"compact_after": 2})
    return made.model_copy(update={"master": master, "store": store})


def heads(engine: Engine) -> list[releases.ReleaseRecord]:
    with transaction(engine) as conn:
        return releases.releases(conn)


def publish(conn: psycopg.Connection, engine: Engine, count: int) -> None:
    """Releases, one after the other; each is there before the next change."""
    for _ in range(count):
        before = len(heads(engine))
        conn.execute("INSERT INTO products SELECT 'P-' || count(*) FROM products")
        wait_for(lambda before=before: len(heads(engine)) > before, what=f"release {before + 1}")  # type: ignore[misc]


def test_a_base_comes_about_and_holds_what_the_release_has(settings: Settings) -> None:
    store, engine = DirectoryStore(settings.store.path), ledger_engine(settings.ledger.url)
    with psycopg.connect(settings.master.url, autocommit=True) as conn:
        conn.execute("CREATE TABLE products (sku text PRIMARY KEY)")
        install_capture(settings.master.url, settings.master.datasets)
        with publishing(settings):
            wait_for(lambda: heads(engine), what="the first release")
            publish(conn, engine, 3)

            def newest() -> int | None:
                found = [base for head in heads(engine) if (base := read_base(store, head.manifest))]
                return found[0].rows if found else None

            assert wait_for(newest, what="a base") == 3
    engine.dispose()


def test_a_store_in_which_no_base_can_be_made_goes_on_being_published_to(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    store, engine = DirectoryStore(settings.store.path), ledger_engine(settings.ledger.url)
    with psycopg.connect(settings.master.url, autocommit=True) as conn:
        conn.execute("CREATE TABLE products (sku text PRIMARY KEY)")
        install_capture(settings.master.url, settings.master.datasets)
        with publishing(settings):
            wait_for(lambda: heads(engine), what="the first release")
            publish(conn, engine, 1)
            # Whatever comes later stands on a chunk that is gone.
            second = heads(engine)[0].manifest
            store.local_path(read_link(store, second).chunks[0].sha256).unlink()
            publish(conn, engine, 2)
            said = ""

            def told() -> bool:
                nonlocal said
                said += capfd.readouterr().err
                return "no base was made" in said

            wait_for(told, what="the warning")
            assert "is missing" in said
            publish(conn, engine, 2)
    assert len(heads(engine)) == 6
    engine.dispose()
