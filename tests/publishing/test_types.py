"""Every logical type, with its nastiest values: what is published is what the test's own SQL says it should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from distributor.model.manifest import Counts
from distributor.settings.models import Dataset
from tests.capture.master import datasets, sources
from tests.publishing.estate import Estate, Rows, texts

# Type in the master, logical type, its canonical text in SQL, values.
COLUMNS: dict[str, tuple[str, str, str, list[str]]] = {
    "small": ("smallint", "integer", "{}::text", ["-32768", "0"]),
    "whole": ("bigint", "integer", "{}::text", ["9223372036854775807", "-1"]),
    "flag": ("boolean", "boolean", "CASE {} WHEN true THEN 'true' WHEN false THEN 'false' END", ["true", "false"]),
    "amount": (
        "numeric(12,4)",
        "decimal(12,4)",
        "trim_scale({})::text",
        ["1.5000", "100.0000", "-0.0001", "0", "NaN"],
    ),
    "coarse": ("numeric(3,-2)", "decimal(3,-2)", "trim_scale({})::text", ["12300", "-99900"]),
    "free": (
        "numeric",
        "decimal",
        "trim_scale({})::text",
        ["1e300", "0." + "0" * 200 + "10", "Infinity", "-Infinity", "NaN", "123456789012345678901234567890.10"],
    ),
    "single": ("real", "double", "{}::text", ["1.1", "1e-30", "NaN", "-0"]),
    "double": (
        "double precision",
        "double",
        "{}::text",
        ["1e300", "-0", "NaN", "Infinity", "0.1", "1e15", "1e-5"],
    ),
    "day": ("date", "date", "{}::text", ["2024-02-29", "infinity", "0001-01-01 BC", "12345-01-01"]),
    "clock": ("time", "time", "{}::text", ["24:00:00", "23:59:59.999999", "12:00:00.5"]),
    "moment": ("timestamp", "timestamp", "{}::text", ["2024-02-29 12:00:00.100", "-infinity"]),
    "instant": (
        "timestamptz",
        "timestamptz",
        "({} AT TIME ZONE 'UTC')::text || '+00'",
        ["2024-07-01 00:00:00+02", "1970-01-01 00:00:00.000001+00"],
    ),
    "identity": ("uuid", "uuid", "{}::text", ["09A3F61E39C44EB396E828C7B8D344D2"]),
    "octets": ("bytea", "bytes", r"'\x' || encode({}, 'hex')", [r"\x00ff", r"\x"]),
    "document": (
        "jsonb",
        "json",
        "{}::text",
        ['{"bc":1.50,"a":[1,{"x":null}],"a":2}', '"text"', "null", '"\\u00fc\\n"'],
    ),
    "written": ("json", "json", "{}::jsonb::text", ['{"b" :1,  "a":1, "b":2}', "1e2"]),
    "list": ("int[]", "json", "to_jsonb({})::text", ["{1,NULL,3}", "{}", "{{1,2},{3,4}}"]),
    "words": ("text[]", "json", "to_jsonb({})::text", ['{"a,b","\\"",NULL,""}']),
    "note": (
        "text",
        "text",
        "{}",
        ["", " ", "NULL", "\\N", "\\.", '"', '""', "'", "a,b", "a\nb", "a\r\nb", "\r", "\t", "ü😀\u2028", "\\", "-"],
    ),
    "short": ("varchar(5)", "text", "{}::text", ["", "abc  "]),
    "padded": ("char(5)", "text", "rtrim({}::text)", ["ab", ""]),
    "mood": ("mood", "text", "{}::text", ["it's fine", "Bad"]),
    "positive": ("positive", "decimal(10,2)", "trim_scale({}::numeric)::text", ["1.50", "7"]),
    "nested": ("nested", "decimal(10,2)", "trim_scale({}::numeric)::text", ["1.50"]),
    "span": ("interval", "text", "{}::text", ["1 day 02:00", "1 year 3 mons"]),
    "address": ("inet", "text", "{}::text", ["10.0.0.1/8"]),
    "pair": ("int4range", "text", "{}::text", ["[1,5)", "empty"]),
}
DDL = (
    "CREATE TYPE mood AS ENUM ('it''s fine', 'Bad')",
    "CREATE DOMAIN positive AS numeric(10,2) CHECK (VALUE > 0)",
    "CREATE DOMAIN nested AS positive",
    "CREATE TABLE things (id int PRIMARY KEY, "
    + ", ".join(f'"{name}" {column[0]}' for name, column in COLUMNS.items())
    + ', twice int GENERATED ALWAYS AS (small * 2) STORED, "virtual" int GENERATED ALWAYS AS (small + 1) STORED)',
)
# Columns that are computed when they are read came with this version; before, all were stored.
VIRTUAL_SINCE = 180000


def expected(url: str) -> Rows:
    """The master's rows by the test's own expressions, under a session of its own."""
    columns = ["id::text", *(column[2].format(f'"{name}"') for name, column in COLUMNS.items())]
    with psycopg.connect(url) as connection:
        connection.execute("SET TimeZone = 'Asia/Tokyo'; SET IntervalStyle = 'iso_8601'; SET bytea_output = 'escape'")
        query = f'SELECT {", ".join(columns)}, twice::text, "virtual"::text FROM things'
        return {row[:1]: row for row in connection.execute(query).fetchall()}


def fill(url: str) -> None:
    """One row per value, all other columns NULL; and a row of nothing but NULL."""
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO things (id) VALUES (0)")
        number = 0
        for name, column in COLUMNS.items():
            for value in column[3]:
                number += 1
                connection.execute(f'INSERT INTO things (id, "{name}") VALUES (%s, %s::{column[0]})', [number, value])


def test_every_type_travels_in_the_first_release_and_as_a_change(database: Callable[[], str], tmp_path: Path) -> None:
    estate = Estate.create(database, tmp_path, datasets(things="things"), *DDL)
    with psycopg.connect(estate.master) as connection:
        if connection.info.server_version >= VIRTUAL_SINCE:
            connection.execute('ALTER TABLE things DROP "virtual", ADD "virtual" int GENERATED ALWAYS AS (small + 1)')
    fill(estate.master)
    estate.publish()
    estate.check("things", expected(estate.master))
    schema = estate.head().schema_of("things")
    types = {column.name: str(column.type) for column in schema.columns}
    assert {name: types[name] for name in COLUMNS} == {name: column[1] for name, column in COLUMNS.items()}
    source = sources(estate.master, datasets(things="things"))["things"]
    assert source.as_plain_text == ("span", "address", "pair")
    estate.run("UPDATE things SET id = id + 1000")
    result = estate.publish()
    assert result.counts["things"].inserts == result.counts["things"].deletes == len(expected(estate.master))
    estate.check("things", expected(estate.master))
    estate.run("UPDATE things SET small = 1", "UPDATE things SET id = id")
    estate.publish()
    estate.check("things", expected(estate.master))
    estate.run("TRUNCATE things")
    fill(estate.master)
    estate.publish()
    estate.check("things", expected(estate.master))


@pytest.mark.parametrize(
    ("type_", "text", "values"),
    [
        ("text", "key", ["", " ", '"', "\\", "a\nb", "ü", "NULL", "{}", ","]),
        ("numeric", "trim_scale(key)::text", ["1.10", "1e30", "0.00", "-0.5"]),
        ("double precision", "key::text", ["0.1", "1e300", "-0", "NaN"]),
        ("timestamptz", "(key AT TIME ZONE 'UTC')::text || '+00'", ["2024-01-01 00:00+05", "infinity"]),
        ("uuid", "key::text", ["09A3F61E39C44EB396E828C7B8D344D2"]),
        ("char(4)", "rtrim(key::text)", ["a", "abcd"]),
        ("bytea", r"'\x' || encode(key, 'hex')", [r"\x", r"\x00ff"]),
        ("date", "key::text", ["2024-02-29", "0044-03-15 BC"]),
        ("jsonb", "key::text", ['{"bc":1,"a":[1.50]}', '"x"', "null"]),
    ],
)
def test_keys_of_every_kind_are_found_again(
    database: Callable[[], str], tmp_path: Path, type_: str, text: str, values: list[str]
) -> None:
    if type_ == "timestamptz":
        text = "CASE WHEN isfinite(key) THEN (key AT TIME ZONE 'UTC')::text || '+00' ELSE key::text END"
    estate = Estate.create(
        database, tmp_path, {"things": Dataset(table="things")}, f"CREATE TABLE things (key {type_} PRIMARY KEY, n int)"
    )
    with psycopg.connect(estate.master) as connection:
        for number, value in enumerate(values):
            connection.execute(f"INSERT INTO things VALUES (%s::{type_}, %s)", [value, number])
    estate.publish()
    estate.run("SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = 0; UPDATE things SET n = n + 1")
    result = estate.publish()
    assert (result.whole, result.counts["things"].updates) == ((), len(values))
    estate.check("things", texts(estate.master, f"SELECT {text}, n::text FROM things"))
    estate.run("DELETE FROM things")
    assert estate.publish().counts["things"].deletes == len(values)
    estate.check("things", {})


def test_texts_decide_where_a_types_own_equality_is_laxer(database: Callable[[], str], tmp_path: Path) -> None:
    """To PostgreSQL one day equals 24 hours, as `ABC` equals `abc` to citext; a copy must have the very same text."""
    estate = Estate.create(
        database, tmp_path, datasets(things="things"), "CREATE TABLE things (key interval PRIMARY KEY, value interval)"
    )
    estate.run("INSERT INTO things VALUES ('1 day', '1 day'), ('2 days', '2 days')")
    estate.publish()
    estate.run(
        "UPDATE things SET value = '24 hours' WHERE key = '1 day'",
        "UPDATE things SET key = '48 h' WHERE key = '2 days'",
    )
    assert estate.publish().counts["things"] == Counts(inserts=1, updates=1, deletes=1)
    estate.check("things", {("P1D",): ("P1D", "PT24H"), ("PT48H",): ("PT48H", "P2D")})


def test_a_table_of_one_column(database: Callable[[], str], tmp_path: Path) -> None:
    estate = Estate.create(database, tmp_path, datasets(words="words"), "CREATE TABLE words (word text PRIMARY KEY)")
    estate.run("INSERT INTO words VALUES (''), ('\\.'), ('x')")
    estate.publish()
    estate.check("words", {(word,): (word,) for word in ("", "\\.", "x")})
    estate.run("UPDATE words SET word = word || '!'")
    estate.publish()
    estate.check("words", {(word,): (word,) for word in ("!", "\\.!", "x!")})
