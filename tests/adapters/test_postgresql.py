"""PostgreSQL sits the exam, and answers for what only it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from consumers.adapters.base import Adapter, TableSpec
from consumers.adapters.postgresql import PostgreSQLAdapter
from consumers.conformance.exam import ENVIRONMENT, SYSTEM, AdapterConformance
from consumers.conformance.hands import certificate_of, flip, holding, load
from consumers.conformance.samples import PRICE_TABLE, TABLES, batch, numbered_rows
from consumers.conformance.seat import Meddler, Reader, Seat, Sight
from distributor.errors import ConfigError, DistributorError, SystemAlteredError, UnreachableError
from distributor.settings import MemberSettings
from tests.adapters.postgresql_meddler import PostgreSQLMeddler

pytestmark = pytest.mark.conformance


class PostgreSQLReader:
    """A plain driver, and the casts of docs/certificates.md written down once more."""

    def __init__(self, url: str, schema: str) -> None:
        self._schema = schema
        self._connection = psycopg.connect(url, autocommit=True)
        for setting in ("DateStyle = 'ISO, YMD'", "TimeZone = 'UTC'", "bytea_output = 'hex'"):
            self._connection.execute(f"SET {setting}".encode())

    def look(self, table: TableSpec) -> Sight:
        texts = sql.SQL(", ").join(
            sql.SQL("trim_scale({})::text" if column.type.kind == "decimal" else "{}::text").format(
                sql.Identifier(column.name)
            )
            for column in table.schema.columns
        )
        query = sql.SQL("SELECT r.release, t.* FROM {} AS r LEFT JOIN (SELECT true, {} FROM {}) AS t ON true").format(
            sql.Identifier(self._schema, "distributor_release"), texts, sql.Identifier(self._schema, table.name)
        )
        found = self._connection.execute(query).fetchall()
        return Sight(found[0][0], frozenset(row[2:] for row in found if row[1]))

    def close(self) -> None:
        self._connection.close()


class PostgreSQLSeat:
    def __init__(self, url: str, schema: str = "public") -> None:
        self.url = url
        self.schema = schema

    def adapter(self) -> PostgreSQLAdapter:
        settings = MemberSettings.model_validate({"adapter": "postgresql", "url": self.url, "schema": self.schema})
        return PostgreSQLAdapter(settings, Path())

    def reader(self) -> Reader:
        return PostgreSQLReader(self.url, self.schema)

    def meddler(self) -> Meddler:
        return PostgreSQLMeddler(self.url)

    def drop_column(self, table: TableSpec, column: str) -> None:
        self.run(f'ALTER TABLE distributor_b."{table.name}" DROP COLUMN "{column}" CASCADE')

    def lose(self, name: str) -> None:
        self.run(f'DROP VIEW {self.schema}."{name}"')

    def occupy(self, name: str) -> None:
        self.run(f'CREATE TABLE {self.schema}."{name}" AS SELECT 1 AS one')

    def occupied(self, name: str) -> int:
        return int(self.run(f'SELECT count(*) FROM {self.schema}."{name}"')[0][0])

    def run(self, statement: str) -> list[tuple[int, ...]]:
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def seat(database: Callable[[], str]) -> PostgreSQLSeat:
    return PostgreSQLSeat(database())


@pytest.fixture
def adapter(seat: PostgreSQLSeat) -> Iterator[PostgreSQLAdapter]:
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    yield adapter
    adapter.close()


class TestPostgreSQL(AdapterConformance):
    @pytest.fixture
    def seat(self, database: Callable[[], str]) -> Seat:
        return PostgreSQLSeat(database())


def test_readers_may_look_in_a_schema_of_their_own(database: Callable[[], str]) -> None:
    seat = PostgreSQLSeat(database(), "shop")
    adapter: Adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(3, 1)))
    flip(adapter)
    reader = seat.reader()
    assert reader.look(PRICE_TABLE) == Sight(1, frozenset(numbered_rows(3, 1)))
    reader.close()
    adapter.close()


def test_the_members_row_can_be_locked_while_a_load_runs(seat: PostgreSQLSeat, adapter: PostgreSQLAdapter) -> None:
    with adapter.loading("b") as loading:
        loading.apply(batch(PRICE_TABLE, numbered_rows(3, 1)))
        with adapter.member() as member:
            member.save(holding(member.row, "b", 0, token="newer"))
        assert loading.commit(lambda row: None if row.slots["b"].token == "newer" else row) is None
    assert seat.run("SELECT count(*) FROM distributor_b.list_prices") == [(0,)]


def test_a_report_that_takes_long_holds_up_neither_load_nor_flip(
    seat: PostgreSQLSeat, adapter: PostgreSQLAdapter
) -> None:
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(10, 1)))
    flip(adapter)
    with psycopg.connect(seat.url) as report:
        report.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        before = report.execute(
            "SELECT release, (SELECT count(*) FROM list_prices) FROM distributor_release"
        ).fetchall()
        with adapter.loading("a") as loading:
            loading.clear(PRICE_TABLE)
            loading.apply(batch(PRICE_TABLE, numbered_rows(20, 2)))
            loading.commit(lambda row: holding(row, "a", 2))
        flip(adapter)
        after = report.execute("SELECT release, (SELECT count(*) FROM list_prices) FROM distributor_release").fetchall()
        assert before == after == [(1, 10)]
    assert seat.run("SELECT release, (SELECT count(*) FROM list_prices) FROM distributor_release") == [(2, 20)]


def test_a_lost_connection_is_said_once_and_made_anew(seat: PostgreSQLSeat, adapter: PostgreSQLAdapter) -> None:
    end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'distributor'"
    with adapter.member():
        pass
    seat.run(f"{end} AND datname = current_database()")
    with pytest.raises(UnreachableError) as lost, adapter.member():
        pass
    assert lost.value.retryable
    with pytest.raises(UnreachableError), adapter.loading("b") as loading:  # noqa: PT012
        seat.run(f"{end} AND datname = current_database()")
        loading.apply(batch(PRICE_TABLE, numbered_rows(5, 1)))
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(5, 1))


def test_what_is_altered_by_hand_is_said_with_its_type(seat: PostgreSQLSeat, adapter: PostgreSQLAdapter) -> None:
    seat.run("DROP VIEW list_prices")
    seat.run("ALTER TABLE distributor_a.list_prices ALTER COLUMN release TYPE text")
    with pytest.raises(SystemAlteredError, match=r"release of distributor_a.list_prices is of type text, not bigint"):
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    seat.run("DROP TABLE distributor_a.list_prices")
    with pytest.raises(SystemAlteredError, match=r"the table distributor_a.list_prices is missing.*DROP SCHEMA"):
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)


def test_a_view_that_was_dropped_comes_back(seat: PostgreSQLSeat, adapter: PostgreSQLAdapter) -> None:
    seat.run("DROP VIEW list_prices, distributor_release")
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert seat.run("SELECT release, (SELECT count(*) FROM list_prices) FROM distributor_release") == [(0, 0)]


def test_a_rule_that_swallows_rows_shows_in_what_is_read_back(seat: PostgreSQLSeat, adapter: PostgreSQLAdapter) -> None:
    seat.run("CREATE FUNCTION less() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.release := 7; RETURN NEW; END'")
    seat.run("CREATE TRIGGER less BEFORE INSERT ON distributor_b.list_prices FOR EACH ROW EXECUTE FUNCTION less()")
    (touched,) = load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
    assert touched.after == certificate_of(PRICE_TABLE, numbered_rows(5, 7))


def test_what_a_trigger_puts_off_until_the_commit_is_read_back_too(
    seat: PostgreSQLSeat, adapter: PostgreSQLAdapter
) -> None:
    seat.run(
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN UPDATE distributor_b.list_prices SET release = 7 WHERE release <> 7; RETURN NULL; END'"
    )
    seat.run(
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON distributor_b.list_prices DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION late()"
    )
    (touched,) = load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
    assert touched.after == adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(5, 7))


def test_no_error_tells_the_password() -> None:
    seat = PostgreSQLSeat("postgresql://somebody:secret@127.0.0.1:1/nothing")
    adapter = seat.adapter()
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1/nothing") as refused:
        adapter.prepare(ENVIRONMENT, SYSTEM, ())
    assert "secret" not in str(refused.value)
    with pytest.raises(DistributorError, match="no PostgreSQL URL") as wrong:
        PostgreSQLSeat("postgresql://somebody:secret@[nowhere").adapter()
    assert "secret" not in str(wrong.value)
    assert isinstance(wrong.value, ConfigError)


def test_names_that_postgresql_would_cut_are_refused(seat: PostgreSQLSeat) -> None:
    table = TableSpec(PRICE_TABLE.mapping.model_copy(update={"into": "p" * 64}), PRICE_TABLE.schema)
    adapter = seat.adapter()
    with pytest.raises(ConfigError, match="longer than 63"):
        adapter.prepare(ENVIRONMENT, SYSTEM, (table,))
    adapter.close()
