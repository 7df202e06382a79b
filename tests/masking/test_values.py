"""What masks make of values: valid, the same for the same, unlike for unlike, and never the value itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import Iterable
from decimal import Context, Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from distributor.masking.columns import masked, remembering
from distributor.masking.keyed import WORD, Keyed
from distributor.masking.policy import Method
from distributor.masking.values import impossible, mask
from distributor.model.types import Kind, LogicalType

SECRET = "nobody knows this one"
KEYED, OTHER = Keyed(SECRET), Keyed("nor does he know that")
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=30)
EXACT = Context(prec=100)
INT64 = st.integers(-(2**63), 2**63 - 1)


def of(method: Method, type_: str, values: Iterable[str], keyed: Keyed = KEYED) -> list[str | None]:
    one = mask(method, LogicalType.parse(type_), keyed)
    return [one(value) for value in values]


def apart(values: Iterable[str], made: Iterable[str | None]) -> None:
    unlike = list(made)
    assert len(set(unlike)) == len(set(values)) == len(unlike)


@given(TEXT)
def test_a_word_is_hmac_of_the_text_and_of_nothing_else(text: str) -> None:
    for secret in (SECRET, "x" * 16, "x" * 64, "ö" * 100):
        right = hmac.digest(secret.encode(), b"word\0" + text.encode(), hashlib.sha256)
        assert of(Method.TOKEN, "text", [text], Keyed(secret)) == [base64.b32encode(right[:10]).decode().lower()]


def test_words_keep_a_hundred_thousand_keys_apart_even_where_case_counts_for_nothing() -> None:
    values = [f"SKU-{n}" for n in range(50_000)] + [f"sku-{n}" for n in range(50_000)]
    made = of(Method.TOKEN, "text", values)
    apart(values, [str(word).upper() for word in made])
    assert {len(str(word)) for word in made} == {WORD}


def test_a_word_fits_into_a_text_of_any_length() -> None:
    long, short = of(Method.TOKEN, "text(40)", ["Lamp"])[0], of(Method.TOKEN, "text(7)", ["Lamp"])[0]
    assert (len(str(long)), short) == (WORD, str(long)[:7])
    assert of(Method.FIXED, "text(3)", ["Lamp"]) == ["mas"]


@pytest.mark.parametrize("bits", [15, 31, 63])
@given(data=st.data())
@settings(max_examples=50)
def test_tokens_of_integers_fit_where_the_integer_did(data: st.DataObject, bits: int) -> None:
    value = data.draw(st.integers(-(2**bits), 2**bits - 1))
    [made] = of(Method.TOKEN, "integer", [str(value)])
    assert -(2**bits) <= int(str(made)) < 2**bits
    assert (int(str(made)) < 0) == (value < 0)
    assert made != str(value)
    assert made == str(int(str(made)))


def test_no_two_integers_meet_and_none_stays() -> None:
    values = [str(n) for n in range(-(2**15), 2**15)]
    made = of(Method.TOKEN, "integer", values)
    assert {int(str(one)) for one in made} == set(range(-(2**15), 2**15))
    assert all(one != value for one, value in zip(made, values, strict=True))


@given(INT64)
@example(2**63 - 1)
@example(-(2**63))
@example(9)
@example(-9)
@example(32767)
@example(2**31 - 1)
@settings(deadline=None)
def test_digits_of_integers_are_as_many_and_fit_where_the_integer_did(value: int) -> None:
    [made] = of(Method.DIGITS, "integer", [str(value)])
    assert made == str(int(str(made)))
    assert len(str(made)) == len(str(value))
    assert (int(str(made)) < 0) == (value < 0)
    for bits in (15, 31, 63):
        if -(2**bits) <= value < 2**bits:
            assert -(2**bits) <= int(str(made)) < 2**bits


def test_no_two_integers_meet_in_other_digits() -> None:
    values = [str(n) for n in range(-40_000, 40_000)]
    apart(values, of(Method.DIGITS, "integer", values))


@given(TEXT)
@example("+43 664/12 34-5")
@example("٣٤ und 12")
def test_every_digit_of_a_text_is_another_one_and_nothing_else_is(text: str) -> None:
    [made] = of(Method.DIGITS, "text", [text])
    assert len(str(made)) == len(text)
    for old, new in zip(text, str(made), strict=True):
        assert new.isdecimal() == old.isdecimal()
        assert (new != old) == old.isdecimal()


def test_no_two_article_numbers_meet() -> None:
    values = [f"{n:05}" for n in range(100_000)]
    made = of(Method.DIGITS, "text", values)
    assert set(made) == set(values)


@pytest.mark.parametrize("method", [Method.TOKEN, Method.DIGITS])
@pytest.mark.parametrize(
    ("precision", "scale"), [(12, 2), (3, 0), (4, 4), (2, 4), (3, -2), (38, 10), (1, 0), (5, 5), (1, 1)]
)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_decimals_stay_in_their_type(data: st.DataObject, method: Method, precision: int, scale: int) -> None:
    unscaled = data.draw(st.integers(1 - 10**precision, 10**precision - 1))
    text = plain(Decimal(unscaled).scaleb(-scale, EXACT))
    [made] = of(method, f"decimal({precision},{scale})", [text])
    back = Decimal(str(made)).scaleb(scale, EXACT)
    assert back == back.to_integral_value(context=EXACT)
    assert abs(back) < 10**precision
    assert (back < 0) == (unscaled < 0)
    assert made == plain(Decimal(str(made)))
    if method is Method.DIGITS:
        assert len(str(made)) == len(text)


@pytest.mark.parametrize("method", [Method.TOKEN, Method.DIGITS])
@pytest.mark.parametrize(("precision", "scale"), [(4, 2), (3, 0), (3, 3), (2, 3), (3, -1)])
def test_no_two_decimals_meet(method: Method, precision: int, scale: int) -> None:
    values = [plain(Decimal(n).scaleb(-scale, EXACT)) for n in range(1 - 10**precision, 10**precision)]
    apart(values, of(method, f"decimal({precision},{scale})", values))


def test_what_is_no_number_stays() -> None:
    assert of(Method.TOKEN, "decimal(5,2)", ["NaN"]) == ["NaN"]
    assert of(Method.DIGITS, "decimal", ["NaN", "-Infinity"]) == ["NaN", "-Infinity"]


def test_uuids_and_bytes_stay_what_they_are() -> None:
    [made] = of(Method.TOKEN, "uuid", ["09a3f61e-39c4-4eb3-96e8-28c7b8d344d2"])
    assert str(uuid.UUID(str(made))) == made
    [made] = of(Method.TOKEN, "bytes", ["\\x00ff"])
    assert str(made).startswith("\\x")
    assert len(bytes.fromhex(str(made)[2:])) == 16


def test_another_secret_makes_something_else() -> None:
    for method, type_, value in (
        (Method.TOKEN, "text", "Lamp"),
        (Method.TOKEN, "integer", "4711"),
        (Method.TOKEN, "decimal(12,2)", "12.5"),
        (Method.DIGITS, "text", "4006381333931"),
    ):
        assert of(method, type_, [value]) != of(method, type_, [value], OTHER)
        assert of(method, type_, [value]) == of(method, type_, [value], Keyed(SECRET))


@pytest.mark.parametrize("kind", list(Kind))
def test_what_cannot_be_had_is_said(kind: Kind) -> None:
    type_ = LogicalType(kind)
    for method in Method:
        assert impossible(method, type_, key=True) or method.keeps_apart
    assert not impossible(Method.FIXED, type_, key=False)
    assert not impossible(Method.NULL, type_, key=False)
    with_digits = {Kind.TEXT, Kind.INTEGER, Kind.DECIMAL}
    assert bool(impossible(Method.DIGITS, type_, key=False)) == (kind not in with_digits)
    with_token = {Kind.TEXT, Kind.INTEGER, Kind.UUID, Kind.BYTES}
    assert bool(impossible(Method.TOKEN, type_, key=False)) == (kind not in with_token)


def test_short_texts_and_wide_decimals_are_no_tokens_of_keys() -> None:
    assert "16 are needed" in impossible(Method.TOKEN, LogicalType.parse("text(15)"), key=True)
    assert not impossible(Method.TOKEN, LogicalType.parse("text(16)"), key=True)
    assert "38 digits" in impossible(Method.TOKEN, LogicalType.parse("decimal(39,0)"), key=False)


def test_a_column_is_masked_value_by_value_and_null_stays_null() -> None:
    asked: list[str] = []

    def one(text: str) -> str:
        asked.append(text)
        return text.upper()

    column = pa.chunked_array([["a", None, "b"], ["a", "b", None], []], pa.string())
    assert masked(column, remembering(one)).to_pylist() == ["A", None, "B", "A", "B", None]
    assert sorted(asked) == ["a", "b"]
    assert masked(column, lambda _: None).to_pylist() == [None] * 6
    assert masked(pa.chunked_array([], pa.string()), one).to_pylist() == []


def plain(value: Decimal) -> str:
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
