"""A file is loaded whole, or not at all and with the place of what is wrong."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distributor.errors import BadInputError, UsageError
from distributor.publishing.importing import ImportResult, import_file
from distributor.settings.models import Settings
from tests.capture.master import datasets, run, settings_for

DDL = """
CREATE TABLE products (
    sku varchar(8) PRIMARY KEY, name text NOT NULL, price numeric(8,2) CHECK (price >= 0),
    added date DEFAULT '2026-01-01', tags jsonb,
    image bytea, id int GENERATED ALWAYS AS IDENTITY, loud text GENERATED ALWAYS AS (upper(name)) STORED
)
"""
SELECT = "SELECT sku, name, price::text, added::text, tags::text FROM products ORDER BY sku"


@pytest.fixture
def settings(database: Callable[[], str], tmp_path: Path) -> Settings:
    """A master with one product."""
    url = database()
    run(url, DDL, "INSERT INTO products (sku, name, price) VALUES ('A', 'old', 1)")
    return settings_for(url, url, tmp_path / "store", datasets(products="products"))


def rows(settings: Settings) -> list[tuple[str | None, ...]]:
    with psycopg.connect(settings.master.url) as connection:
        return connection.execute(SELECT).fetchall()


OLD = ("A", "old", "1.00", "2026-01-01", None)


def test_csv_inserts_and_updates_by_key(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "products.csv"
    file.write_text('name,sku,price\nnew,A,2.5\n"a ""quoted"",\nname",B,\n"",C,3\n', encoding="utf-8-sig")
    assert import_file(settings, "products", file) == ImportResult("products", 3, 2, 1, 0)
    wanted = [
        ("A", "new", "2.50", "2026-01-01", None),
        ("B", 'a "quoted",\nname', None, "2026-01-01", None),
        ("C", "", "3.00", "2026-01-01", None),
    ]
    assert rows(settings) == wanted
    assert import_file(settings, "products", file) == ImportResult("products", 3, 0, 0, 0)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_csv_of_other_countries(settings: Settings, tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "products.CSV"
    file.write_bytes(
        delimiter.join(["sku", "name"]).encode() + b"\r\n" + delimiter.join(["B", "b,b"]).encode() + b"\r\n"
    )
    assert import_file(settings, "products", file).inserted == 1


def test_jsonl_keeps_numbers_as_written_and_takes_objects_and_lists_as_json(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "products.jsonl.gz"
    lines = (
        '{"sku": "A", "name": "\\u00fc\\n", "price": 100000.10, "tags": {"b": [1, null]}}\n\n{"sku": "B", "name": "b"}'
    )
    file.write_bytes(gzip.compress(lines.encode()))
    assert import_file(settings, "products", file) == ImportResult("products", 2, 1, 1, 0)
    assert rows(settings) == [
        ("A", "ü\n", "100000.10", "2026-01-01", '{"b": [1, null]}'),
        ("B", "b", None, "2026-01-01", None),
    ]


def test_parquet_brings_its_types(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "products.parquet"
    table = pa.table(
        {
            "sku": ["A", "B"],
            "name": pa.array(["a", "b"]).dictionary_encode(),
            "price": [Decimal("1.50"), None],
            "added": [date(2024, 2, 29), None],
            "tags": [[{"at": datetime(2024, 1, 1, tzinfo=UTC)}], []],
            "image": [b"\x00\xff", None],
        }
    )
    pq.write_table(table, file)
    assert import_file(settings, "products", file).inserted == 1
    assert rows(settings) == [
        ("A", "a", "1.50", "2024-02-29", '[{"at": "2024-01-01T00:00:00+00:00"}]'),
        ("B", "b", None, None, "[]"),
    ]
    with psycopg.connect(settings.master.url) as connection:
        assert connection.execute("SELECT image FROM products WHERE sku = 'A'").fetchone() == (b"\x00\xff",)


def test_replace_deletes_what_the_file_does_not_have(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "products.csv"
    file.write_text("sku,name\nB,b\n")
    assert import_file(settings, "products", file, replace=True, dry_run=True).deleted == 1
    assert rows(settings) == [OLD]
    assert import_file(settings, "products", file, replace=True) == ImportResult("products", 1, 1, 0, 1)
    assert [row[0] for row in rows(settings)] == ["B"]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("x.csv", b"sku,name,color\nB,b,red\n", "no column 'color'"),
        ("x.csv", b"name\nb\n", "lacks the key column 'sku'"),
        ("x.csv", b"sku,name,sku\nB,b,B\n", "'sku' is there twice"),
        ("x.csv", b"", "no column|no columns"),
        ("x.csv", b"sku,name\nB,b\nC,c\nB,d\n", r"rows 1 and 3 have the same key \(sku\) = \(B\)"),
        ("x.csv", b"sku,name\nB,b\n,c\n", "row 2, column sku: it has no value"),
        ("x.csv", b"sku,name\nB,\n", "row 1, column name: it has no value"),
        ("x.csv", b"sku,name,price\nB,b,1\nC,c,12 EUR\n", r"row 2, column price: '12 EUR' does not fit numeric\(8,2\)"),
        ("x.csv", b"sku,name,price\nB,b,1234567.00\n", "row 1, column price: .*field overflow"),
        ("x.csv", b"sku,name\nB,b\nmuch too long,c\n", "row 2, column sku: 'much too long' does not fit"),
        ("x.csv", b"sku,name,price\nB,b,-1\n", "violates check constraint"),
        ("x.csv", b"sku,name,loud\nB,b,B\n", "'loud' is computed by the table"),
        ("x.csv", b"sku,name\nB,b\nC\n", "line 3"),
        ("x.csv", b"sku,name\nB,b,c\n", "line 2: it has 3 values, and there are 2 columns"),
        ("x.csv", b'sku,name\nB,"b\n', "line 2: a quote is opened and never closed"),
        ("x.csv", b"sku,name\nB,\xff\n", "line 2: it is not UTF-8"),
        ("x.csv", b"sku,n\xffme\nB,b\n", "not UTF-8"),
        ("x.jsonl", b'{"sku": "B", "name": "b"}\n{"sku": "C", "nam\n', "line 2: this is no JSON object"),
        ("x.jsonl", b'{"sku": "B", "name": "b"}\n[1]\n', "line 2: this is no JSON object"),
        ("x.jsonl", b'{"sku": "B", "name": "b\\u0000"}\n', "Unicode"),
        ("x.jsonl", b'{"sku": "B", "name": "b", "price": {"a": 1}}\n', "row 1, column price"),
        ("x.jsonl", b'{"sku": "B", "nmae": "b"}\n', "no column 'nmae'"),
        ("x.parquet", b"PAR1", "Parquet"),
        ("x.csv.gz", b"not gzip", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_loaded(
    settings: Settings, tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(BadInputError, match=complaint) as caught:
        import_file(settings, "products", file)
    assert name in str(caught.value)
    assert rows(settings) == [OLD]


def test_what_is_asked_wrongly_is_a_usage_error(settings: Settings, tmp_path: Path) -> None:
    odd = tmp_path / "products.xlsx"
    odd.touch()
    with pytest.raises(UsageError, match="not CSV, JSONL or Parquet"):
        import_file(settings, "products", odd)
    with pytest.raises(UsageError, match="no such file"):
        import_file(settings, "products", tmp_path / "gone.csv")
    with pytest.raises(UsageError, match=r"no dataset 'prices'.*products"):
        import_file(settings, "prices", odd)
