"""Real catalogues whose columns really changed, replayed with `drift = "evolve"`: columns that came, went, came back
and were renamed, as ordinary DDL of somebody else; the daemons carry them to three unlike systems.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg import sql

from distributor.demo.estate import Estate
from distributor.demo.estate_config import EnvironmentPlan, SystemPlan
from distributor.demo.readers import Place
from tests.replay import history
from tests.replay.test_history import STEP_SECONDS, ask

pytestmark = [pytest.mark.services, pytest.mark.replay, pytest.mark.long, pytest.mark.timeout(900)]

DATA = history.data_directory()
PRICES = Path(__file__).resolve().parents[3] / "shared" / "data" / "pc-part-prices"
CATEGORIES = {"mouse": "Mouse", "pccase": "PCCase"}
_NOT_YET = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    sqlite3.OperationalError,
    duckdb.Error,
)
Key = tuple[str, ...]
Rows = dict[Key, dict[str, str | None]]
"""Key → column → text, of one table at one time."""


@contextmanager
def running(directory: Path, amqp_url: str, tables: Mapping[str, str]) -> Iterator[Estate]:
    """Servers, and a master with these tables (name → DDL), all of which evolve."""
    names = {name: name for name in tables}
    stores = {"shop": "postgresql", "till": "sqlite", "lake": "parquet"}
    systems = tuple(SystemPlan(name, store, names) for name, store in stores.items())
    plan = EnvironmentPlan("prod", "auto", systems)
    estate = Estate(directory / "drift", [plan], datasets=names, broker_url=amqp_url)
    try:
        estate.start_servers()
        config = estate.config.read_text()
        for name in tables:
            config = config.replace(f'table = "public.{name}"', f'table = "public.{name}"\ndrift = "evolve"')
        estate.config.write_text(config)
        with psycopg.connect(estate.master_url, autocommit=True) as master:
            for ddl in tables.values():
                master.execute(ddl.encode())
        estate.verb("init")
        estate.verb("capture install")
        yield estate
    finally:
        estate.remove()


def write(master: psycopg.Connection, table: str, key: Sequence[str], ddl: Sequence[str], rows: Rows) -> None:
    """DDL, then a table's rows brought to these, in the transaction of the caller. Columns are those of the DDL."""
    for statement in ddl:
        master.execute(statement.encode())
    columns = [*key, *sorted({name for row in rows.values() for name in row})]
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    master.execute(sql.SQL("CREATE TEMP TABLE given ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
        names, sql.Identifier(table)))  # fmt: skip
    with master.cursor().copy(sql.SQL("COPY given ({}) FROM STDIN").format(names)) as copy:
        for values, row in rows.items():
            copy.write_row([*values, *(row.get(name) for name in columns[len(key) :])])
    keys = sql.SQL(", ").join(map(sql.Identifier, key))
    target = sql.Identifier(table)
    master.execute(sql.SQL("DELETE FROM {} WHERE ({}) NOT IN (SELECT {} FROM given)").format(target, keys, keys))
    rest = columns[len(key) :]
    change = sql.SQL(", ").join(sql.SQL("{} = excluded.{}").format(*[sql.Identifier(name)] * 2) for name in rest)
    different = sql.SQL("({}) IS DISTINCT FROM ({})").format(
        sql.SQL(", ").join(sql.Identifier("t", name) for name in rest),
        sql.SQL(", ").join(sql.Identifier("excluded", name) for name in rest),
    )
    master.execute(
        sql.SQL("INSERT INTO {} AS t ({}) SELECT {} FROM given ON CONFLICT ({}) DO UPDATE SET {} WHERE {}").format(
            target, names, names, keys, change, different
        )
    )
    master.execute("DROP TABLE given")


def shown(place: Place, table: str, key: Sequence[str]) -> Rows:
    """What a system's readers see, whatever columns there are."""
    if place.adapter == "parquet":
        return _in_parquet(place, table, key)
    listed = (
        f"SELECT attname FROM pg_attribute WHERE attrelid = 'public.{table}'::regclass AND attnum > 0"
        if place.adapter == "postgresql"
        else f"SELECT name FROM pragma_table_info('{table}')"
    )
    columns = [name for (name,) in ask(place, listed)]
    quoted = ", ".join(f'"{name}"' for name in columns)
    rows = ask(place, f"SELECT {quoted} FROM {table}")
    found = (dict(zip(columns, row, strict=True)) for row in rows)
    return {tuple(row.pop(name) for name in key): row for row in found}


def _in_parquet(place: Place, table: str, key: Sequence[str]) -> Rows:
    catalogue = Path(place.url.removeprefix("parquet:///")) / "current" / "catalog.duckdb"
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{catalogue}' AS lake (READ_ONLY)")
        result = connection.execute(f'SELECT * FROM lake."{table}"')
        columns = [name for name, *_ in result.description or ()]
        found = (dict(zip(columns, row, strict=True)) for row in result.fetchall())
        return {tuple(row.pop(name) for name in key): row for row in found}


