"""Whatever way a row is written, its key is in the journal when the writer commits."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from distributor.capture.fixed import connect
from distributor.capture.inspect import inspect
from distributor.capture.journal import pending, take
from distributor.capture.triggers import CaptureState, remove, state
from distributor.errors import SchemaError
from distributor.settings.models import Dataset
from tests.capture.master import datasets, empty_journal, install_capture, journal, run, sources

PRODUCTS = datasets(products="products")


@pytest.fixture
def master(database: Callable[[], str]) -> str:
    """A captured table of twenty rows, an empty journal."""
    url = database()
    run(
        url,
        "CREATE TABLE products (id int PRIMARY KEY, name text)",
        "INSERT INTO products SELECT n, 'p' || n FROM generate_series(1, 20) AS n",
    )
    install_capture(url, PRODUCTS)
    empty_journal(url)
    return url


@pytest.mark.parametrize(
    ("statement", "keys"),
    [
        ("INSERT INTO products VALUES (21, 'new'), (22, 'new')", {"21", "22"}),
        ("UPDATE products SET name = 'x' WHERE id <= 2", {"1", "2"}),
        ("UPDATE products SET id = id + 100 WHERE id = 3", {"3", "103"}),
        ("DELETE FROM products WHERE id = 4", {"4"}),
        ("INSERT INTO products VALUES (5, 'x'), (25, 'x') ON CONFLICT (id) DO UPDATE SET name = 'x'", {"5", "25"}),
        (
            "MERGE INTO products p USING (VALUES (6), (26)) AS v(id) ON p.id = v.id"
            " WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'm')",
            {"6", "26"},
        ),
        ("TRUNCATE products", {"*"}),
        ("UPDATE products SET name = 'x' WHERE id < 0", set()),
        ("SET session_replication_role = replica; UPDATE products SET name = 'x' WHERE id = 7", {"7"}),
        ("SET DateStyle = 'German'; SET search_path = ''; DELETE FROM public.products WHERE id = 8", {"8"}),
    ],
)
def test_every_way_of_writing_is_captured(master: str, statement: str, keys: set[str]) -> None:
    run(master, statement)
    assert journal(master).get("products", set()) == keys


def test_copy_is_captured_in_entries_of_ten_thousand(master: str) -> None:
    with psycopg.connect(master) as connection, connection.cursor() as cursor:
        with cursor.copy("COPY products FROM STDIN") as copy:
            for number in range(100, 25_100):
                copy.write_row((number, "copied"))
        sizes = cursor.execute("SELECT cardinality(keys) FROM distributor_capture.changed_keys").fetchall()
    assert sorted(size for (size,) in sizes) == [5_000, 10_000, 10_000]
    assert journal(master)["products"] == {str(number) for number in range(100, 25_100)}


def test_a_role_without_rights_on_the_journal_can_write_in_bulk(master: str) -> None:
    role = "writer_" + master.rpartition("/")[2]
    run(master, f"CREATE ROLE {role}", f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON products TO {role}")
    try:
        with psycopg.connect(master) as connection:
            connection.execute(f"SET ROLE {role}")
            connection.execute("UPDATE products SET name = upper(name)")
        assert journal(master)["products"] == {str(number) for number in range(1, 21)}
        with psycopg.connect(master) as connection:
            connection.execute(f"SET ROLE {role}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT * FROM distributor_capture.changed_keys")
    finally:
        run(master, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_what_is_rolled_back_leaves_no_key(master: str) -> None:
    with psycopg.connect(master) as connection:
        connection.execute("DELETE FROM products")
        connection.rollback()
    assert journal(master) == {}


def test_direct_writes_to_partitions_and_children_are_captured(database: Callable[[], str]) -> None:
    url = database()
    run(
        url,
        "CREATE TABLE prices (region text, id int, amount int, PRIMARY KEY (region, id)) PARTITION BY LIST (region)",
        "CREATE TABLE prices_eu PARTITION OF prices FOR VALUES IN ('eu') PARTITION BY RANGE (id)",
        "CREATE TABLE prices_eu_1 PARTITION OF prices_eu FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE prices_us PARTITION OF prices FOR VALUES IN ('us')",
    )
    configured = datasets(prices="prices")
    install_capture(url, configured)
    assert journal(url) == {"prices": {"*"}}
    empty_journal(url)
    run(
        url,
        "INSERT INTO prices VALUES ('eu', 1, 1), ('us', 1, 1)",
        "INSERT INTO prices_eu_1 VALUES ('eu', 2, 1)",
        "INSERT INTO prices_eu VALUES ('eu', 3, 1)",
        "UPDATE prices SET region = 'us', id = 9 WHERE id = 3",
    )
    wanted = {'["eu", "1"]', '["us", "1"]', '["eu", "2"]', '["eu", "3"]', '["us", "9"]'}
    assert journal(url) == {"prices": wanted}
    empty_journal(url)
    run(url, "TRUNCATE prices_us")
    assert journal(url) == {"prices": {"*"}}


def test_a_new_partition_makes_the_triggers_outdated_until_they_are_installed_again(
    database: Callable[[], str],
) -> None:
    url = database()
    run(url, "CREATE TABLE prices (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    configured = datasets(prices="prices")
    assert install_capture(url, configured) == ("prices",)
    before = sources(url, configured)["prices"]
    run(url, "CREATE TABLE prices_1 PARTITION OF prices FOR VALUES FROM (0) TO (10)")
    after = sources(url, configured)["prices"]
    assert before.identity != after.identity
    with connect(url) as connection:
        assert state(after, connection) is CaptureState.OUTDATED
    empty_journal(url)
    assert install_capture(url, configured) == ("prices",)
    assert journal(url) == {"prices": {"*"}}
    with connect(url) as connection:
        assert state(sources(url, configured)["prices"], connection) is CaptureState.INSTALLED


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE products DISABLE TRIGGER distributor_products_update",
        "ALTER TABLE products ENABLE TRIGGER distributor_products_update",
        "DROP TRIGGER distributor_products_truncate ON products",
        "CREATE OR REPLACE FUNCTION distributor_capture.products_insert() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NULL; END'",
    ],
)
def test_triggers_that_would_miss_something_are_outdated(master: str, damage: str) -> None:
    run(master, damage)
    with connect(master) as connection:
        assert state(sources(master, PRODUCTS)["products"], connection) is CaptureState.OUTDATED
    assert install_capture(master, PRODUCTS) == ("products",)
    assert journal(master) == {"products": {"*"}}


def test_installing_twice_changes_nothing_and_removing_leaves_nothing(master: str) -> None:
    assert install_capture(master, PRODUCTS) == ()
    assert journal(master) == {}
    with connect(master) as connection:
        remove(connection)
    with connect(master) as connection:
        assert state(inspect(connection, PRODUCTS)["products"], connection) is CaptureState.MISSING
        assert connection.execute("SELECT to_regnamespace('distributor_capture')").fetchone() == (None,)
        assert connection.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").fetchone() == (0,)
        assert pending(connection, ["products"]) is None
    run(master, "DELETE FROM products")


def test_one_dataset_can_be_removed_alone(master: str) -> None:
    run(master, "CREATE TABLE brands (name text PRIMARY KEY)")
    install_capture(master, datasets(brands="brands", products="products"))
    run(master, "INSERT INTO brands VALUES ('b')", "DELETE FROM products WHERE id = 1")
    with connect(master) as connection:
        remove(connection, ["products"])
    run(master, "DELETE FROM products WHERE id = 2")
    assert journal(master) == {"brands": {"*", "b"}}


def test_the_keys_of_an_open_transaction_stay_for_the_next_time(master: str) -> None:
    with psycopg.connect(master) as writer, connect(master) as connection:
        writer.execute("DELETE FROM products WHERE id = 1")
        run(master, "DELETE FROM products WHERE id = 2")
        assert take(connection, ["products"]).keys == {"products": {"2"}}
        connection.commit()
        writer.commit()
        assert take(connection, ["products"]).keys == {"products": {"1"}}


def test_taking_is_undone_by_a_rollback_and_gathers_each_key_once(master: str) -> None:
    run(master, *["UPDATE products SET name = name || '!' WHERE id = 1"] * 10)
    with connect(master) as connection:
        waiting = pending(connection, ["products"])
        assert waiting is not None
        assert waiting.entries == 10
        assert waiting.oldest_age >= 0
        assert pending(connection, ["others"]) is None
        assert take(connection, ["products"]).keys == {"products": {"1"}}
        connection.rollback()
        assert take(connection, ["products"]).keys == {"products": {"1"}}
        assert take(connection, ["products"]).keys == {}


def test_very_many_keys_are_the_whole_dataset(master: str) -> None:
    run(master, "UPDATE products SET name = 'x'")
    with connect(master) as connection:
        taken = take(connection, ["products"], most_keys=19)
    assert not taken.keys
    assert taken.whole == {"products"}


@pytest.mark.parametrize(
    ("ddl", "key", "complaint"),
    [
        ("CREATE TABLE t (a int)", (), "has no primary key"),
        ("CREATE TABLE t (a int UNIQUE)", ("a",), "'a' may be null"),
        ("CREATE TABLE t (a int NOT NULL)", ("a",), r"the key \(a\) is not unique"),
        ("CREATE TABLE t (a int NOT NULL); CREATE UNIQUE INDEX ON t (a) WHERE a > 0", ("a",), "is not unique"),
        ("CREATE TABLE t (a int PRIMARY KEY)", ("b",), "'b' does not exist"),
        ("CREATE VIEW t AS SELECT 1 AS a", ("a",), "this is a view, on which no trigger"),
        ("CREATE TABLE t (a int[] PRIMARY KEY)", (), "'a' is an array"),
        ("SELECT 1", (), "no such table"),
    ],
)
def test_a_table_that_cannot_be_distributed_says_why(
    database: Callable[[], str], ddl: str, key: tuple[str, ...], complaint: str
) -> None:
    url = database()
    run(url, ddl)
    with pytest.raises(SchemaError, match=complaint):
        sources(url, {"things": Dataset(table="t", key=key)})


def test_a_deferrable_or_wider_unique_index_is_a_key(database: Callable[[], str]) -> None:
    url = database()
    run(url, 'CREATE TABLE "Odd Names" (a int NOT NULL, "B b" text NOT NULL UNIQUE, c int)')
    source = sources(url, {"odd": Dataset(table='public."Odd Names"', key=("a", "B b"))})["odd"]
    assert source.schema.key == ("a", "B b")
    assert [(index.columns, index.unique) for index in source.schema.indexes] == [(("B b",), True)]


def test_money_is_written_in_one_locale_whatever_the_session_says(database: Callable[[], str]) -> None:
    url = database()
    run(url, "CREATE TABLE prices (price money PRIMARY KEY)")
    configured = datasets(prices="prices")
    install_capture(url, configured)
    with connect(url) as conn:
        assert conn.execute("SHOW lc_monetary").fetchone() == ("C",)
        found = conn.execute("SELECT proname, proconfig FROM pg_proc WHERE proname LIKE 'prices\\_%'").fetchall()
    assert len(found) == 4
    assert all("lc_monetary=C" in config for _, config in found)
