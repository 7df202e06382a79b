"""What a load waits for, as real servers and files tell it, and what would end it."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from consumers.adapters import postgresql_waits as waits
from consumers.adapters.base import KnowsObstacles, Obstacle
from consumers.adapters.postgresql import PostgreSQLAdapter
from consumers.adapters.postgresql_line import Line
from consumers.adapters.sqlite import SQLiteAdapter
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import load
from consumers.conformance.samples import PRICE_TABLE, TABLES, batch, numbered_rows
from distributor.errors import DistributorError, UnreachableError
from distributor.settings import MemberSettings
from tests.support import wait_for

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
GIVEN_UP = "an answer on a connection that the server has given up; keepalives end the wait"
ROWS = batch(PRICE_TABLE, numbered_rows(3, 1))


def quoted(said: str) -> bool:
    """Whether people who look it up find it."""
    return said in RUNBOOK.read_text(encoding="utf-8")


@pytest.fixture
def url(database: Callable[[], str]) -> str:
    return database()


def member(url: str) -> PostgreSQLAdapter:
    return PostgreSQLAdapter(MemberSettings.model_validate({"adapter": "postgresql", "url": url}), Path())


@pytest.fixture
def adapter(url: str) -> Iterator[PostgreSQLAdapter]:
    made = member(url)
    made.prepare(ENVIRONMENT, SYSTEM, TABLES)
    yield made
    made.close()


@contextmanager
def stuck(adapter: PostgreSQLAdapter | SQLiteAdapter) -> Iterator[Callable[[], Obstacle]]:
    """A load in a thread of its own; gives what asks for its obstacle until there is one."""

    def work() -> None:
        try:
            load(adapter, "b", 1, ROWS)
        except DistributorError as error:
            failed.append(error)

    failed: list[DistributorError] = []
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: wait_for(lambda: (found := adapter.waits_for()).what and found, what="an obstacle")
    finally:
        thread.join(60)
        assert not thread.is_alive()


def test_a_session_that_holds_a_lock_is_named_with_its_query(url: str, adapter: PostgreSQLAdapter) -> None:
    place = f'distributor_b."{PRICE_TABLE.name}"'
    with psycopg.connect(url, application_name="month end") as other:
        other.execute(f"LOCK TABLE {place}\n IN ACCESS EXCLUSIVE MODE".encode())
        pid, user = other.info.backend_pid, other.info.user
        with stuck(adapter) as obstacle:
            found = obstacle()
            other.rollback()
    said = re.sub(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "since T", found.what)
    assert said == (
        f"session {pid} of {user} (month end, idle in transaction since T), which holds AccessExclusiveLock on"
        f" distributor_b.{PRICE_TABLE.name}; its last query: LOCK TABLE {place} IN ACCESS EXCLUSIVE MODE"
    )
    assert found.mend == f"SELECT pg_terminate_backend({pid})"
    assert quoted("), which holds AccessExclusiveLock on distributor_b.stock; its last query: ")


def test_what_would_help_helps(url: str, adapter: PostgreSQLAdapter) -> None:
    place = f'distributor_b."{PRICE_TABLE.name}"'
    other = psycopg.connect(url)
    other.execute(f"LOCK TABLE {place}".encode())
    with psycopg.connect(url, autocommit=True) as operator, stuck(adapter) as obstacle:
        operator.execute(obstacle().mend.encode())
    with pytest.raises(psycopg.OperationalError):
        other.execute("SELECT 1")
    other.close()
    with adapter.member() as transaction:
        assert transaction.row.slots["b"].release == 1


def test_a_row_that_somebody_changed_and_did_not_commit(url: str, adapter: PostgreSQLAdapter) -> None:
    load(adapter, "b", 1, ROWS)
    place = f'distributor_b."{PRICE_TABLE.name}"'
    with psycopg.connect(url) as other:
        other.execute(f"DELETE FROM {place}".encode())
        with stuck(adapter) as obstacle:
            found = obstacle()
            other.rollback()
    assert "which has locked a row" in found.what
    assert " and not committed; its last query: DELETE FROM" in found.what
    assert quoted("which has locked a row of distributor_b.stock and not committed")


def test_whoever_only_stands_before_it_in_the_queue_is_told_with_whom_that_one_waits_for(
    url: str, adapter: PostgreSQLAdapter
) -> None:
    place = f'distributor_b."{PRICE_TABLE.name}"'
    with psycopg.connect(url) as reader, psycopg.connect(url) as admin:
        reader.execute(f"SELECT 1 FROM {place}".encode())
        waited_for = reader.info.backend_pid
        altering = threading.Thread(target=lambda: admin.execute(f"LOCK TABLE {place}".encode()))
        altering.start()
        with psycopg.connect(url, autocommit=True) as looking:
            blocked = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
            ask = lambda: looking.execute(blocked, (admin.info.backend_pid,)).fetchall()[0][0]  # noqa: E731
            wait_for(ask, what="the queue")
        with stuck(adapter) as obstacle:
            found = obstacle()
            reader.rollback()
            altering.join(20)
            admin.rollback()
    assert f"which stands before it in the queue for distributor_b.{PRICE_TABLE.name}" in found.what
    assert f"and itself waits for session {waited_for}; its query: LOCK TABLE" in found.what
    assert quoted("which stands before it in the queue for distributor_b.stock and itself waits for session 4700")


def test_a_prepared_transaction_that_nobody_ended(url: str, adapter: PostgreSQLAdapter) -> None:
    place = f'distributor_b."{PRICE_TABLE.name}"'
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(f"BEGIN; LOCK TABLE {place}; PREPARE TRANSACTION 'month''s end'".encode())
        with stuck(adapter) as obstacle:
            found = obstacle()
            other.execute(found.mend.encode())
    assert found.what.startswith("the prepared transaction 'month's end' of ")
    assert found.mend == "ROLLBACK PREPARED 'month''s end'"
    assert quoted("the prepared transaction 'month end' of ann, prepared at ")
    assert quoted("ROLLBACK PREPARED 'month end'")


def test_another_load_of_the_same_slot(url: str, adapter: PostgreSQLAdapter) -> None:
    twin = member(url)
    with twin.loading("b") as loading:
        loading.apply(ROWS)
        with stuck(adapter) as obstacle:
            found = obstacle()
            loading.commit(lambda row: row)
    twin.close()
    assert "which loads the same slot" in found.what
    assert quoted("which loads the same slot")


def test_a_query_that_may_not_be_seen_is_said_to_be_hidden(url: str, adapter: PostgreSQLAdapter) -> None:
    """The member's role is no superuser, as in production."""
    role = f"plain_{threading.get_ident()}"
    place = f'distributor_b."{PRICE_TABLE.name}"'
    with psycopg.connect(url, autocommit=True) as admin:
        database = admin.info.dbname
        for statement in (
            f"CREATE ROLE {role} LOGIN PASSWORD 'x'",
            f"GRANT ALL ON DATABASE {database} TO {role}",
            f"GRANT ALL ON SCHEMA public, distributor, distributor_a, distributor_b TO {role}",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public, distributor, distributor_a, distributor_b TO {role}",
        ):
            admin.execute(statement.encode())
        try:
            plain = psycopg.conninfo.conninfo_to_dict(url) | {"user": role, "password": "x"}
            limited = member(f"postgresql://{role}:x@{plain['host']}:{plain['port']}/{plain['dbname']}")
            with psycopg.connect(url) as other:
                other.execute(f"LOCK TABLE {place}".encode())
                with stuck(limited) as obstacle:
                    found = obstacle()
                    other.rollback()
            limited.close()
        finally:
            admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
    assert "which holds AccessExclusiveLock on" in found.what
    hidden = "; its query is hidden from this role (GRANT pg_read_all_stats shows it)"
    assert found.what.endswith(hidden)
    assert quoted(hidden)


