"""The ledger is made by migrations, and they say the same as the tables in code."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from distributor.errors import ConfigError, NotInitialisedError, UnreachableError
from distributor.ledger import migrate, releases
from distributor.ledger.desk_tables import metadata
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.tables import SCHEMA


def test_one_head() -> None:
    assert len(ScriptDirectory.from_config(migrate.alembic_config()).get_heads()) == 1


def test_migrated_schema_equals_the_tables(ledger: Engine) -> None:
    with transaction(ledger) as conn:
        context = MigrationContext.configure(
            conn,
            opts={
                "version_table": migrate.VERSION_TABLE,
                "version_table_schema": SCHEMA,
                "include_schemas": True,
                "include_name": lambda name, kind, _parents: kind != "schema" or name == SCHEMA,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, metadata) == []


def test_a_difference_would_be_found(ledger: Engine) -> None:
    with transaction(ledger) as conn:
        conn.exec_driver_sql("ALTER TABLE ledger.outbox DROP COLUMN error")
        context = MigrationContext.configure(conn, opts={"include_schemas": True})
        assert any("error" in str(difference) for difference in compare_metadata(context, metadata))


def test_upgrade_says_where_it_is(database: Callable[[], str]) -> None:
    url = database()
    assert migrate.current(url) is None
    assert not migrate.is_current(url)
    assert migrate.upgrade(url) == migrate.head_revision()
    assert migrate.is_current(url)


def test_four_at_once_upgrade_once(database: Callable[[], str]) -> None:
    url = database()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: migrate.upgrade(url), range(4))) == {migrate.head_revision()}


def test_a_ledger_that_was_never_created_says_what_to_run(database: Callable[[], str]) -> None:
    engine = ledger_engine(database())
    with pytest.raises(NotInitialisedError, match="distributor init"), transaction(engine) as conn:
        releases.head(conn)
    engine.dispose()


def test_an_unreachable_ledger_is_named_without_the_password() -> None:
    engine = ledger_engine("postgresql://me:s3cret@127.0.0.1:1/shop")
    with pytest.raises(UnreachableError) as caught, transaction(engine):
        pass
    assert "127.0.0.1:1/shop" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["nonsense", "mysql://me@there/shop"])
def test_a_ledger_is_a_postgresql_database(url: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://"):
        ledger_engine(url)