def wait_until(estate: Estate, table: str, key: Sequence[str], rows: Rows, when: str) -> None:
    """Until every system shows exactly these columns and rows."""
    deadline = time.monotonic() + STEP_SECONDS
    for place in estate.places():
        while True:
            try:
                found = shown(place, table, key)
            except (
                psycopg.errors.UndefinedTable,
                psycopg.errors.UndefinedColumn,
                sqlite3.OperationalError,
                duckdb.Error,
            ):
                found = {}
            if found == rows:
                break
            assert not estate.dead(), estate.dead()
            assert time.monotonic() < deadline, f"{when}: {place.name} does not show {table} as it is"
            time.sleep(0.05)


@pytest.mark.skipif(DATA is None, reason="the data set shared/data/buildcores-open-db is not beside this checkout")
def test_columns_that_came_and_went_in_sixteen_months(services_directory: Path, amqp_url: str) -> None:
    assert DATA is not None
    keys = pq.read_table(DATA / "history" / "keys_by_date.parquet").to_pylist()

    def columns(category: str, date: str) -> list[str]:
        return sorted({
            row["key"].split(".")[0] for row in keys if row["category"] == category and str(row["date"]) == date
        })  # fmt: skip

    def rows(category: str, date: str) -> Rows:
        names = columns(category, date)
        return {
            (key,): {name: json.dumps(record[name]) if name in record else None for name in names}
            for (found, key), record in values.items()
            if found == category and isinstance(record, dict)
        }

    values = history.snapshot(DATA, history.BASE)
    tables = {
        table: f"CREATE TABLE {table} (part text PRIMARY KEY, "
        + ", ".join(f'"{name}" text' for name in columns(category, history.BASE))
        + ")"
        for table, category in CATEGORIES.items()
    }
    said: Counter[str] = Counter()
    with running(services_directory, amqp_url, tables) as estate:
        before = history.BASE
        with psycopg.connect(estate.master_url) as master:
            for table, category in CATEGORIES.items():
                write(master, table, ["part"], [], rows(category, before))
            master.commit()
            estate.verb("publish")
            estate.start_roles()
            for step in history.steps(DATA):
                history.apply_to_values(values, step)
                for table, category in CATEGORIES.items():
                    old, new = set(columns(category, before)), set(columns(category, step.date))
                    ddl = [f'ALTER TABLE {table} ADD COLUMN "{name}" text' for name in sorted(new - old)]
                    ddl += [f'ALTER TABLE {table} DROP COLUMN "{name}"' for name in sorted(old - new)]
                    said += Counter(f"column {name} is new" for name in new - old)
                    said += Counter(f"column {name} is gone" for name in old - new)
                    write(master, table, ["part"], ddl, rows(category, step.date))
                master.commit()
                for table, category in CATEGORIES.items():
                    wait_until(estate, table, ["part"], rows(category, step.date), step.date)
                before = step.date
        assert told(estate) == said
        assert sum(said.values()) > 20


@pytest.mark.skipif(not PRICES.is_dir(), reason="the data set shared/data/pc-part-prices is not beside this checkout")
@pytest.mark.parametrize(
    ("category", "dates", "ddl", "expected"),
    [
        (
            "case",
            ("2023-08-06", "2023-09-12"),
            ["ALTER TABLE prices RENAME COLUMN external_525_bays TO external_volume"],
            ["column external_525_bays was renamed to external_volume"],
        ),
        (
            "cpu",
            ("2024-05-14", "2025-07-23"),
            ["ALTER TABLE prices DROP COLUMN smt", "ALTER TABLE prices ADD COLUMN microarchitecture text"],
            ["column microarchitecture is new", "column smt is gone"],
        ),
    ],
)
def test_a_column_that_was_renamed_and_one_that_was_replaced(
    services_directory: Path, amqp_url: str, category: str, dates: tuple[str, str], ddl: list[str], expected: list[str]
) -> None:
    old, new = (prices(category, date) for date in dates)
    columns = next(iter(old.values()))
    made = "CREATE TABLE prices (name text, nth text, " + ", ".join(f'"{name}" text' for name in columns)
    with running(services_directory, amqp_url, {"prices": made + ", PRIMARY KEY (name, nth))"}) as estate:
        with psycopg.connect(estate.master_url) as master:
            write(master, "prices", ["name", "nth"], [], old)
            master.commit()
            estate.verb("publish")
            estate.start_roles()
            wait_until(estate, "prices", ["name", "nth"], old, dates[0])
            write(master, "prices", ["name", "nth"], ddl, new)
            master.commit()
        wait_until(estate, "prices", ["name", "nth"], new, dates[1])
        assert told(estate) == Counter(expected)


def prices(category: str, date: str) -> Rows:
    """One category on one date: (name, its how-manieth row of that name) → the other fields as JSON."""
    found: Rows = {}
    seen: Counter[str] = Counter()
    with gzip.open(PRICES / f"parts-{date}.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            part = json.loads(line)
            if part.pop("category") != category:
                continue
            name = part.pop("name")
            seen[name] += 1
            found[name, str(seen[name])] = {field: json.dumps(value) for field, value in part.items()}
    columns = sorted({field for row in found.values() for field in row})
    return {key: {field: row.get(field) for field in columns} for key, row in found.items()}


def told(estate: Estate) -> Counter[str]:
    """Every change of shape that the releases tell of."""
    found: Counter[str] = Counter()
    for release in estate.verb("releases", limit=100)["releases"]:
        for texts in estate.verb("changes", release=release["number"], limit=1)["restarts"].values():
            found += Counter(texts)
    return found
