"""What readers look through, and what lies behind it: altered by hand it is said before a load or a reader meets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from consumers.adapters.base import Inspects, KnowsItsWork, TableSpec
from consumers.adapters.postgresql import PostgreSQLAdapter
from consumers.adapters.sqlite import SQLiteAdapter
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import flip, load
from consumers.conformance.samples import PRICE_TABLE, TABLES, batch, numbered_rows
from distributor.errors import SystemAlteredError
from distributor.mapping.tables import TableMapping
from distributor.model.dataset import Column, DatasetSchema
from distributor.model.types import LogicalType
from tests.adapters.test_postgresql import PostgreSQLSeat
from tests.adapters.test_sqlite import SQLiteSeat

pytestmark = pytest.mark.conformance
AnyAdapter = PostgreSQLAdapter | SQLiteAdapter
ROWS = numbered_rows(5, 1)
NARROWED = {
    "sqlite": (
        "DROP VIEW list_prices",
        "CREATE VIEW list_prices AS SELECT * FROM _b_list_prices WHERE release > 7",
    ),
    "postgresql": (
        "CREATE OR REPLACE VIEW public.list_prices AS SELECT * FROM distributor_b.list_prices WHERE release > 7",
    ),
}
STRAYED = {
    "sqlite": (
        "DROP VIEW list_prices",
        'CREATE VIEW "list_prices" AS SELECT {columns} FROM "_a_list_prices"',
    ),
    "postgresql": ("UPDATE distributor.active SET slot = 'a'",),
}
KEYLESS = {
    "sqlite": (
        "ALTER TABLE _a_list_prices RENAME TO was",
        "CREATE TABLE _a_list_prices AS SELECT * FROM was",
    ),
    "postgresql": ("ALTER TABLE distributor_a.list_prices DROP CONSTRAINT list_prices_pkey",),
}


class Seated:
    """A store of one kind with a release online in slot b."""

    def __init__(self, kind: str, seat: PostgreSQLSeat | SQLiteSeat) -> None:
        self.kind = kind
        self.seat = seat
        self.adapter: AnyAdapter = seat.adapter()
        self.prepare()
        load(self.adapter, "b", 1, batch(PRICE_TABLE, ROWS))
        flip(self.adapter)

    def prepare(self) -> None:
        self.adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)

    def alter(self, statements: dict[str, tuple[str, ...]]) -> None:
        for statement in statements[self.kind]:
            columns = ", ".join(f'"{name}"' for name in PRICE_TABLE.schema.column_names)
            self.seat.run(statement.replace("{columns}", columns))

    def altered(self) -> list[str]:
        with self.adapter.auditing() as snapshot:
            assert isinstance(snapshot, KnowsItsWork)
            found = list(snapshot.altered(TABLES))
            assert snapshot.buckets("b", PRICE_TABLE)
        assert isinstance(self.adapter, Inspects)
        assert self.adapter.inspect([(table.mapping, table.schema) for table in TABLES]) == found
        return found

    def readers_see(self) -> int:
        return int(self.seat.run("SELECT count(*) FROM list_prices")[0][0])


@pytest.fixture(params=["sqlite", "postgresql"])
def seated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Seated]:
    if request.param == "sqlite":
        made = Seated("sqlite", SQLiteSeat(tmp_path))
    else:
        database: Callable[[], str] = request.getfixturevalue("database")
        made = Seated("postgresql", PostgreSQLSeat(database()))
    yield made
    made.adapter.close()


@pytest.fixture
def postgresql(database: Callable[[], str]) -> Iterator[Seated]:
    made = Seated("postgresql", PostgreSQLSeat(database()))
    yield made
    made.adapter.close()


def test_what_nobody_touched_is_as_it_was_made(seated: Seated) -> None:
    assert seated.altered() == []
    flip(seated.adapter)
    assert seated.altered() == []


def test_an_altered_view_is_said_and_kept_until_it_is_dropped(seated: Seated) -> None:
    seated.alter(NARROWED)
    (found,) = seated.altered()
    assert "list_prices was altered: readers see through it" in found
    assert "DROP VIEW" in found
    with pytest.raises(SystemAlteredError, match="list_prices was altered"):
        seated.prepare()
    assert seated.readers_see() == 0
    seated.seat.run("DROP VIEW list_prices")
    (found,) = seated.altered()
    assert "list_prices is gone" in found
    seated.prepare()
    assert (seated.altered(), seated.readers_see()) == ([], len(ROWS))


def test_readers_of_the_other_slot_are_told_of_and_led_back(seated: Seated) -> None:
    seated.alter(STRAYED)
    assert seated.readers_see() == 0
    (found,) = seated.altered()
    assert "see slot a" in found
    assert "slot b is online" in found
    seated.prepare()
    assert (seated.altered(), seated.readers_see()) == ([], len(ROWS))


def test_a_release_that_readers_are_told_wrongly_is_said_and_put_right(seated: Seated) -> None:
    table = "distributor_release" if seated.kind == "sqlite" else "distributor.release"
    for wrong in (f"UPDATE {table} SET release = 99", f"DELETE FROM {table}"):
        seated.seat.run(wrong)
        (found,) = seated.altered()
        assert "and not release 1" in found
        seated.prepare()
        assert seated.altered() == []
    assert seated.seat.run("SELECT release FROM distributor_release") == [(1,)]


def test_a_key_that_is_gone_from_the_shadow_is_said_before_a_load_meets_it(seated: Seated) -> None:
    seated.alter(KEYLESS)
    found = " ".join(seated.altered())
    assert "the primary key of" in found
    assert "list_prices is not (" in found


def test_a_key_comes_back_by_the_statement_that_the_sentence_has(postgresql: Seated) -> None:
    postgresql.alter(KEYLESS)
    (found,) = postgresql.altered()
    statement = found.partition("Put it back: ")[2].partition(". To have")[0]
    assert statement.startswith('ALTER TABLE "distributor_a"."list_prices" ADD PRIMARY KEY (')
    postgresql.seat.run(statement)
    assert postgresql.altered() == []


def test_a_type_comes_back_by_the_statements_that_the_sentence_has(postgresql: Seated) -> None:
    postgresql.seat.run("DROP VIEW list_prices")
    postgresql.seat.run("ALTER TABLE distributor_b.list_prices ALTER COLUMN release TYPE text")
    (found,) = [text for text in postgresql.altered() if "release" in text]
    assert "column release of distributor_b.list_prices is of type text, not bigint" in found
    for statement in found.partition("Put it back: ")[2].split("; ")[:2]:
        using = " USING release::bigint" if statement.startswith("ALTER") else ""
        postgresql.seat.run(statement + using)
    postgresql.prepare()
    assert (postgresql.altered(), postgresql.readers_see()) == ([], len(ROWS))


def test_sums_of_an_altered_column_fail_with_the_column(postgresql: Seated) -> None:
    column = next(c.name for t in TABLES for c in t.schema.columns if c.type.kind == "decimal")
    table = next(t for t in TABLES if column in t.schema.column_names)
    postgresql.seat.run(f'DROP VIEW "{table.name}"')
    postgresql.seat.run(f'ALTER TABLE distributor_b."{table.name}" ALTER "{column}" TYPE float8')
    with (
        pytest.raises(SystemAlteredError, match=f"the column {column} of distributor_b.*double precision, not numeric"),
        postgresql.adapter.auditing() as snapshot,
    ):
        snapshot.buckets("b", table)


def test_a_view_that_was_dumped_and_restored_is_still_ours(postgresql: Seated) -> None:
    for name in ("distributor_release", *(table.name for table in TABLES)):
        with psycopg.connect(postgresql.seat.url) as connection:  # type: ignore[union-attr]
            query = connection.execute("SELECT pg_get_viewdef(%s::regclass)", (f'"{name}"',)).fetchall()[0][0]
            connection.execute(f'DROP VIEW "{name}"'.encode())
            connection.execute(f'CREATE VIEW public."{name}" AS {query}'.encode())
    assert postgresql.altered() == []
    postgresql.prepare()


def test_a_view_of_somebody_elses_is_not_called_ours(database: Callable[[], str]) -> None:
    seat = PostgreSQLSeat(database())
    seat.run("CREATE VIEW public.list_prices AS SELECT 1 AS one")
    adapter = seat.adapter()
    with pytest.raises(SystemAlteredError, match="already there: a view that was not made here"):
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    adapter.close()


SENTENCES = (
    "the view public.prices was altered: readers see through it what no slot holds",
    "the view public.prices is gone",
    "public.prices is already there: a table that was not made here",
    "readers see slot a (distributor.active), and slot b is online by the member's row",
    "distributor_release tells readers release 99 of warehouse in prod, and not release 7",
    "the column amount of distributor_b.prices is of type double precision, not numeric(10,2)",
    "the primary key of distributor_a.prices is not (sku, currency)",
)


def test_the_runbook_has_these_sentences_as_they_are_said(database: Callable[[], str]) -> None:
    types = {"sku": "text", "currency": "text", "amount": "decimal(10,2)"}
    schema = DatasetSchema(
        dataset="prices",
        columns=tuple(Column(name=n, type=LogicalType.parse(t), nullable=n == "amount") for n, t in types.items()),
        key=("sku", "currency"),
    )
    table = TableSpec(TableMapping(dataset="prices", into="prices"), schema)
    seat = PostgreSQLSeat(database())
    adapter = seat.adapter()
    adapter.prepare("prod", "warehouse", (table,))
    load(adapter, "b", 7)
    flip(adapter)

    said = ""
    for statements in (
        ("UPDATE distributor.active SET slot = 'a'", "UPDATE distributor.release SET release = 99"),
        ("CREATE OR REPLACE VIEW public.prices AS SELECT * FROM distributor_b.prices",),
        ("DROP VIEW public.prices",),
        ("CREATE TABLE public.prices (sku text)",),
        (
            "ALTER TABLE distributor_a.prices DROP CONSTRAINT prices_pkey",
            "ALTER TABLE distributor_b.prices ALTER COLUMN amount TYPE float8",
        ),
    ):
        for statement in statements:
            seat.run(statement)
        said += " ".join(adapter.inspect([(table.mapping, schema)]))
    adapter.close()
    runbook = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert [sentence for sentence in SENTENCES if sentence not in said or f"| `{sentence}` |" not in runbook] == []
