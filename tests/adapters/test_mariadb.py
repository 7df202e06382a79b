"""MariaDB sits the exam, and answers for what only it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
import pymysql
import pytest

from consumers.adapters import mariadb_line
from consumers.adapters.base import Obstacle, TableSpec
from consumers.adapters.mariadb import MariaDBAdapter
from consumers.conformance.exam import ENVIRONMENT, SYSTEM, AdapterConformance
from consumers.conformance.hands import certificate_of, flip, holding, load, second, watched
from consumers.conformance.samples import PRICE_TABLE, TABLES, batch, numbered_rows
from consumers.conformance.seat import Meddler, Reader, Seat, Sight
from distributor.errors import ConfigError, UnreachableError
from distributor.settings import MemberSettings
from tests.adapters.mariadb_meddler import MariaDBMeddler
from tests.services.mariadb import connected

pytestmark = pytest.mark.conformance


class MariaDBReader:
    """A plain driver, and texts made from what it returns."""

    def __init__(self, url: str) -> None:
        self._connection = connected(url)

    def look(self, table: TableSpec) -> Sight:
        columns = ", ".join(f"`{name.replace('`', '``')}`" for name in table.schema.column_names)
        # One statement, one snapshot: the release stands beside every row, and alone when there is none.
        rows_of = f"(SELECT 1 AS there, {columns} FROM `{table.name}`) AS t"
        found = self._rows(f"SELECT r.`release`, t.* FROM distributor_release AS r LEFT JOIN {rows_of} ON TRUE")
        kinds = [str(column.type) for column in table.schema.columns]
        return Sight(found[0][0], frozenset(tuple(map(_text, kinds, row[2:])) for row in found if row[1]))

    def close(self) -> None:
        self._connection.close()

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())


def _text(type_: str, value: Any) -> str | None:
    match type_, value:
        case _, None:
            return None
        case "boolean", 0 | 1:
            return "true" if value else "false"
        case "bytes", bytes():
            return f"\\x{value.hex()}"
        case "double", float():
            return _shortest(value)
        case _, Decimal():
            return f"{value.normalize() + 0:f}"
        case _, timedelta():
            seconds = value.days * 86400 + value.seconds
            clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            return f"{clock}.{value.microseconds:06}".rstrip("0").rstrip(".")
        case _, datetime():
            return f"{value.isoformat(' ')}".rstrip("0" if value.microsecond else "") + "+00" * (type_ == "timestamptz")
        case _, date():
            return value.isoformat()
    return str(value)


def _shortest(value: float) -> str:
    """The form that docs/certificates.md describes, from digits and exponent."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text, point = "".join(map(str, digits)), len(digits) + exponent - 1
    if value == 0:
        body = "0"
    elif point < -4 or point >= 15:
        body = f"{text[0]}{'.' if text[1:] else ''}{text[1:]}e{'-' if point < 0 else '+'}{abs(point):02}"
    else:
        body = f"{Decimal(text).scaleb(exponent):f}"
    return ("-" if sign else "") + body


class MariaDBSeat:
    def __init__(self, url: str) -> None:
        self.url = url

    def adapter(self, **options: str | int | bool) -> MariaDBAdapter:
        settings = MemberSettings.model_validate({"adapter": "mariadb", "url": self.url, "options": options})
        return MariaDBAdapter(settings, Path())

    def reader(self) -> Reader:
        return MariaDBReader(self.url)

    def meddler(self) -> Meddler:
        return MariaDBMeddler(self.url)

    def drop_column(self, table: TableSpec, column: str) -> None:
        self.run(f"ALTER TABLE `_slots_{table.name}` DROP COLUMN `{column}`")

    def lose(self, name: str) -> None:
        self.run(f"DROP VIEW `{name}`")

    def occupy(self, name: str) -> None:
        self.run(f"CREATE TABLE `{name}` AS SELECT 1 AS one")

    def occupied(self, name: str) -> int:
        return int(self.run(f"SELECT COUNT(*) FROM `{name}`")[0][0])

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        with connected(self.url) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())


class TestMariaDB(AdapterConformance):
    @pytest.fixture
    def seat(self, mariadb_database: Callable[[], str]) -> Seat:
        return MariaDBSeat(mariadb_database())


@pytest.fixture
def seat(mariadb_database: Callable[[], str]) -> MariaDBSeat:
    return MariaDBSeat(mariadb_database())


@pytest.fixture
def adapter(seat: MariaDBSeat) -> Iterator[MariaDBAdapter]:
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    yield adapter
    adapter.close()


LOOK = "SELECT `release`, (SELECT COUNT(*) FROM list_prices) FROM distributor_release"


