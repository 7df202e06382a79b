"""Bad input never loses anything: broken records are named or put aside, and take no good one with them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.cli.main import main
from distributor.errors import BadInputError, UsageError
from distributor.publishing.importing import ImportResult, import_file
from distributor.publishing.records import records
from distributor.settings.models import Settings
from tests.capture.master import datasets, run, settings_for
from tests.cli.conftest import config_text

DDL = "CREATE TABLE products (sku text PRIMARY KEY, name text NOT NULL, price numeric(8,2), tags jsonb)"


@pytest.fixture
def settings(database: Callable[[], str], tmp_path: Path) -> Settings:
    url = database()
    run(url, DDL, "INSERT INTO products (sku, name) VALUES ('A', 'old')")
    return settings_for(url, url, tmp_path / "store", datasets(products="products"))


def stored(settings: Settings, query: str = "SELECT sku, name FROM products ORDER BY sku") -> list[Any]:
    with psycopg.connect(settings.master.url) as connection:
        return connection.execute(query).fetchall()


def put_aside(file: Path) -> list[tuple[int, str, str, str]]:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [(line.get("line") or line["row"], line["column"], line["reason"], line["record"]) for line in lines]


BROKEN = (
    "sku,name,price\n"
    'B,"two\nlines, ""quoted""",1\n'
    'C,24" wide,2\n'
    'D,"open,3\n'
    'E,"1920,1080",4\n'
    "F,torn\n"
    "in two,5\n"
    "\n"
    'G,"x"y,6\n'
    "H,h\n"
    "I,i,i,7\n"
    "J,\xff,8\n"
    "K,k,nine\n"
    ",l,10\n"
    "M,m,11\n"
    "N,n,12\n"
    "N,n,12\n"
    "O,o,13\n"
    "O,p,13\n"
)


def test_good_records_are_loaded_and_bad_ones_put_aside_with_their_reasons(settings: Settings, tmp_path: Path) -> None:
    file, aside = tmp_path / "products.csv", tmp_path / "bad.jsonl"
    file.write_bytes(BROKEN.encode("latin-1"))
    result = import_file(settings, "products", file, bad_records=aside)
    assert (result.rows, result.inserted, result.updated, result.copies, result.bad) == (5, 4, 0, 1, 12)
    assert stored(settings) == [
        ("A", "old"),
        ("B", 'two\nlines, "quoted"'),
        ("E", "1920,1080"),
        ("M", "m"),
        ("N", "n"),
    ]
    assert put_aside(aside) == [
        (4, "", "a quote stands in a value that is not quoted", 'C,24" wide,2'),
        (5, "", "text follows the quote that closes a value", 'D,"open,3'),
        (7, "", "it has 2 values, and there are 3 columns: torn by a line end", "F,torn"),
        (8, "", "it may be the rest of line 7, which is torn by a line end", "in two,5"),
        (10, "", "text follows the quote that closes a value", 'G,"x"y,6'),
        (11, "", "it has 2 values, and there are 3 columns", "H,h"),
        (12, "", "it has 4 values, and there are 3 columns", "I,i,i,7"),
        (13, "", "it is not UTF-8", "J,\\xff,8"),
        (14, "price", "'nine' does not fit numeric(8,2): invalid input syntax for type numeric: \"nine\"", "K,k,nine"),
        (15, "sku", "it has no value, and the column needs one", ",l,10"),
        (19, "", "2 different rows have the key (sku) = (O)", "O,o,13"),
        (20, "", "2 different rows have the key (sku) = (O)", "O,p,13"),
    ]


