"""Expressions that PostgreSQL has too, judged by PostgreSQL: the same rows, the same canonical texts."""

from __future__ import annotations

import random
from collections.abc import Callable

import psycopg
import pytest

from tests.shaping.shapes import dataset, shaped, table

pytestmark = pytest.mark.services
COLUMNS = {
    "id": ("integer", "bigint"),
    "a": ("integer", "bigint"),
    "b": ("integer", "bigint"),
    "p": ("decimal(12,2)", "numeric(12,2)"),
    "q": ("decimal(10,4)", "numeric(10,4)"),
    "s": ("text", "text"),
    "t": ("text", "text"),
    "f": ("boolean", "boolean"),
    "d": ("date", "date"),
    "m": ("timestamp", "timestamp"),
    "j": ("json", "jsonb"),
}
EXPRESSIONS = (
    ("a + b * 2 - 7", "integer"),
    ("-(a) + abs(b)", "integer"),
    ("a % 7", "integer"),
    ("greatest(a, b, 3)", "integer"),
    ("least(a, b)", "integer"),
    ("sign(a)", "integer"),
    ("p * 1.19", "decimal(14,2)"),
    ("p * q", "decimal(20,3)"),
    ("p + q", "decimal(20,1)"),
    ("p - q * 3", "decimal(20,4)"),
    ("round(p * q, 2)", "decimal(20,2)"),
    ("ceil(p)", "decimal(14,0)"),
    ("floor(q)", "decimal(14,0)"),
    ("CAST(p AS INTEGER)", "integer"),
    ("CAST(q AS DECIMAL(10, 1))", "decimal(10,1)"),
    ("coalesce(p, q, 0)", "decimal(14,4)"),
    ("nullif(a, b)", "integer"),
    ("a > b", "boolean"),
    ("a > b AND f", "boolean"),
    ("a > b OR f", "boolean"),
    ("NOT (f OR a = b)", "boolean"),
    ("f IS NULL OR f", "boolean"),
    ("f IS NOT TRUE", "boolean"),
    ("s IS DISTINCT FROM t", "boolean"),
    ("s = t", "boolean"),
    ("a IN (1, 2, NULL)", "boolean"),
    ("a NOT IN (1, 2, 3)", "boolean"),
    ("p BETWEEN 0 AND 50", "boolean"),
    ("s LIKE '%a_%'", "boolean"),
    ("s ILIKE 'A%'", "boolean"),
    ("s LIKE '!%%' ESCAPE '!'", "boolean"),
    ("CASE WHEN a > b THEN s WHEN a = b THEN 'same' ELSE t END", "text"),
    ("CASE a WHEN 1 THEN 'one' WHEN 2 THEN 'two' END", "text"),
    ("s || '-' || t", "text"),
    ("concat(s, '-', t)", "text"),
    ("concat_ws('/', s, t, 'x')", "text"),
    ("length(s)", "integer"),
    ("substring(s, 2, 3)", "text"),
    ("left(s, 2) || right(t, 2)", "text"),
    ("replace(s, 'a', 'bb')", "text"),
    ("reverse(s)", "text"),
    ("trim(s)", "text"),
    ("ltrim(s, ' a')", "text"),
    ("rtrim(s, ' a')", "text"),
    ("lpad(s, 5, '*')", "text"),
    ("rpad(s, 5, '*')", "text"),
    ("split_part(s, ',', 2)", "text"),
    ("strpos(s, 'a')", "integer"),
    ("starts_with(s, 'a')", "boolean"),
    ("md5(s)", "text"),
    ("lower(s)", "text"),
    ("regexp_replace(s, '[ab]', 'x', 'g')", "text"),
    ("extract(year FROM d)", "integer"),
    ("extract(month FROM m)", "integer"),
    ("extract(day FROM m)", "integer"),
    ("CAST(m AS DATE)", "date"),
    ("CAST(d AS TIMESTAMP)", "timestamp"),
    ("CAST(date_trunc('month', m) AS DATE)", "date"),
    ("date_trunc('hour', m)", "timestamp"),
    ("d < DATE '2020-06-15'", "boolean"),
    ("j ->> 'brand'", "text"),
    ("j -> 'size' ->> 'w'", "text"),
    ("CAST(a AS VARCHAR) || 'x'", "text"),
    ("CAST(p AS VARCHAR)", "text"),
)


def rows(count: int) -> list[list[str | None]]:
    chance = random.Random(7)
    texts = [None, "", "a", "abc", " a b ", "a,b,c", "Größe", "%a", "ABC", "äöü", "x" * 12, "日本"]

    def one(values: list[str | None]) -> str | None:
        return chance.choice([*values, *values, *values, None])

    found = []
    for at in range(count):
        cents, fine = chance.randint(-10_000, 10_000), chance.randint(-99_999, 99_999)
        found.append(
            [
                str(at),
                one([str(chance.randint(-5, 5))]),
                one([str(chance.randint(-5, 5))]),
                one([_number(cents, 2)]),
                one([_number(fine, 4)]),
                one([chance.choice(texts)]),
                one([chance.choice(texts)]),
                one(["true", "false"]),
                one([f"{chance.randint(1000, 9999)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"]),
                one([f"20{chance.randint(10, 30)}-0{chance.randint(1, 9)}-11 0{chance.randint(0, 9)}:30:15.25"]),
                one(['{"size": {"w": 3}, "brand": "L\\"ux"}', '{"size": {}, "brand": null}', '{"other": [1]}', "[1]"]),
            ]
        )
    return found


def _number(units: int, scale: int) -> str:
    text = f"{abs(units) // 10**scale}.{abs(units) % 10**scale:0{scale}}".rstrip("0").rstrip(".")
    return f"-{text}" if units < 0 else text


def test_postgresql_gives_the_same(database: Callable[[], str]) -> None:
    given = rows(300)
    source = dataset({name: kind for name, (kind, _) in COLUMNS.items()})
    with psycopg.connect(database(), autocommit=True) as judge:
        judge.execute("SET TimeZone = 'UTC'")
        listed = ", ".join(f"{name} {kind}" for name, (_, kind) in COLUMNS.items())
        judge.execute(f"CREATE TABLE given ({listed})".encode())
        with judge.cursor() as cursor, cursor.copy("COPY given FROM STDIN") as copy:
            for row in given:
                copy.write_row(row)
        differ = {}
        for expr, kind in EXPRESSIONS:
            found = shaped(table(source, {"id": "id", "v": (expr, kind)}), given)
            assert not found.unfit, found.unfit[:3]
            wanted = [text for _, text in judge.execute(_judged(expr, kind).encode()).fetchall()]
            got = found.rows["v"].to_pylist()
            if got != wanted:
                differ[expr] = next((row, a, b) for row, a, b in zip(given, got, wanted, strict=True) if a != b)
        assert not differ


def _judged(expr: str, kind: str) -> str:
    typed = {"integer": "bigint", "text": "text"}.get(kind, kind.replace("decimal", "numeric"))
    value = f"({expr})::{typed}"
    return f"SELECT id, {f'trim_scale({value})' if 'numeric' in typed else value}::text FROM given ORDER BY id"