def test_a_report_that_takes_long_holds_up_neither_load_nor_flip(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(10, 1)))
    flip(adapter)
    with connected(seat.url, autocommit=False) as report, report.cursor() as cursor:
        cursor.execute(LOOK)
        assert cursor.fetchall() == ((1, 10),)
        with adapter.loading("a") as loading:
            loading.clear(PRICE_TABLE)
            loading.apply(batch(PRICE_TABLE, numbered_rows(20, 2)))
            loading.commit(lambda row: holding(row, "a", 2))
        flip(adapter)
        cursor.execute(LOOK)
        assert cursor.fetchall() == ((1, 10),)
    assert seat.run(LOOK) == [(2, 20)]


class ReadCommittedSeat(MariaDBSeat):
    def reader(self) -> Reader:
        reader = MariaDBReader(self.url)
        reader._rows("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        return reader


def test_one_statement_sees_one_release_in_read_committed_too(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    for slot, release in (("b", 1), ("a", 2)):
        load(adapter, slot, release, batch(PRICE_TABLE, numbered_rows(300, release)))  # type: ignore[arg-type]
    flip(adapter)
    with watched(ReadCommittedSeat(seat.url)) as sights:
        for _ in range(60):
            flip(adapter)
        sights.enough()
    assert {sight.release for sight in sights.seen} == {1, 2}
    for sight in sights.seen:
        assert sight.rows == frozenset(numbered_rows(300, sight.release))


def test_readers_queries_are_planned_as_over_a_table_of_their_own(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(2000, 1)))
    load(adapter, "a", 2, batch(PRICE_TABLE, numbered_rows(2000, 2)))
    seat.run("CREATE TABLE orders AS SELECT sku, 1 AS quantity FROM list_prices WHERE sku < 'P000010'")
    seat.run("ANALYZE TABLE orders, _slots_list_prices")

    def plan(query: str) -> dict[str, str]:
        return {row[2]: row[3] for row in seat.run(f"EXPLAIN {query}")}

    assert plan("SELECT * FROM list_prices WHERE sku = 'P000005'") == {"a": "const", "s": "const"}
    joined = "SELECT * FROM orders AS o {} JOIN list_prices AS p ON p.sku = o.sku"
    assert plan(joined.format("")) == {"a": "const", "o": "ALL", "s": "eq_ref"}
    assert plan(joined.format("LEFT")) == {"o": "ALL", "a": "const", "s": "eq_ref"}


def test_the_members_row_can_be_locked_while_a_load_runs(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    with adapter.loading("b") as loading:
        loading.apply(batch(PRICE_TABLE, numbered_rows(3, 1)))
        with adapter.member() as member:
            member.save(holding(member.row, "b", 0, token="newer"))
        assert loading.commit(lambda row: None if row.slots["b"].token == "newer" else row) is None
    assert seat.run("SELECT COUNT(*) FROM _slots_list_prices") == [(0,)]


def test_a_second_load_of_the_slot_waits_and_gives_up(
    seat: MariaDBSeat, adapter: MariaDBAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mariadb_line._SESSION, "innodb_lock_wait_timeout", "1")
    with second(seat) as other, adapter.loading("b"):
        with other.loading("a") as loading:
            loading.apply(batch(PRICE_TABLE, numbered_rows(3, 1)))
        with pytest.raises(UnreachableError, match="Lock wait timeout"), other.loading("b"):
            pass


def test_a_lost_connection_is_said_once_and_made_anew(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    def end_all() -> None:
        ours = f"SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{seat.url.rpartition('/')[2]}'"
        for (thread,) in seat.run(f"{ours} AND ID <> CONNECTION_ID()"):
            seat.run(f"KILL {thread}")

    end_all()
    with pytest.raises(UnreachableError) as lost, adapter.member():
        pass
    assert lost.value.retryable
    with pytest.raises(UnreachableError), adapter.loading("b") as loading:  # noqa: PT012
        end_all()
        loading.apply(batch(PRICE_TABLE, numbered_rows(5, 1)))
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(5, 1))


def test_no_error_tells_the_password(tmp_path: Path) -> None:
    seat = MariaDBSeat("mariadb://somebody:secret@127.0.0.1:1/nothing")
    with second(seat) as adapter, pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1/nothing") as refused:
        adapter.prepare(ENVIRONMENT, SYSTEM, ())
    assert "secret" not in str(refused.value)
    for url in ("mariadb://somebody:secret@[nowhere/x", "mariadb://somebody:secret@host", "postgresql://x:secret@h/x"):
        with pytest.raises(ConfigError, match="no MariaDB URL") as wrong:
            MariaDBSeat(url).adapter()
        assert "secret" not in str(wrong.value)


def test_a_wrong_password_and_a_database_that_is_not_there_are_of_the_config(seat: MariaDBSeat) -> None:
    parts = urlsplit(seat.url)
    for url, why in (
        (seat.url.replace(f":{parts.password}@", ":wrong@"), "Access denied"),
        (f"{seat.url}_x", "Create the database"),
    ):
        with second(MariaDBSeat(url)) as adapter, pytest.raises(ConfigError, match=why):
            adapter.prepare(ENVIRONMENT, SYSTEM, ())


def test_mysql_is_another_way_to_write_the_url(seat: MariaDBSeat) -> None:
    with second(MariaDBSeat(seat.url.replace("mariadb://", "mysql://"))) as adapter:
        adapter.prepare(ENVIRONMENT, SYSTEM, ())
    assert seat.run("SELECT environment, `system`, `release` FROM distributor_release") == [(ENVIRONMENT, SYSTEM, 0)]


@pytest.mark.parametrize("options", [{"ssl": True}, {"ssl_ca": 7}])
def test_options_that_nobody_knows_are_refused(options: dict[str, str | int | bool]) -> None:
    with pytest.raises(ConfigError, match="The one option is ssl_ca"):
        MariaDBSeat("mariadb://a:b@c/d").adapter(**options)


def test_names_that_mariadb_cannot_keep_apart_are_refused(seat: MariaDBSeat) -> None:
    def named(into: str) -> TableSpec:
        return TableSpec(PRICE_TABLE.mapping.model_copy(update={"into": into}), PRICE_TABLE.schema)

    with second(seat) as adapter:
        with pytest.raises(ConfigError, match="one to MariaDB"):
            adapter.prepare(ENVIRONMENT, SYSTEM, (PRICE_TABLE, named("LIST_PRICES")))
        with pytest.raises(ConfigError, match="longer than 52"):
            adapter.prepare(ENVIRONMENT, SYSTEM, (named("p" * 53),))
        adapter.prepare(ENVIRONMENT, SYSTEM, (named("p" * 52),))


@pytest.mark.parametrize(
    "reading",
    [
        "SELECT * FROM list_prices LOCK IN SHARE MODE",
        "INSERT INTO mine SELECT sku FROM list_prices",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT * FROM list_prices",
    ],
)
def test_a_flip_waits_for_locking_readers_and_gives_up_until_the_next_time(
    seat: MariaDBSeat, adapter: MariaDBAdapter, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    seat.run("CREATE TABLE mine (sku TEXT)")
    monkeypatch.setitem(mariadb_line._SESSION, "innodb_lock_wait_timeout", "1")
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
    with connected(seat.url, autocommit=False) as reader, reader.cursor() as cursor, second(seat) as flipping:
        for statement in reading.split("; "):
            cursor.execute(statement)
        with pytest.raises(UnreachableError) as refused:
            flip(flipping)
        assert refused.value.retryable
        reader.commit()
        flip(flipping)
    assert seat.run(LOOK) == [(1, 5)]


def test_all_rights_on_its_database_are_all_that_the_account_needs(seat: MariaDBSeat) -> None:
    database = seat.url.rpartition("/")[2]
    seat.run(f"CREATE USER '{database}'@'%' IDENTIFIED BY 'x'", f"GRANT ALL ON {database}.* TO '{database}'@'%'")
    try:
        with second(MariaDBSeat(f"mariadb://{database}:x@{seat.url.partition('@')[2]}")) as adapter:
            adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
            load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
            flip(adapter)
            assert adapter.waits_for() == Obstacle()  # type: ignore[attr-defined]
        assert seat.run(LOOK) == [(1, 5)]
    finally:
        seat.run(f"DROP USER '{database}'@'%'")
    # The views are the account's.
    with pytest.raises(pymysql.OperationalError, match="definer"):
        seat.run(LOOK)


def test_what_is_written_through_a_view_is_found_by_an_audit(seat: MariaDBSeat, adapter: MariaDBAdapter) -> None:
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
    flip(adapter)
    seat.run("UPDATE list_prices SET `release` = 7 WHERE sku = 'P000003'")
    assert adapter.audit("b", PRICE_TABLE) != certificate_of(PRICE_TABLE, numbered_rows(5, 1))


def test_a_server_that_cannot_be_proved_is_no_store(seat: MariaDBSeat, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(Path(certifi.where()).read_bytes())
    settings = MemberSettings.model_validate({"adapter": "mariadb", "url": seat.url, "options": {"ssl_ca": "ca.pem"}})
    adapter = MariaDBAdapter(settings, tmp_path)
    with pytest.raises(ConfigError, match="See the option ssl_ca"):
        adapter.prepare(ENVIRONMENT, SYSTEM, ())


@pytest.mark.parametrize(
    ("version", "logged", "log_form", "why"),
    [
        ("10.11.19-MariaDB-0+deb12u1", True, "MIXED", ""),
        ("11.8.3-MariaDB", False, "STATEMENT", ""),
        ("8.4.6", True, "ROW", "this is no MariaDB, but 8.4.6"),
        ("10.6.22-MariaDB", True, "ROW", "MariaDB 10.6.22-MariaDB is too old"),
        ("10.11.19-MariaDB", True, "STATEMENT", "binlog_format is STATEMENT, and no load can be written to such a log"),
    ],
)
def test_servers_that_cannot_be_a_store_are_told(version: str, logged: bool, log_form: str, why: str) -> None:
    assert mariadb_line.unusable(version, logged, log_form) == why
