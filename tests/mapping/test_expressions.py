"""The allow-list: what is refused, with system, table, column and expression; and that nothing slips past it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from distributor.errors import ConfigError
from distributor.mapping.expressions import MOST_CHARACTERS, MOST_DEPTH, parsed, rendered
from tests.mapping.documented import examples
from tests.shaping.shapes import dataset, table

REFUSED = (
    # Other rows, other tables.
    "(SELECT 1)", "(SELECT max(a) FROM t)", "EXISTS(SELECT 1)", "a IN (SELECT 1)", "a = ANY(SELECT 1)",
    "a = ALL(SELECT 1)", "a IN (FROM t)", "(FROM t)", "(TABLE t)", "(VALUES (1))", "ARRAY(SELECT 1)",
    "sum(a)", "count(*)", "count(a)", "avg(a)", "min(a)", "max(a)", "first(a)", "any_value(a)", "string_agg(a, ',')",
    "sum(a) FILTER (WHERE a > 1)", "bool_and(a)", "quantile_cont(a, 0.5)", "histogram(a)",
    "row_number() OVER ()", "lag(a) OVER (ORDER BY a)", "sum(a) OVER w", "rank() OVER (PARTITION BY a)",
    "upper(DISTINCT a)", "a ORDER BY 1", "a LIMIT 1", "a FROM t", "a WHERE a", "a GROUP BY a", "a HAVING a",
    "a QUALIFY a", "a UNION SELECT 1", "a, b", "a AS b", "a b", "DISTINCT a", "a INTO b", "a USING SAMPLE 1",
    # Values that are no single ones.
    "[1, 2]", "[a]", "[x FOR x IN [1, 2]]", "[x * 2 FOR x IN a IF x > 1]", "{'a': 1}", "{a: 1}", "MAP {'a': 1}",
    "struct_pack(x := 1)", "row(1, 2)", "(1, 2)", "a[1]", "a[1:2]", "a[-1]", "a.b.c", "a.b.c.d", "(a).b",
    "struct_extract(a, 'b')", "list_transform([1], x -> x)", "list_transform(a, lambda x: x)", "x -> x + 1",
    "lambda x: x", "list_value(1)", "unnest(a)", "unnest([1])", "generate_series(1, 3)", "range(3)",
    "regexp_split_to_array(a, 'x')", "string_split(a, 'x')", "a IN b", "a IN 'abc'",
    "*", "t.*", "a.*", "#1", "#0", "columns('a')", "COLUMNS(*)", "COLUMNS(x -> x)", "*COLUMNS('a')", "* EXCLUDE a",
    "* REPLACE (1 AS a)", "coalesce(*)", "greatest(*)", "concat(*)", "md5(*)",
    # What is not the same for ever, or not of the row.
    "now()", "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "today()",
    "get_current_timestamp()", "transaction_timestamp()", "age(a)", "random()", "setseed(1)", "uuid()",
    "gen_random_uuid()", "uuidv7()", "nextval('s')", "currval('s')", "txid_current()", "current_user",
    "session_user", "current_schema()", "current_database()", "current_catalog", "version()", "pg_typeof(a)",
    "typeof(a)", "current_setting('x')", "getvariable('x')", "hash(a)", "a AT TIME ZONE 'Europe/Berlin'",
    "timezone('Europe/Berlin', a)", "strptime(a, '%Y')", "a + INTERVAL 1 DAY", "INTERVAL '1' MONTH", "a COLLATE de",
    # The machine.
    "read_csv('/etc/passwd')", "read_text('/etc/passwd')", "read_parquet('x')", "read_json('x')", "read_blob('x')",
    "glob('*')", "getenv('HOME')", "query('SELECT 1')", "query_table('t')", "sql_auto_complete('S')",
    "json_execute_serialized_sql('x')", "from_substrait('x')", "sniff_csv('x')", "pragma_version()",
    "duckdb_settings()", "error('x')", "write_log('x')", "http_get('x')", "parse_path('x')",
    # No expressions.
    "", "   ", ";", "a;", "a; ;", "a; DROP TABLE t", "DROP TABLE t", "PRAGMA version", "SET x = 1", "ATTACH 'x'",
    "COPY t TO 'x'", "INSTALL httpfs", "LOAD httpfs", "CREATE MACRO f(x) AS x", "INSERT INTO t VALUES (1)",
    "a -- comment", "a /* comment */", "/* comment */ a", "a /*", "--", "a ) --", "a) FROM (SELECT 1",
    "?", "$1", "$name", ":name", "%s", "a := 1", "x => 1", "@@a()", "a!", "'open", '"open', "a +", "(a", "a)",
    "lower(a", "CASE WHEN", "CAST(a AS)", "a::", "::a", "$$a$$", "E'a'", "0x1F",
    # Types and places that the list has not.
    "a::JSON", "a::INTEGER[]", "a::STRUCT(x INTEGER)", "a::ENUM('x')", "a::HUGEINT", "a::REAL", "a::TINYINT",
    "a::BIT", "a::INTERVAL", "a::foo", "CAST(a AS MAP(INTEGER, INTEGER))", "a::TIMESTAMP_NS", "a::VARIANT",
    "a -> b", "a ->> b", "a ->> (b || 'x')", "a ->> '$.*'", "a ->> '*'", "a ->> '$..b'", "a ->> ''", "a ->> '/x'",
    "json_extract(a, ['x'])", "json_extract_string(a, b)", "json_keys(a)", "json_each(a)", "to_json(a)",
    "power(a, 2)", "a ** 2", "a ^ 2", "sqrt(a)", "sin(a)", "ln(a)", "a & 1", "a | 1", "~a", "a << 1", "a GLOB 'x'",
    "a SIMILAR TO 'x'", "repeat(a, 1000)", "format('{}', a)", "printf('%s', a)", "no_such_function(a)",
    "main.upper(a)", "system.main.upper(a)", "a.upper()", "TRY(a)", "sha256(a)", "chr(7)", "trunc(a)",
)  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_it_is_refused_with_its_place(text: str) -> None:
    where = f"systems.pos, table t, column v, {text!r}"
    with pytest.raises(ConfigError) as caught:
        parsed(text, where)
    assert caught.value.where == where
    assert len(caught.value.what) < 500


@pytest.mark.parametrize("text", REFUSED[:3])
def test_the_place_names_system_table_column_and_expression(text: str) -> None:
    source = dataset({"id": "integer", "a": "text"})
    with pytest.raises(ConfigError) as caught:
        table(source, {"id": "id", "v": (text, "text")}, into="articles")
    for part in ("systems.pos", "table articles", "column v", text):
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["(SELECT true)", "now() > a", "no_such_column > 1", "sum(a) > 1", "a;"])
def test_where_is_held_to_the_same_list(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        table(dataset({"id": "integer", "a": "text"}), where=text, into="articles")
    for part in ("systems.pos", "table articles", "column where", text):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "a" + ")" * 5000,
        "NOT " * 2000 + "a",
        "a" + " + 1" * 2000,
        "a" + " || 'x'" * 20_000,
        "CASE WHEN a THEN " * 400 + "1" + " END" * 400,
        "lower(" * 800 + "a" + ")" * 800,
        "- " * 3000 + "1",
    ],
    ids=lambda text: text[:12],
)
def test_what_is_too_long_or_too_deep_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(text, "here")
    assert str(MOST_DEPTH) in str(caught.value) or f"{MOST_CHARACTERS:,}" in str(caught.value)


def test_what_is_long_and_flat_is_no_trouble() -> None:
    text = "CASE " + " ".join(f"WHEN a = 'v{at}' THEN 'w{at}'" for at in range(300)) + " END"
    assert rendered(parsed(text, "here"), lambda _: "c0").startswith("CASE")


_WORDS = st.sampled_from(
    [word for text in (*REFUSED, *(found.expr for found in examples())) for word in text.split(" ") if word]
)


@given(st.lists(_WORDS, max_size=8).map(" ".join))
@example("a -> b -> c")
def test_whatever_is_put_together_is_an_expression_or_a_config_error(text: str) -> None:
    """What is let through has neither a function that is not on the list nor anything but one expression."""
    try:
        tree = parsed(text, "here")
    except ConfigError:
        return
    written = rendered(tree, lambda _: "c0").lower()
    for forbidden in ("select", "read_", "getenv", "random", "now(", "current_", "--", "/*", ";", "lambda", "unnest"):
        assert forbidden not in written.replace("'--'", "") or f"'{forbidden}" in text.lower() or '"' in text


@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        rendered(parsed(text, "here"), lambda _: "c0")