def test_without_a_place_for_them_all_are_named_and_nothing_is_loaded(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "products.csv"
    file.write_bytes(BROKEN.encode("latin-1"))
    with pytest.raises(BadInputError) as refused:
        import_file(settings, "products", file)
    text = str(refused.value)
    assert "8 records are broken: line 4: a quote stands in a value that is not quoted: 'C,24\" wide,2'; line 5" in text
    assert "load the others with `--bad-records FILE`. Nothing was loaded." in text
    assert stored(settings) == [("A", "old")]


def test_over_the_budget_nothing_is_loaded_and_nothing_written(settings: Settings, tmp_path: Path) -> None:
    file, aside = tmp_path / "products.csv", tmp_path / "bad.jsonl"
    file.write_bytes(BROKEN.encode("latin-1"))
    with pytest.raises(BadInputError, match=r"records are broken and at most 3 may be \(--max-bad\)"):
        import_file(settings, "products", file, bad_records=aside, most_bad=3)
    assert (stored(settings), aside.exists()) == ([("A", "old")], False)
    import_file(settings, "products", file, bad_records=aside, dry_run=True)
    assert (stored(settings), aside.exists()) == ([("A", "old")], False)
    aside.write_text("mine")
    with pytest.raises(UsageError, match="there is such a file already"):
        import_file(settings, "products", file, bad_records=aside)
    with pytest.raises(UsageError, match="nobody knows what it was"):
        import_file(settings, "products", file, bad_records=tmp_path / "other.jsonl", replace=True)
    with pytest.raises(BadInputError, match="cannot be written"):
        import_file(settings, "products", file, bad_records=tmp_path / "no" / "such.jsonl")
    assert stored(settings) == [("A", "old")]


def test_json_lines_that_are_none_are_put_aside(settings: Settings, tmp_path: Path) -> None:
    file, aside = tmp_path / "products.jsonl", tmp_path / "bad.jsonl"
    lines = [
        b'{"sku": "B", "name": "b", "tags": 5}',
        b'{"sku": "C", "name": "c", "tags": [5, {"a": null}]}',
        b'{"sku": "D", "nam',
        b"[1]",
        b'{"sku": "E", "name": "\\u0000"}',
        b'{"sku": "F", "name": "f", "name": "g"}',
        b'{"sku": "G", "name": "\xff"}',
        b'{"sku": "H", "name": "\\ud800"}',
        b'{"sku": "I", "name": "back\\\\u0000slash"}',
        b'{"sku": "B", "name": "b", "tags": 5}',
        b'{"sku": "J"}',
    ]
    file.write_bytes(b"\n".join(lines))
    assert import_file(settings, "products", file, bad_records=aside).copies == 1
    assert stored(settings, "SELECT sku, name, tags::text FROM products ORDER BY sku") == [
        ("A", "old", None),
        ("B", "b", "5"),
        ("C", "c", '[5, {"a": null}]'),
        ("I", "back\\u0000slash", None),
    ]
    reasons = {line: reason for line, _, reason, _ in put_aside(aside)}
    assert reasons.keys() == {3, 4, 5, 6, 7, 8, 11}
    assert "the name 'name' is there twice" in reasons[6]
    assert reasons[11] == "it has no value, and the column needs one"


def test_exact_copies_count_once_and_different_rows_of_one_key_are_named(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "products.csv"
    file.write_text("sku,name,price\nB,b,1\nB,b,1\nC,,\nB,b,1\n".replace("C,,", 'C,"",'))
    assert import_file(settings, "products", file) == ImportResult("products", 4, 2, 0, 0, copies=2)
    file.write_text('sku,name\nD,"a\nb"\nE,e\nD,d\n')
    with pytest.raises(BadInputError, match=r"rows 1 and 3 have the same key \(sku\) = \(D\) \(lines 2 and 5\)"):
        import_file(settings, "products", file)


def test_line_ends_inside_a_value_are_kept_and_a_lone_end_marker_ends_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "products.csv"
    file.write_bytes(b'sku,name\r\nB,"a\r\nb\rc\nd"\r\nC,c\r\n\r\n')
    import_file(settings, "products", file)
    assert stored(settings)[1:] == [("B", "a\r\nb\rc\nd"), ("C", "c")]
    url = settings.master.url
    run(url, "CREATE TABLE words (word text PRIMARY KEY)")
    words = settings_for(url, url, tmp_path / "store", datasets(words="words"))
    file.write_bytes(b"word\na\n\\.\nb\n")
    assert import_file(words, "words", file).inserted == 3


@given(
    rows=st.lists(st.lists(st.text(st.sampled_from('ab,"\n;é'), max_size=6), min_size=3, max_size=3), max_size=8),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_a_writer_of_csv_writes_is_read_as_records(rows: list[list[str]], ending: str) -> None:
    """Against Python's own writer and reader, with every value quoted or only those that need it."""
    for quoting in (csv.QUOTE_ALL, csv.QUOTE_MINIMAL):
        written = io.StringIO(newline="")
        csv.writer(written, lineterminator=ending, quoting=quoting).writerows(rows)
        found = list(records(io.BytesIO(written.getvalue().encode()), 3, ",", 1))
        assert [record.reason for record in found] == [""] * len(rows)
        assert [next(csv.reader(io.StringIO(record.text, newline=""))) for record in found] == rows


LINES = ["a,b,c", 'a,"b"', 'a,"b', 'c"', '"x,y",b,c', "", "a", '"', "é,\x00,c"]


@given(st.lists(st.sampled_from(LINES), max_size=12))
def test_every_line_is_in_one_record_and_in_order(lines: list[str]) -> None:
    text = "".join(line + "\n" for line in lines)
    found = list(records(io.BytesIO(text.encode()), 3, ",", 1))
    told = [line for record in found for line in record.text.split("\n")]
    assert [line for line in told if line] == [line for line in lines if line]


# Lines that are broken, and how many records these were.
DIRTY = {
    "pc-internal-hard-drive": ({2063, 3643, 3644, 4706, 4707}, 3),
    "pc-monitor": ({1054, 2057}, 2),
    "pc-thermal-paste": ({55}, 1),
}


@pytest.mark.parametrize("name", DIRTY)
def test_real_broken_files(database: Callable[[], str], tmp_path: Path, shared_data: Path, name: str) -> None:
    """What is loaded is what the author's own repaired file has, but for the records that are put aside."""
    broken, lost = DIRTY[name]
    before = shared_data / "dirty" / f"{name}.2023-11-16.before-fix.csv.gz"
    after = shared_data / "dirty" / f"{name}.2023-11-16.after-fix-2.csv.gz"
    if not before.is_file():
        pytest.skip(f"no data set: {before} is missing")
    header, _, rest = gzip.decompress(before.read_bytes()).partition(b"\n")
    columns = header.decode().split(",")
    read = list(records(io.BytesIO(rest), len(columns), ",", 2))
    assert {record.line for record in read if record.reason} == broken
    good = Counter(tuple(next(csv.reader([record.text]))) for record in read if not record.reason)
    repaired = Counter(map(tuple, list(csv.reader(gzip.decompress(after.read_bytes()).decode().splitlines()))[1:]))
    assert not good - repaired
    assert (repaired - good).total() == lost
    # There is no key but the whole record, with NULL as ''; exact copies are then one row.
    url = database()
    listed = ", ".join(columns)
    typed = ", ".join(f"{column} text NOT NULL" for column in columns)
    run(url, f"CREATE TABLE parts ({typed}, PRIMARY KEY ({listed}))")
    settings = settings_for(url, url, tmp_path / "store", datasets(parts="parts"))
    with pytest.raises(BadInputError, match=f"line {min(broken)}: a quote stands in a value that is not quoted"):
        import_file(settings, "parts", before)
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows([columns, *good.elements()])
    filled = tmp_path / "filled.csv"
    # The broken lines as they are, behind the others.
    filled.write_text(written.getvalue() + "".join(r.text + "\n" for r in read if r.reason), newline="")
    aside = tmp_path / "bad.jsonl"
    result = import_file(settings, "parts", filled, bad_records=aside)
    assert (result.inserted, result.copies, result.bad) == (len(good), good.total() - len(good), len(broken))
    assert set(stored(settings, f"SELECT {listed} FROM parts")) == good.keys()
    assert [record for *_, record in put_aside(aside)] == [record.text for record in read if record.reason]


def test_a_real_feed_that_repeats_its_pages(database: Callable[[], str], tmp_path: Path, shared_data: Path) -> None:
    """41,188 of its 43,574 rows are exact copies, as its README counts them."""
    feed = shared_data / "pc-part-prices" / "parts-2021-01-15.jsonl.gz"
    if not feed.is_file():
        pytest.skip(f"no data set: {feed} is missing")
    lines = [json.loads(line) for line in gzip.decompress(feed.read_bytes()).splitlines()]
    fields = sorted({name for line in lines for name in line} - {"category", "name"})
    url = database()
    columns = ", ".join('"' + name.replace('"', '""') + '" text' for name in fields)
    run(url, f"CREATE TABLE parts (category text, name text, {columns}, PRIMARY KEY (category, name))")
    settings = settings_for(url, url, tmp_path / "store", datasets(parts="parts"))
    with pytest.raises(BadInputError, match=r"rows \d+ and \d+ have the same key \(category, name\)"):
        import_file(settings, "parts", feed)
    aside = tmp_path / "bad.jsonl"
    result = import_file(settings, "parts", feed, bad_records=aside)
    different = Counter(
        (line["category"], line["name"])
        for line in map(json.loads, {json.dumps(line, sort_keys=True) for line in lines})
    )
    alone = sum(1 for count in different.values() if count == 1)
    assert result.copies == 41_188
    assert (result.inserted, result.bad) == (alone, sum(count for count in different.values() if count > 1))


def test_a_real_field_that_is_a_number_here_and_a_list_there(
    database: Callable[[], str], tmp_path: Path, shared_data: Path
) -> None:
    feed = shared_data / "pc-part-prices" / "parts-2025-07-23.jsonl.gz"
    if not feed.is_file():
        pytest.skip(f"no data set: {feed} is missing")
    lines = [json.loads(line) for line in gzip.decompress(feed.read_bytes()).splitlines()]
    kinds: dict[tuple[str, str], set[type]] = {}
    for line in lines:
        for field, value in line.items():
            if isinstance(value, int | float | list):
                kinds.setdefault((line["category"], field), set()).add(list if isinstance(value, list) else float)
    mixed = sorted(place for place, found in kinds.items() if len(found) > 1)
    assert mixed
    category, field = mixed[0]
    wanted = {
        line["name"]: line[field] for line in lines if line["category"] == category and line.get(field) is not None
    }
    file = tmp_path / "parts.jsonl"
    file.write_text("\n".join(json.dumps({"name": name, "value": value}) for name, value in wanted.items()))
    url = database()
    run(
        url,
        "CREATE TABLE parts (name text PRIMARY KEY, value jsonb)",
        "CREATE TABLE numbers (name text PRIMARY KEY, value numeric)",
    )
    settings = settings_for(url, url, tmp_path / "store", datasets(parts="parts", numbers="numbers"))
    import_file(settings, "parts", file)
    with psycopg.connect(url) as connection:
        assert dict(connection.execute("SELECT name, value FROM parts").fetchall()) == wanted
    with pytest.raises(BadInputError, match=r"column value: '\[.*does not fit numeric"):
        import_file(settings, "numbers", file)
    lists = [value for value in wanted.values() if isinstance(value, list)]
    result = import_file(settings, "numbers", file, bad_records=tmp_path / "bad.jsonl", most_bad=len(wanted))
    assert (result.bad, result.inserted) == (len(lists), len(wanted) - len(lists))


def test_the_verb_says_what_was_put_aside(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, file = settings.master.url, tmp_path / "distributor.toml"
    file.write_text(config_text(url, url, "amqp://h/"))
    feed, aside = tmp_path / "products.csv", tmp_path / "bad.jsonl"
    feed.write_text('sku,name\nB,b\nB,b\nC,24" wide\n')
    options = ["import", "products", str(feed), "--config", str(file)]
    assert main(options) == 1
    assert "line 4: a quote stands in a value that is not quoted: 'C,24\" wide'" in capsys.readouterr().err
    assert main([*options, "--bad-records", str(aside), "--max-bad", "0"]) == 1
    assert main([*options, "--bad-records", str(aside)]) == 0
    # Where a line is broken is the terminal's business.
    assert " ".join(capsys.readouterr().out.split()) == (
        "products: 2 rows read; 1 inserted, 0 updated, 0 deleted"
        " 1 exact copy of other rows taken once"
        " 1 bad record put aside: line 4: a quote stands in a value that is not quoted: 'C,24\" wide'"
    )
