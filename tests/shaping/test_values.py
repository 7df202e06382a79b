"""Every logical type through an expression and back, in canonical text; and what does not fit a type."""

from __future__ import annotations

import struct
import uuid
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.errors import ConfigError
from distributor.model.texts import double_text
from tests.shaping.shapes import dataset, kept, shaped, table, value

TEXTS = {
    "text": ["", " ", "a", "Größe 7", "O'Neil \"x\" \\ %_", "日本", "a\nb\tc", "\u0000", "NULL", "e\u0301", "😀"],
    "boolean": ["true", "false"],
    "integer": ["0", "-17", "9223372036854775807", "-9223372036854775808"],
    "decimal(12,2)": ["0", "1.5", "-0.01", "9999999999.99", "-9999999999.99", "100", "10.1"],
    "decimal(5,0)": ["0", "100", "-99999"],
    "decimal(38,10)": ["1234567890123456789012345678.0123456789", "0.0000000001"],
    "decimal(38,38)": ["0.00000000000000000000000000000000000001", "-0.5", "0"],
    "decimal(2,2)": ["0.05", "-0.05", "0"],
    "double": ["NaN", "Infinity", "-Infinity", "0", "-0", "0.1", "1e-05", "5e-324", "1e+15", "1.7976931348623157e+308"],
    "date": ["2026-02-28", "0001-01-01", "0001-12-31 BC", "4713-01-01 BC", "10000-01-01", "infinity", "-infinity"],
    "time": ["00:00:00", "23:59:59.999999", "24:00:00", "12:30:00.5"],
    "timestamp": ["2026-02-28 12:00:00", "2026-02-28 12:00:00.000001", "0044-03-15 12:00:00.5 BC", "infinity",
        "10000-01-01 00:00:00", "-infinity", "0001-01-01 00:00:00"],
    "timestamptz": ["2026-02-28 12:00:00+00", "2026-02-28 12:00:00.25+00", "0044-03-15 12:00:00+00 BC", "infinity"],
    "uuid": ["09a3f61e-39c4-4eb3-96e8-28c7b8d344d2", "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "bytes": ["\\x", "\\x00", "\\x00ff7f80", "\\x5c27"],
}  # fmt: skip
EVERY = [(kind, text) for kind, texts in TEXTS.items() for text in texts]


@pytest.mark.parametrize(("kind", "text"), EVERY, ids=lambda part: repr(part)[:40])
def test_a_value_comes_back_in_its_canonical_text(kind: str, text: str) -> None:
    assert value("coalesce(v, v)", kind, {"v": (kind, text)}) == text


@pytest.mark.parametrize("kind", TEXTS)
def test_null_stays_null(kind: str) -> None:
    assert value("coalesce(v, v)", kind, {"v": (kind, None)}) is None
    assert value("v IS NULL", "boolean", {"v": (kind, None)}) == "true"


@pytest.mark.parametrize("kind", [kind for kind in TEXTS if kind != "text"])
def test_a_type_that_is_declared_as_text_keeps_the_canonical_text(kind: str) -> None:
    for text in TEXTS[kind]:
        assert value("v", "text", {"v": (kind, text)}) == text


_TEN_DIGITS = st.decimals(min_value=-(10**8), max_value=10**8, places=2, allow_nan=False)


def canonical(number: Decimal) -> str:
    text = format(number.normalize(), "f")
    return "0" if number == 0 else text


@given(_TEN_DIGITS, st.decimals(min_value=-100, max_value=100, places=4))
def test_decimals_are_exact_and_rounded_half_away_from_zero(a: Decimal, b: Decimal) -> None:
    given_ = {"a": ("decimal(10,2)", canonical(a)), "b": ("decimal(7,4)", canonical(b))}
    with localcontext(prec=60):
        for expr, exact in (
            ("a * b", a * b),
            ("a + b", a + b),
            ("a - b", a - b),
            ("-(a)", -a),
            ("a * b * b", a * b * b),
        ):
            wanted = exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
            assert value(expr, "decimal(20,2)", given_) == canonical(wanted), expr


@given(st.integers(-(2**62), 2**62), st.integers(-1000, 1000).filter(bool))
def test_integers_are_exact(a: int, b: int) -> None:
    given_ = {"a": ("integer", str(a)), "b": ("integer", str(b))}
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    assert value("a // b", "integer", given_) == str(quotient)
    assert value("a % b", "integer", given_) == str(a - quotient * b)
    assert value("a + b", "integer", given_) == str(a + b)


@given(st.binary(min_size=8, max_size=8))
def test_any_double_comes_back(octets: bytes) -> None:
    (number,) = struct.unpack("d", octets)
    text = double_text(number)
    assert value("coalesce(v, v)", "double", {"v": ("double", text)}) == text


@given(st.text(max_size=20))
def test_any_text_comes_back(text: str) -> None:
    assert value("v || ''", "text", {"v": ("text", text)}) == text
    assert value("length(v)", "integer", {"v": ("text", text)}) is not None


@given(st.binary(max_size=20), st.uuids())
def test_any_octets_and_any_uuid_come_back(octets: bytes, id_: uuid.UUID) -> None:
    given_ = {"b": ("bytes", "\\x" + octets.hex()), "u": ("uuid", str(id_))}
    assert value("coalesce(b, b)", "bytes", given_) == "\\x" + octets.hex()
    assert value("coalesce(u, u)", "uuid", given_) == str(id_)


@given(st.dates(), st.datetimes(), st.integers(0, 86_399_999_999))
def test_any_date_and_any_time_come_back(day: date, moment: datetime, micros: int) -> None:
    at = datetime.min + timedelta(microseconds=micros)

    def fraction(of: datetime) -> str:
        return f".{of.microsecond:06}".rstrip("0") if of.microsecond else ""

    clock = f"{at:%H:%M:%S}{fraction(at)}"
    stamp = f"{moment.year:04}-{moment:%m-%d %H:%M:%S}{fraction(moment)}"
    given_ = {
        "d": ("date", day.isoformat()),
        "c": ("time", clock),
        "s": ("timestamp", stamp),
        "z": ("timestamptz", stamp + "+00"),
    }
    for name, (kind, text) in given_.items():
        assert value(f"coalesce({name}, {name})", kind, given_) == text


@pytest.mark.parametrize(
    ("expr", "kind", "given_kind", "text", "why"),
    [
        ("v::INTEGER", "integer", "text", "abc", "Could not convert string 'abc' to INT32"),
        ("v::BIGINT + 1", "integer", "text", "9223372036854775807", "Overflow"),
        ("v * 1", "decimal(4,2)", "decimal(12,2)", "100", "DECIMAL(4,2)"),
        ("v::DATE", "date", "text", "2026-02-30", "2026-02-30"),
        ("v::DATE", "date", "text", "today", "today"),
        ("v::TIMESTAMP", "timestamp", "text", "now", "now"),
        ("coalesce(v, 0)", "decimal(12,2)", "decimal(12,2)", "NaN", "NaN"),
        ("v + 0", "decimal(12,2)", "decimal(12,2)", "Infinity", "Infinity"),
        ("v > 1 AND v < 2", "boolean", "decimal(12,2)", "NaN", "NaN"),
        ("v IN (1, 2)", "boolean", "decimal(12,2)", "NaN", "NaN"),
        ("v BETWEEN 1 AND 2", "boolean", "decimal(12,2)", "NaN", "NaN"),
        ("coalesce(v, v)", "timestamp", "timestamp", "294276-12-31 23:59:59.999999", "294276"),
        ("1 // v", "integer", "integer", "0", "Division by zero"),
        ("v::UUID", "uuid", "text", "no-uuid", "no-uuid"),
    ],
)  # fmt: skip
def test_what_does_not_go_through_is_named_and_the_rest_goes_on(
    expr: str, kind: str, given_kind: str, text: str, why: str
) -> None:
    source = dataset({"id": "integer", "v": given_kind})
    compiled = table(source, {"no": "id", "x": (expr, kind)}, into="articles")
    rows = [["1", None], ["2", text], ["3", None]]
    found = shaped(compiled, rows)
    assert found.kept.to_pylist() == [True, False, True]
    (bad,) = found.unfit
    assert (bad.table, bad.dataset, bad.key, bad.column, bad.value) == ("articles", "items", ("2",), "x", text)
    assert expr in bad.why
    assert why in bad.why
    assert "c1" not in bad.why
    assert "\n" not in bad.why
    # The same row alone: nothing depends on what else is in the batch.
    assert shaped(compiled, [rows[1]]).unfit == found.unfit


@pytest.mark.parametrize("expr", ["CAST(v AS INTEGER)", "if(v::INTEGER >= 0 AND v::INTEGER < 1000, v::INTEGER, 0)"])
def test_each_of_many_rows_that_fail_is_named(expr: str) -> None:
    source = dataset({"id": "integer", "v": "text"})
    compiled = table(source, {"id": "id", "v": (expr, "integer")})
    rows = [[str(at), "x" if at % 7 == 0 else str(at)] for at in range(1000)]
    found = shaped(compiled, rows)
    assert [bad.key for bad in found.unfit] == [(str(at),) for at in range(0, 1000, 7)]
    good = found.rows.filter(found.kept).to_pylist()
    assert [row["v"] for row in good] == [str(at) for at in range(1000) if at % 7]


@pytest.mark.parametrize(
    ("text", "fits"), [("abcde", True), ("abcdef", False), ("äöüßé", True), ("😀😀😀😀😀😀", False), (None, True)]
)
@pytest.mark.parametrize("expr", ["v", "v || ''"])
def test_a_length_counts_characters(text: str | None, fits: bool, expr: str) -> None:
    compiled = table(dataset({"id": "integer", "v": "text"}), {"id": "id", "v": (expr, "text(5)")})
    found = shaped(compiled, [["1", text]])
    assert found.kept.to_pylist() == [fits]
    assert [bad.why for bad in found.unfit] == ([] if fits else ["is longer than 5 characters"])


@pytest.mark.parametrize(
    ("columns", "where", "part"),
    [
        ({"id": "id", "x": ("upper(n)", "text")}, "", "column x"),
        ({"id": "id", "x": ("v + 1", "integer")}, "", "column x"),
        ({"id": "id", "x": ("active * 2", "integer")}, "", "column x"),
        (None, "v", "column where"),
        (None, "n + 1", "column where"),
        (None, "n > 1 AND lower(n) = 'a'", "column where"),
    ],
)
def test_what_cannot_be_typed_is_an_error_of_the_config(columns: dict[str, str], where: str, part: str) -> None:
    source = dataset({"id": "integer", "v": "text", "n": "decimal(10,2)", "active": "boolean"})
    compiled = table(source, columns, where, into="articles")
    with pytest.raises(ConfigError) as caught:
        shaped(compiled, [["1", "a", "1", "true"]])
    for wanted in ("systems.pos", "table articles", part):
        assert wanted in caught.value.where


WHERE = (
    ("n > 2", [None, "1", "2", "3"], ["3"]),
    ("NOT n > 2", [None, "1", "3"], ["1"]),
    ("n > 2 OR n IS NULL", [None, "1", "3"], [None, "3"]),
    ("n <> 2", [None, "1", "2"], ["1"]),
    ("n IS DISTINCT FROM 2", [None, "1", "2"], [None, "1"]),
    ("n NOT IN (1, 2)", [None, "1", "3"], ["3"]),
    ("n IN (1, NULL)", [None, "1", "3"], ["1"]),
    ("n NOT IN (1, NULL)", [None, "1", "3"], []),
    ("CAST(NULL AS BOOLEAN)", [None, "1"], []),
    ("n = n", [None, "1"], ["1"]),
    ("coalesce(n, 0) = 0", [None, "0", "1"], [None, "0"]),
    ("TRUE", [None, "1"], [None, "1"]),
    ("FALSE", [None, "1"], []),
)


@pytest.mark.parametrize(("where", "given_", "wanted"), WHERE, ids=[where for where, _, _ in WHERE])
def test_where_keeps_what_is_true_and_nothing_that_is_null(
    where: str, given_: list[str | None], wanted: list[str | None]
) -> None:
    compiled = table(dataset({"id": "integer", "n": "integer"}), where=where)
    rows = [[str(at), text] for at, text in enumerate(given_)]
    assert [text for _, text in kept(compiled, rows)] == wanted


def test_a_row_that_where_leaves_out_is_not_computed() -> None:
    source = dataset({"id": "integer", "v": "text"})
    compiled = table(source, {"id": "id", "x": ("CAST(v AS INTEGER)", "integer")}, "v <> 'none'")
    assert kept(compiled, [["1", "7"], ["2", "none"], ["3", None]]) == [("1", "7")]
