"""Datasets without triggers: views and whatever else is compared whole; and triggers that are put to the proof."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from distributor.errors import BadInputError, SchemaError, UnreachableError
from distributor.model.manifest import Counts
from distributor.publishing import carrying
from distributor.publishing.publish import Publisher
from distributor.settings.models import Dataset
from tests.capture.master import datasets, journal
from tests.publishing.estate import Estate, Rows, texts

PRODUCTS = "CREATE TABLE products (id int, region text, name text)"
FILL = "INSERT INTO products SELECT n, 'eu', 'product ' || n FROM generate_series(1, 50) AS n"
VIEW = "CREATE VIEW sold AS SELECT id, upper(name) AS name FROM products WHERE region = 'eu'"
TEXTS = "SELECT id::text, name FROM sold"


def scanned(table: str, *key: str, **more: object) -> Dataset:
    return Dataset.model_validate({"table": table, "key": key, "capture": "scan", **more})


def make(database: Callable[[], str], path: Path, *ddl: str, **configured: Dataset) -> Estate:
    return Estate.create(database, path / "store", configured, PRODUCTS, FILL, *ddl, capture=False)


@pytest.fixture
def estate(database: Callable[[], str], tmp_path: Path) -> Estate:
    """A view of fifty rows, published as release 1."""
    made = make(database, tmp_path, VIEW, sold=scanned("sold", "id"))
    assert made.publish().counts == {"sold": Counts(inserts=50)}
    return made


def expected(estate: Estate) -> Rows:
    return texts(estate.master, TEXTS)


def test_a_view_is_compared_whole_and_published_by_its_difference(estate: Estate) -> None:
    estate.run(
        "UPDATE products SET name = 'new' WHERE id < 3",
        "UPDATE products SET region = 'us' WHERE id = 50",
        "INSERT INTO products VALUES (60, 'eu', NULL)",
    )
    result = estate.publish()
    assert (result.whole, result.counts) == (("sold",), {"sold": Counts(inserts=1, updates=2, deletes=1)})
    estate.check("sold", expected(estate))
    assert estate.publish().release is None


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (
            "INSERT INTO products SELECT id, region, 'twice' FROM products WHERE id < 3",
            "id=1 in 2 rows; id=2 in 2 rows",
        ),
        ("INSERT INTO products VALUES (NULL, 'eu', 'none')", "id is NULL in 1 row"),
        ("INSERT INTO products SELECT id, region, name FROM products", "id=13 in 2 rows; and others"),
    ],
)
def test_a_key_that_is_none_is_refused_with_samples(estate: Estate, bad: str, told: str) -> None:
    estate.run(bad)
    with pytest.raises(BadInputError, match="does not identify every row") as refused:
        estate.publish()
    assert told in str(refused.value)
    assert estate.head().release == 1
    estate.run("DELETE FROM products", FILL)
    assert estate.publish().release is None


def test_a_key_that_is_none_is_refused_at_the_first_release_too(database: Callable[[], str], tmp_path: Path) -> None:
    estate = make(database, tmp_path, VIEW, sold=scanned("sold", "name"))
    estate.run("UPDATE products SET name = 'same'")
    with pytest.raises(BadInputError, match="name=SAME in 50 rows"):
        estate.publish()


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        (Dataset(table="sold", key=("id",)), 'this is a view, on which no trigger sees a change.*capture = "scan"'),
        (scanned("sold"), "no primary key.*in `key`"),
        (scanned("sold", "sku"), "the key column 'sku' does not exist"),
    ],
)
def test_a_view_needs_scan_and_a_key(
    database: Callable[[], str], tmp_path: Path, wanted: Dataset, complaint: str
) -> None:
    estate = make(database, tmp_path, VIEW, sold=wanted)
    with pytest.raises(SchemaError, match=complaint):
        estate.publish()


def test_a_table_without_any_index_or_right_to_make_triggers(database: Callable[[], str], tmp_path: Path) -> None:
    estate = make(database, tmp_path, products=scanned("products", "id", "region"))
    assert estate.publish().counts == {"products": Counts(inserts=50)}
    estate.run("DELETE FROM products WHERE id > 48", "UPDATE products SET region = 'us' WHERE id = 1")
    assert estate.publish().counts == {"products": Counts(inserts=1, deletes=3)}
    rows = texts(estate.master, "SELECT id::text, region, name FROM products", 2)
    estate.check("products", rows)


def test_a_materialized_view_is_what_it_was_when_it_was_refreshed(database: Callable[[], str], tmp_path: Path) -> None:
    view = VIEW.replace("CREATE VIEW", "CREATE MATERIALIZED VIEW")
    estate = make(database, tmp_path, view, sold=scanned("sold", "id"))
    assert estate.publish().release == 1
    estate.run("DELETE FROM products WHERE id = 7")
    assert estate.publish().release is None
    estate.run("REFRESH MATERIALIZED VIEW sold")
    assert estate.publish().counts == {"sold": Counts(deletes=1)}
    estate.check("sold", expected(estate))


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
def test_a_view_that_changes_its_columns_is_drift(database: Callable[[], str], tmp_path: Path, kind: str) -> None:
    view = VIEW.replace("CREATE VIEW", f"CREATE {kind}")
    estate = make(database, tmp_path, view, sold=scanned("sold", "id", drift="evolve"))
    estate.publish()
    estate.run(f"DROP {kind} sold", view.replace("AS name", "AS title, region"))
    result = estate.publish()
    assert result.restarts == {"sold": ("column name is gone", "column region is new", "column title is new")}
    estate.check("sold", texts(estate.master, "SELECT id::text, title, region FROM sold"))


def test_a_view_over_a_table_that_is_reloaded_meanwhile_loses_nothing(estate: Estate) -> None:
    """The reload holds its lock when the publish begins, so the publish must not look before it has the lock too."""
    with psycopg.connect(estate.master) as loader:
        loader.execute("TRUNCATE products")
        loader.execute(FILL)
        publishing = threading.Thread(target=estate.publish)
        publishing.start()
        with psycopg.connect(estate.master, autocommit=True) as watching:
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'products'::regclass"
            while watching.execute(query).fetchall() == [(0,)]:
                assert publishing.is_alive()
        loader.commit()
        publishing.join(60)
    assert estate.head().release == 1
    estate.check("sold", expected(estate))


def test_a_materialized_view_that_is_made_anew_while_it_is_read_is_read_again(
    database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = VIEW.replace("CREATE VIEW", "CREATE MATERIALIZED VIEW")
    estate = make(database, tmp_path, view, sold=scanned("sold", "id"))
    estate.publish()
    look = carrying.all_rows

    def after_a_drop(*given: object) -> object:
        monkeypatch.setattr(carrying, "all_rows", look)
        estate.run("DROP MATERIALIZED VIEW sold", view)
        return look(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(carrying, "all_rows", after_a_drop)
    with pytest.raises(UnreachableError, match="made anew while it was read"):
        estate.publish()
    assert estate.publish().release is None
    estate.check("sold", expected(estate))


def test_a_foreign_table_is_compared_like_any_other(database: Callable[[], str], tmp_path: Path) -> None:
    estate = make(database, tmp_path, feed=scanned("feed", "id"))
    with psycopg.connect(estate.master, autocommit=True) as connection:
        there = "SELECT 1 FROM pg_available_extensions WHERE name = 'file_fdw'"
        if not connection.execute(there).fetchall():
            pytest.skip("this PostgreSQL has no file_fdw")
    file = tmp_path / "feed.csv"
    file.write_text("1,one\n2,two\n")
    file.chmod(0o644)
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    tmp_path.chmod(0o755)
    estate.run(
        "CREATE EXTENSION file_fdw",
        "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
        f"CREATE FOREIGN TABLE feed (id int, name text) SERVER files OPTIONS (filename '{file}', format 'csv')",
    )
    assert estate.publish().counts == {"feed": Counts(inserts=2)}
    file.write_text("2,TWO\n3,three\n")
    assert estate.publish().counts == {"feed": Counts(inserts=1, updates=1, deletes=1)}
    estate.check("feed", {("2",): ("2", "TWO"), ("3",): ("3", "three")})


def test_a_scan_happens_when_it_is_time_and_not_with_every_release(estate: Estate) -> None:
    estate.run("UPDATE products SET name = 'new' WHERE id = 1")
    with Publisher(estate.settings, estate.store) as publisher:
        assert publisher.publish(scans=()).release is None
        assert publisher.publish(scans=("sold",)).counts == {"sold": Counts(updates=1)}


def test_the_right_to_read_the_view_is_enough(estate: Estate) -> None:
    role = "reader_" + estate.master.rpartition("/")[2]
    estate.run(f"CREATE ROLE {role} LOGIN PASSWORD 's3cret'", f"GRANT SELECT ON sold TO {role}")
    try:
        parts = urlsplit(estate.master)
        url = parts._replace(netloc=f"{role}:s3cret@{parts.hostname}:{parts.port}").geturl()
        master = estate.settings.master.model_copy(update={"url": url})
        estate.settings = estate.settings.model_copy(update={"master": master})
        estate.run("DELETE FROM products WHERE id = 7")
        assert estate.publish().counts == {"sold": Counts(deletes=1)}
    finally:
        estate.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


KEYED = "CREATE TABLE products (id int PRIMARY KEY, region text, name text)"


@pytest.fixture
def watched(database: Callable[[], str], tmp_path: Path) -> Estate:
    """Fifty products with triggers, published as release 1; then a change that they see, and two that they do not."""
    made = Estate.create(database, tmp_path / "store", datasets(products="products"), KEYED, FILL)
    made.publish()
    made.run(
        "UPDATE products SET name = 'seen' WHERE id = 1",
        "ALTER TABLE products DISABLE TRIGGER USER",
        "UPDATE products SET name = 'unseen' WHERE id = 2",
        "DELETE FROM products WHERE id = 3",
    )
    with psycopg.connect(made.master, autocommit=True) as connection:
        for event in ("insert", "update", "delete", "truncate"):
            connection.execute(f"ALTER TABLE products ENABLE ALWAYS TRIGGER distributor_products_{event}".encode())
    return made


def test_triggers_are_put_to_the_proof_and_what_they_missed_is_published_and_told(watched: Estate) -> None:
    with Publisher(watched.settings, watched.store) as publisher:
        result = publisher.publish(scans=("products",))
        missed = result.missed["products"]
        assert missed
        assert (missed.rows, sorted(missed.keys)) == (2, [("2",), ("3",)])
        assert result.counts == {"products": Counts(updates=2, deletes=1)}
        assert publisher.publish(scans=("products",)).missed == {"products": None}
    told = watched.scalar(watched.ledger, "SELECT detail::text FROM ledger.audit WHERE what = 'missed changes'")
    assert '"rows": 2' in str(told)


def test_a_proof_that_publishes_nothing_changes_nothing(watched: Estate) -> None:
    for _ in range(2):
        missed = watched_missed(watched)
        assert missed == [("2",), ("3",)]
    assert journal(watched.master) == {"products": {"1"}}
    assert watched.head().release == 1
    assert watched.publish().counts == {"products": Counts(updates=1)}


def test_keys_of_several_columns_are_recognised_in_the_proof(database: Callable[[], str], tmp_path: Path) -> None:
    table = "CREATE TABLE rates (code text, zone text, rate int, PRIMARY KEY (code, zone))"
    estate = Estate.create(database, tmp_path, datasets(rates="rates"), table)
    estate.publish()
    estate.run("INSERT INTO rates VALUES ('ü\"', E'a\\n\\u0001', 1), ('', ',', 2)")
    with Publisher(estate.settings, estate.store) as publisher:
        result = publisher.publish(scans=("rates",))
    assert (result.missed, result.counts) == ({"rates": None}, {"rates": Counts(inserts=2)})


def watched_missed(estate: Estate) -> list[tuple[str | None, ...]]:
    with Publisher(estate.settings, estate.store) as publisher:
        missed = publisher.publish(dry_run=True, scans=("products",)).missed["products"]
    assert missed
    return sorted(missed.keys, key=str)