def test_a_server_that_is_slow_itself_and_a_session_that_it_gave_up(url: str) -> None:
    line = Line(url)
    with psycopg.connect(url, autocommit=True) as sleeper:
        sleeping = threading.Thread(target=lambda: sleeper.execute("SELECT pg_sleep(2)"))
        sleeping.start()

        def found() -> str:
            with line.transaction() as transaction:
                return waits.obstacle(transaction, [sleeper.info.backend_pid]).what

        assert wait_for(found, what="a wait") == "PostgreSQL itself (Timeout: PgSleep)"
        gone = sleeper.info.backend_pid
        sleeping.join()

    def over() -> bool:
        with line.transaction() as transaction:
            return waits.obstacle(transaction, [gone]).what == GIVEN_UP

    wait_for(over, what="the end of the session")
    line.close()
    assert quoted("PostgreSQL itself (")
    assert quoted(GIVEN_UP)


def test_when_nothing_is_in_the_way_nothing_is_said(adapter: PostgreSQLAdapter) -> None:
    assert adapter.waits_for() == Obstacle()
    with adapter.loading("b") as loading:
        loading.apply(ROWS)
        assert adapter.waits_for() == Obstacle()


def test_a_server_that_is_away_cannot_be_asked() -> None:
    away = member("postgresql://nobody:nothing@127.0.0.1:9/none")
    assert isinstance(away, KnowsObstacles)
    with pytest.raises(UnreachableError):
        away.waits_for()


def test_the_write_lock_of_a_file(tmp_path: Path) -> None:
    settings = MemberSettings.model_validate({"adapter": "sqlite", "url": "sqlite:///my crm.db"})
    adapter, path = SQLiteAdapter(settings, tmp_path), tmp_path / "my crm.db"
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert adapter.waits_for() == Obstacle()
    with adapter.loading("b") as loading:
        loading.apply(ROWS)
        assert adapter.waits_for() == Obstacle()
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with stuck(adapter) as obstacle:
            found = obstacle()
            other.execute("ROLLBACK")
    adapter.close()
    assert found.what == f"the write lock of {path} (database is locked; SQLite does not know by whom)"
    assert found.mend == f"lsof '{path}'"
    assert quoted("the write lock of /srv/crm.db (database is locked; SQLite does not know by whom)")
