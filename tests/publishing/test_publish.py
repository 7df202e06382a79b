"""A release is exactly what changed on the master: seen by an oracle that replays every changeset row by row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from distributor.capture.rows import KEYS_PER_SLICE
from distributor.errors import BadInputError, NotInitialisedError, SchemaError, UnreachableError
from distributor.model.manifest import Counts
from distributor.publishing.publish import Publisher
from distributor.settings.models import Dataset
from tests.capture.master import datasets, install_capture, journal
from tests.publishing.estate import Estate, Rows, texts

PRODUCTS = "CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(10,2))"
FILL = "INSERT INTO products SELECT n, 'product ' || n, n + 0.50 FROM generate_series(1, 50) AS n"


def expected(estate: Estate) -> Rows:
    return texts(estate.master, "SELECT id::text, name, trim_scale(price)::text FROM products")


@pytest.fixture
def estate(database: Callable[[], str], tmp_path: Path) -> Estate:
    """Fifty products, published as release 1."""
    made = Estate.create(database, tmp_path / "store", datasets(products="products"), PRODUCTS, FILL)
    first = made.publish()
    assert (first.release, first.rows, first.whole) == (1, 50, ("products",))
    return made


def test_the_first_release_is_everything(estate: Estate) -> None:
    estate.check("products", expected(estate))
    manifest = estate.head()
    assert (manifest.release, manifest.parent_release, manifest.parent) == (1, 0, None)
    assert manifest.counts == {"products": Counts(inserts=50)}
    assert estate.scalar(estate.ledger, "SELECT type FROM ledger.outbox") == "pd.release.announced.v1"


def test_inserts_updates_and_deletes(estate: Estate) -> None:
    estate.run(
        "INSERT INTO products VALUES (51, 'new', 1), (52, NULL, NULL)",
        "UPDATE products SET name = 'changed' WHERE id BETWEEN 1 AND 3",
        "DELETE FROM products WHERE id IN (10, 11)",
        "UPDATE products SET id = 900 WHERE id = 20",
    )
    result = estate.publish()
    assert result.counts == {"products": Counts(inserts=3, updates=3, deletes=3)}
    assert estate.head().parent_release == 1
    estate.check("products", expected(estate))


def test_more_keys_than_are_read_at_once(estate: Estate) -> None:
    more = KEYS_PER_SLICE + 500
    estate.run(f"INSERT INTO products SELECT n, 'product ' || n, n FROM generate_series(51, {50 + more}) AS n")
    assert estate.publish().counts == {"products": Counts(inserts=more)}
    estate.run("UPDATE products SET name = NULL WHERE id % 3 = 0", "DELETE FROM products WHERE id % 3 = 1",
               "UPDATE products SET price = price WHERE id % 3 = 2")  # fmt: skip
    assert estate.publish().counts == {"products": Counts(updates=(more + 50) // 3, deletes=(more + 52) // 3)}
    estate.check("products", expected(estate))


def test_only_the_net_change_counts(estate: Estate) -> None:
    estate.run(
        *[f"UPDATE products SET name = 'turn {turn}' WHERE id = 1" for turn in range(10)],
        "INSERT INTO products VALUES (60, 'short', 1)",
        "DELETE FROM products WHERE id = 60",
        "UPDATE products SET name = name WHERE id < 30",
        "DELETE FROM products WHERE id = 2",
        "INSERT INTO products VALUES (2, 'product 2', 2.500)",
    )
    assert estate.publish().counts == {"products": Counts(updates=1)}
    estate.check("products", expected(estate))


def test_nothing_changed_makes_no_release_but_takes_the_keys(estate: Estate) -> None:
    estate.run("UPDATE products SET name = name")
    result = estate.publish()
    assert (result.release, result.rows) == (None, 0)
    assert journal(estate.master) == {}
    assert estate.head().release == 1


def test_truncate_and_reload_is_the_difference(estate: Estate) -> None:
    estate.run("TRUNCATE products", FILL, "UPDATE products SET name = 'x' WHERE id = 5")
    assert estate.publish().counts == {"products": Counts(updates=1)}
    estate.run("TRUNCATE products")
    assert estate.publish().counts == {"products": Counts(deletes=50)}
    estate.check("products", {})


def test_a_dry_run_counts_and_changes_nothing(estate: Estate) -> None:
    estate.run("UPDATE products SET name = 'x' WHERE id = 1")
    before = sorted(estate.store.path.rglob("*"))
    result = estate.publish(dry_run=True)
    assert (result.release, result.counts) == (None, {"products": Counts(updates=1)})
    assert sorted(estate.store.path.rglob("*")) == before
    assert journal(estate.master) == {"products": {"1"}}
    assert estate.publish().release == 2


def test_without_triggers_every_publish_compares_the_whole_table(database: Callable[[], str], tmp_path: Path) -> None:
    estate = Estate.create(database, tmp_path, datasets(products="products"), PRODUCTS, FILL, capture=False)
    estate.publish()
    estate.run("UPDATE products SET name = 'x' WHERE id = 1", "DELETE FROM products WHERE id = 2")
    result = estate.publish()
    assert result.whole == ("products",)
    assert result.counts == {"products": Counts(updates=1, deletes=1)}
    estate.check("products", expected(estate))
    assert estate.publish().release is None


@pytest.mark.parametrize(
    "behind_the_triggers",
    [
        "ALTER TABLE products ALTER COLUMN name TYPE text USING upper(name)",
        "ALTER TABLE products RENAME TO old; CREATE TABLE products (LIKE old INCLUDING ALL);"
        " INSERT INTO products SELECT id + 1, name, price FROM old",
        "ALTER TABLE products DISABLE TRIGGER USER; DELETE FROM products WHERE id = 7",
        "ALTER TABLE products DROP COLUMN name; ALTER TABLE products ADD COLUMN name text",
    ],
)
def test_what_triggers_cannot_see_is_not_missed(estate: Estate, behind_the_triggers: str) -> None:
    estate.run(behind_the_triggers)
    result = estate.publish()
    assert result.whole == ("products",)
    assert result.release == 2
    estate.check("products", expected(estate))


def test_a_new_dataset_is_taken_whole_and_one_that_left_stays_as_it_was(estate: Estate) -> None:
    estate.run("CREATE TABLE brands (name text PRIMARY KEY, rank int)", "INSERT INTO brands VALUES ('b', 1)")
    configured = datasets(brands="brands")
    master = estate.settings.master.model_copy(update={"datasets": configured})
    estate.settings = estate.settings.model_copy(update={"master": master})
    install_capture(estate.master, configured)
    result = estate.publish()
    assert result.counts == {"brands": Counts(inserts=1)}
    estate.check("brands", {("b",): ("b", "1")})
    estate.check("products", expected(estate))
    assert [schema.dataset for schema in estate.head().schemas] == ["brands", "products"]


def test_an_empty_dataset_is_a_release_too(database: Callable[[], str], tmp_path: Path) -> None:
    estate = Estate.create(database, tmp_path, datasets(products="products"), PRODUCTS)
    assert estate.publish().release == 1
    estate.check("products", {})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("ALTER TABLE products ADD COLUMN colour text", "column colour is new"),
        ("ALTER TABLE products DROP COLUMN price", "column price is gone"),
        ("ALTER TABLE products ALTER COLUMN price TYPE numeric(12,4)", r"was decimal\(10,2\) and is decimal\(12,4\)"),
        (
            "ALTER TABLE products DROP CONSTRAINT products_pkey; ALTER TABLE products ALTER name SET NOT NULL;"
            " ALTER TABLE products ADD PRIMARY KEY (name)",
            r"the key was \(id\) and is \(name\)",
        ),
    ],
)
def test_drift_is_named_and_loses_nothing(estate: Estate, change: str, complaint: str) -> None:
    estate.run("UPDATE products SET name = 'x' WHERE id = 1", change)
    with pytest.raises(SchemaError, match=complaint):
        estate.publish()
    assert journal(estate.master) == {"products": {"1"}}
    assert estate.head().release == 1


def test_a_change_that_copies_need_not_follow_is_no_drift(estate: Estate) -> None:
    estate.run(
        "CREATE INDEX ON products (price)",
        "UPDATE products SET name = 'x' WHERE id = 1",
        "ALTER TABLE products ALTER name SET NOT NULL",
    )
    before = estate.head().schema_fingerprint
    assert estate.publish().release == 2
    assert estate.head().schema_fingerprint == before


def test_composite_keys_with_awkward_texts(database: Callable[[], str], tmp_path: Path) -> None:
    configured = {"prices": Dataset(table="prices", key=("code", "Region"))}
    estate = Estate.create(
        database,
        tmp_path,
        configured,
        'CREATE TABLE prices (amount int, "Region" text NOT NULL, code numeric NOT NULL, UNIQUE ("Region", code))',
        "INSERT INTO prices VALUES (1, '', 1.0), (2, '\"', 1.10), (3, E'a\\n,\\\\b', 2), (4, 'ü''', 2)",
    )
    query = 'SELECT amount::text, "Region", trim_scale(code)::text FROM prices'

    def rows() -> Rows:
        return {(row[2], row[1]): row for row in texts(estate.master, query, 3).values()}

    estate.publish()
    estate.check("prices", rows())
    estate.run(
        "UPDATE prices SET amount = amount + 10",
        "DELETE FROM prices WHERE \"Region\" = ''",
        "UPDATE prices SET \"Region\" = 'new' WHERE amount = 14",
    )
    assert estate.publish().counts == {"prices": Counts(inserts=1, updates=2, deletes=2)}
    estate.check("prices", rows())


def test_columns_with_a_percent_sign(database: Callable[[], str], tmp_path: Path) -> None:
    table = 'CREATE TABLE rates ("vat %" text PRIMARY KEY, "%s" int, "%(keys)s" text)'
    estate = Estate.create(
        database, tmp_path / "store", datasets(rates="rates"), table, "INSERT INTO rates VALUES ('19', 1, 'a')"
    )
    assert estate.publish().counts == {"rates": Counts(inserts=1)}
    estate.run("""INSERT INTO rates VALUES ('7', 2, 'b')""", """UPDATE rates SET "%(keys)s" = 'c' WHERE "%s" = 1""")
    assert estate.publish().counts == {"rates": Counts(inserts=1, updates=1)}
    estate.check("rates", texts(estate.master, 'SELECT "vat %", "%s"::text, "%(keys)s" FROM rates'))
    estate.run("""DELETE FROM rates WHERE "vat %" = '7'""")
    assert estate.publish().counts == {"rates": Counts(deletes=1)}


def test_a_ledger_that_was_never_made_says_so(database: Callable[[], str], tmp_path: Path) -> None:
    estate = Estate.create(database, tmp_path, datasets(products="products"), PRODUCTS)
    ledger = estate.settings.ledger.model_copy(update={"url": database()})
    estate.settings = estate.settings.model_copy(update={"ledger": ledger})
    with pytest.raises(NotInitialisedError, match="distributor init"):
        estate.publish()


def test_an_unreachable_master_is_named_without_its_password(estate: Estate) -> None:
    url = "postgresql://somebody:s3cret@127.0.0.1:1/nowhere"
    master = estate.settings.master.model_copy(update={"url": url})
    estate.settings = estate.settings.model_copy(update={"master": master})
    with pytest.raises(UnreachableError, match=r"master 127\.0\.0\.1:1/nowhere") as caught:
        estate.publish()
    assert "s3cret" not in str(caught.value)


def test_the_same_publisher_goes_on_after_its_connections_were_cut(estate: Estate) -> None:
    with Publisher(estate.settings, estate.store) as publisher:
        publisher.publish()
        estate.run("UPDATE products SET name = 'x' WHERE id = 1")
        with psycopg.connect(estate.master, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'distributor publisher' AND datname = current_database()"
            )
        with pytest.raises(UnreachableError):
            publisher.publish()
        assert publisher.publish().release == 2


def test_rows_that_a_policy_hides_are_an_error_and_not_deleted(estate: Estate) -> None:
    role = "reader_" + estate.master.rpartition("/")[2]
    estate.run(
        f"CREATE ROLE {role} LOGIN PASSWORD 's3cret'",
        f"GRANT SELECT ON products TO {role}",
        f"GRANT USAGE ON SCHEMA distributor_capture TO {role}",
        f"GRANT SELECT, DELETE ON distributor_capture.changed_keys TO {role}",
        "ALTER TABLE products ENABLE ROW LEVEL SECURITY",
        "UPDATE products SET name = 'x' WHERE id = 1",
    )
    try:
        parts = urlsplit(estate.master)
        url = parts._replace(netloc=f"{role}:s3cret@{parts.hostname}:{parts.port}").geturl()
        owner = estate.settings.master
        estate.settings = estate.settings.model_copy(update={"master": owner.model_copy(update={"url": url})})
        with pytest.raises(SchemaError, match="row-level security"):
            estate.publish()
        assert estate.head().release == 1
    finally:
        estate.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_key_too_long_for_an_index_is_named(database: Callable[[], str], tmp_path: Path) -> None:
    estate = Estate.create(database, tmp_path, datasets(things="things"), "CREATE TABLE things (key bytea PRIMARY KEY)")
    estate.run("INSERT INTO things SELECT decode(string_agg(md5(n::text), ''), 'hex') FROM generate_series(1, 160) n")
    with pytest.raises(BadInputError, match="beyond what can be kept"):
        estate.publish()


def test_a_value_without_a_canonical_text_names_its_dataset(database: Callable[[], str], tmp_path: Path) -> None:
    estate = Estate.create(
        database, tmp_path, datasets(things="things"), "CREATE TABLE things (id int PRIMARY KEY, written json)"
    )
    estate.run("INSERT INTO things VALUES (1, '\"\\u0000\"')")
    with pytest.raises(BadInputError, match="dataset things: a value has no canonical text"):
        estate.publish()
    estate.run("UPDATE things SET written = '1'")
    assert estate.publish().release == 1
