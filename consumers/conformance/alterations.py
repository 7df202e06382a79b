"""What can go wrong with one value: per column of the proof's table, what it was and what it became.

Texts are canonical unless they stand in SPELLED: those mean the same value, and a store whose type holds values and
not spellings cannot keep the difference.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from enum import StrEnum


class Damage(StrEnum):
    """Kinds of mutations, in the order in which they are listed."""

    PLACE = "one character, digit, bit or element"
    CASE = "upper and lower case"
    SPACE = "spaces, and what looks like one or like nothing"
    FORM = "Unicode form and look-alikes"
    ENCODING = "encoding, escapes, line ends"
    CUT = "cut off"
    EMPTY = "NULL, empty, zero"
    ROUNDED = "rounded, last place"
    SIGN = "sign, special value"
    SHIFTED = "shifted: time zone, day, one more"
    ORDER = "order within the value"
    TYPE = "of another type"
    TWICE = "a change applied twice"
    OLD = "old value kept"
    NEIGHBOUR = "another row's or column's value"
    KEY = "key moved"
    ROW_LOST = "row lost, insert missing"
    ROW_DOUBLED = "row doubled"
    ROW_SWAPPED = "rows swapped"
    NOT_DONE = "update or delete not done"
    RELEASE = "row of another release"
    SPELLED = "same value, spelled otherwise"
    REWRITTEN = "same rows, written again"


Change = tuple[Damage, str | None, str | None]
D = Damage
_LONG = "long " * 1800
_DECOMPOSED = unicodedata.normalize("NFD", "Müller é")
_WIDE = "123456789012345678901234567890.123456789"

ALTERED: dict[str, Sequence[Change]] = {
    "title": (
        (D.PLACE, "Lamp, 40 W", "Lamp, 41 W"), (D.PLACE, "Lamp, 40 W", "Lamp, 0 W"), (D.PLACE, "Lamp", "Lammp"),
        (D.PLACE, "x" * 9000, "x" * 8999 + "y"), (D.PLACE, "007", "7"), (D.PLACE, "1.50", "1.5"),
        (D.CASE, "Lamp, 40 W", "Lamp, 40 w"), (D.CASE, "Lamp, 40 W", "LAMP, 40 W"), (D.CASE, "STRASSE", "straße"),
        (D.SPACE, "Lamp", "Lamp "), (D.SPACE, "Lamp", " Lamp"), (D.SPACE, " trailing ", " trailing"),
        (D.SPACE, "two  spaces", "two spaces"), (D.SPACE, "a b", "a\tb"), (D.SPACE, "a b", "a\u00a0b"),
        (D.SPACE, "Lamp", "Lamp\n"), (D.SPACE, "Lamp", "La\u200bmp"), (D.SPACE, "Lamp", "\ufeffLamp"),
        (D.SPACE, "cut\u00adting", "cutting"),
        (D.FORM, "Müller é", _DECOMPOSED), (D.FORM, _DECOMPOSED, "Müller é"), (D.FORM, "ﬁne ①", "fine 1"),
        (D.FORM, "A-100", "\u0410-100"), (D.FORM, "Å", "\u212b"), (D.FORM, "“quoted”", '"quoted"'),
        (D.FORM, "1–2", "1-2"), (D.FORM, "❤\ufe0f", "❤"),
        (D.ENCODING, "Müller é", "MÃ¼ller Ã©"), (D.ENCODING, "Müller é", "M?ller ?"),
        (D.ENCODING, "\U0001f9ff", "\ufffd"),
        (D.ENCODING, "back\\slash", "back\\\\slash"), (D.ENCODING, "it's", "it''s"), (D.ENCODING, '"q"', "q"),
        (D.ENCODING, "a & b", "a &amp; b"), (D.ENCODING, "one\r\ntwo", "one\ntwo"), (D.ENCODING, "tab\\t", "tab\t"),
        (D.CUT, "Lamp, 40 W", "Lamp, 4"), (D.CUT, _LONG, _LONG[:255]), (D.CUT, _LONG, _LONG[:8191]),
        (D.EMPTY, "", None), (D.EMPTY, None, ""), (D.EMPTY, None, "NULL"), (D.EMPTY, None, "-"),
        (D.EMPTY, "null", None),
        (D.EMPTY, " ", ""), (D.EMPTY, "\\N", None),
        (D.ORDER, "Lamp", "Lapm"), (D.ORDER, "red, blue", "blue, red"),
        (D.TYPE, "true", "1"), (D.TYPE, "1e3", "1000"), (D.TYPE, "b'text'", "text"), (D.TWICE, "sale ", "sale sale "),
    ),
    "amount": (
        (D.PLACE, "10", "1"), (D.PLACE, "1000", "10000"), (D.PLACE, "12", "13"), (D.ORDER, "12", "21"),
        (D.EMPTY, None, "0"), (D.EMPTY, "0", None), (D.EMPTY, "12", "0"), (D.SIGN, "12", "-12"),
        (D.ROUNDED, "9007199254740993", "9007199254740992"), (D.ROUNDED, "9223372036854775807", "9223372036854775806"),
        (D.CUT, "2147483648", "-2147483648"), (D.CUT, "70000", "4464"), (D.SHIFTED, "12", "11"), (D.TWICE, "8", "9"),
        (D.TWICE, "14", "28"),
    ),
    "flag": (
        (D.SIGN, "true", "false"), (D.SIGN, "false", "true"), (D.EMPTY, "true", None), (D.EMPTY, "false", None),
        (D.EMPTY, None, "false"), (D.EMPTY, None, "true"),
    ),
    "price": (
        (D.PLACE, "19.99", "19.98"), (D.PLACE, "19.99", "119.99"), (D.ORDER, "19.95", "15.99"),
        (D.ROUNDED, "19.99", "20"), (D.ROUNDED, "19.99", "19.9"), (D.ROUNDED, "0.01", "0"),
        (D.ROUNDED, "9999999999.99", "9999999999"), (D.SHIFTED, "12.34", "1.23"), (D.SHIFTED, "1.99", "199"),
        (D.SIGN, "5", "-5"), (D.SIGN, "NaN", "0"), (D.EMPTY, "0", None), (D.EMPTY, None, "0"), (D.EMPTY, "NaN", None),
        (D.TWICE, "10", "8.1"),
    ),
    "small": (
        (D.ROUNDED, "0.123456789012345", "0.123456789012344"), (D.ROUNDED, "0.123456789012345", "0.12345679"),
        (D.ROUNDED, "0.000000000000001", "0"), (D.ROUNDED, "0.1", "0.100000000000001"), (D.SIGN, "0.1", "-0.1"),
        (D.EMPTY, None, "0"), (D.EMPTY, "0", None),
    ),
    "exact": (
        (D.PLACE, _WIDE, _WIDE[:-1] + "8"), (D.ROUNDED, _WIDE, "123456789012345677877719597056"),
        (D.ROUNDED, _WIDE, "123456789012345678901234567890"),
        (D.ROUNDED, "0.1", "0.1000000000000000055511151231257827"),
        (D.ROUNDED, "1" + "0" * 60, "1" + "0" * 59 + "1"), (D.CUT, _WIDE, _WIDE[1:]), (D.SIGN, "NaN", "Infinity"),
        (D.SIGN, "Infinity", "-Infinity"), (D.SIGN, _WIDE, "-" + _WIDE), (D.EMPTY, "NaN", None), (D.EMPTY, None, "0"),
    ),
    "ratio": (
        (D.ROUNDED, "0.1", "0.10000000000000002"), (D.ROUNDED, "0.1", "0.09999999999999999"),
        (D.ROUNDED, "0.1", "0.10000000149011612"), (D.ROUNDED, "0.30000000000000004", "0.3"),
        (D.ROUNDED, "1e+20", "1.0000000000000002e+20"), (D.ROUNDED, "5e-324", "0"),
        (D.ROUNDED, "1.7976931348623157e+308", "1.7976931348623155e+308"), (D.SIGN, "0", "-0"), (D.SIGN, "-0", "0"),
        (D.SIGN, "0.1", "-0.1"), (D.SIGN, "Infinity", "-Infinity"), (D.SIGN, "Infinity", "1.7976931348623157e+308"),
        (D.EMPTY, "NaN", None), (D.EMPTY, "NaN", "0"), (D.EMPTY, None, "0"), (D.EMPTY, "0", None),
        (D.EMPTY, None, "NaN"),
        (D.SHIFTED, "1e+20", "1e+19"),
    ),
    "day": (
        (D.SHIFTED, "2026-03-04", "2026-03-03"), (D.SHIFTED, "2026-03-04", "2026-03-05"),
        (D.SHIFTED, "2024-02-29", "2024-03-01"), (D.SHIFTED, "2024-02-29", "2024-02-28"),
        (D.SHIFTED, "2026-03-04", "2030-03-05"), (D.ORDER, "2026-03-04", "2026-04-03"),
        (D.CUT, "2026-03-04", "1926-03-04"), (D.CUT, "10000-01-01", "1000-01-01"), (D.SIGN, "infinity", "9999-12-31"),
        (D.SIGN, "-infinity", "infinity"), (D.SIGN, "0044-03-15 BC", "0044-03-15"), (D.EMPTY, "0001-01-01", None),
        (D.EMPTY, None, "1970-01-01"),
    ),
    "clock": (
        (D.ROUNDED, "23:59:59.999999", "23:59:59"), (D.ROUNDED, "23:59:59.999999", "23:59:59.999"),
        (D.ROUNDED, "23:59:59.5", "24:00:00"), (D.SHIFTED, "24:00:00", "00:00:00"), (D.SHIFTED, "08:30:00", "07:30:00"),
        (D.SHIFTED, "08:30:00", "20:30:00"), (D.CUT, "08:30:15", "08:30:00"), (D.EMPTY, "00:00:00", None),
        (D.EMPTY, None, "00:00:00"),
    ),
    "moment": (
        (D.SHIFTED, "2026-02-28 12:00:00", "2026-02-28 13:00:00"),
        (D.SHIFTED, "2026-02-28 23:30:00", "2026-03-01 00:30:00"),
        (D.SHIFTED, "2026-03-29 02:30:00", "2026-03-29 03:30:00"),
        (D.ROUNDED, "2026-02-28 12:00:00.000001", "2026-02-28 12:00:00"),
        (D.ROUNDED, "2026-02-28 12:00:00.123456", "2026-02-28 12:00:00.123"),
        (D.ROUNDED, "2026-02-28 12:00:00.123456", "2026-02-28 12:00:00.123457"),
        (D.CUT, "2026-02-28 12:00:00", "2026-02-28 00:00:00"),
        (D.SIGN, "infinity", "9999-12-31 23:59:59"), (D.EMPTY, "infinity", None),
        (D.EMPTY, None, "1970-01-01 00:00:00"),
    ),
    "instant": (
        (D.SHIFTED, "2026-02-28 11:00:00+00", "2026-02-28 12:00:00+00"),
        (D.SHIFTED, "2026-02-28 11:00:00+00", "2026-02-28 05:30:00+00"),
        (D.SHIFTED, "2026-10-25 00:30:00+00", "2026-10-25 01:30:00+00"),
        (D.ROUNDED, "2026-02-28 11:00:00.123456+00", "2026-02-28 11:00:00+00"),
        (D.ROUNDED, "2026-02-28 11:00:00.123456+00", "2026-02-28 11:00:00.12+00"),
        (D.ROUNDED, "2026-02-28 11:00:00.123456+00", "2026-02-28 11:00:00.123455+00"),
        (D.SHIFTED, "1900-01-01 00:00:00+00", "1899-12-31 23:06:32+00"), (D.SIGN, "-infinity", "infinity"),
        (D.EMPTY, "-infinity", None), (D.EMPTY, None, "1970-01-01 00:00:00+00"),
    ),
    "guid": (
        (D.PLACE, "09a3f61e-39c4-4eb3-96e8-28c7b8d344d2", "09a3f61e-39c4-4eb3-96e8-28c7b8d344d3"),
        (D.ORDER, "09a3f61e-39c4-4eb3-96e8-28c7b8d344d2", "1ef6a309-c439-b34e-96e8-28c7b8d344d2"),
        (D.EMPTY, "00000000-0000-0000-0000-000000000000", None),
        (D.EMPTY, None, "00000000-0000-0000-0000-000000000000"),
    ),
    "raw": (
        (D.PLACE, "\\x00ff", "\\x00fe"), (D.PLACE, "\\x00ff", "\\x80ff"), (D.CUT, "\\x00ff", "\\x"),
        (D.CUT, "\\xff00", "\\xff"),
        (D.CUT, "\\x00ff", "\\xff"), (D.PLACE, "\\x00ff", "\\x00ff00"), (D.EMPTY, "\\x", None), (D.EMPTY, None, "\\x"),
        (D.ORDER, "\\x00ff", "\\xff00"), (D.ENCODING, "\\x00ff", "\\x00efbfbd"),
        (D.ENCODING, "\\x00ff", "\\x5c7830306666"),
        (D.ENCODING, "\\x0d0a", "\\x0a"), (D.PLACE, "\\x" + "00" * 5000, "\\x" + "00" * 4999),
    ),
    "document": (
        (D.PLACE, '{"a": 1, "bc": [1, 2]}', '{"a": 1, "bc": [1, 3]}'),
        (D.PLACE, '{"a": 1, "bc": [1, 2]}', '{"a": 1, "bc": [1]}'),
        (D.PLACE, '{"a": 1, "bc": [1, 2]}', '{"b": 1, "bc": [1, 2]}'),
        (D.PLACE, '{"a": {"b": {"c": 1}}}', '{"a": {"b": {"c": 2}}}'),
        (D.CASE, '{"a": 1, "bc": [1, 2]}', '{"A": 1, "bc": [1, 2]}'), (D.CASE, '"Text"', '"text"'),
        (D.ORDER, "[1, 2, 3]", "[3, 2, 1]"), (D.SPACE, '"Text"', '"Text "'), (D.FORM, '"é"', '"e\u0301"'),
        (D.ENCODING, '"back\\\\slash"', '"back\\\\\\\\slash"'), (D.EMPTY, "null", None), (D.EMPTY, None, "null"),
        (D.EMPTY, "{}", "[]"), (D.EMPTY, '""', "null"), (D.EMPTY, '{"a": null}', "{}"), (D.EMPTY, "{}", None),
        (D.TYPE, '{"n": 1}', '{"n": "1"}'), (D.TYPE, "true", '"true"'), (D.TYPE, "[1]", "1"),
        (D.ROUNDED, "1.50", "1.5"), (D.ROUNDED, "1", "1.0"),
        (D.ROUNDED, "123456789012345678901", "123456789012345680000"),
        (D.CUT, '{"a": 1, "bc": [1, 2]}', '{"a": 1}'),
    ),
}  # fmt: skip

SPELLED: dict[str, Sequence[tuple[str, str, str]]] = {
    "amount": (("leading zeros", "12", "0012"), ("plus sign", "12", "+12")),
    "flag": (("t for true", "true", "t"), ("yes for true", "true", "yes")),
    "price": (("trailing zeros", "1.5", "1.50"), ("leading zeros", "19.99", "0019.99"), ("exponent", "100", "1e2")),
    "exact": (("trailing zeros", "0.1", "0.1000"), ("exponent", "1" + "0" * 60, "1e60")),
    "ratio": (("trailing zeros", "0.1", "0.100"), ("exponent", "0.1", "1e-1"),
    ("more digits", "0.1", "0.1000000000000000055")),
    "day": (("without hyphens", "2026-03-04", "20260304"), ("with slashes", "2026-03-04", "2026/03/04")),
    "clock": (("trailing zeros", "23:59:59.5", "23:59:59.500000"), ("without seconds", "08:30:00", "08:30")),
    "moment": (
        ("T for the space", "2026-02-28 12:00:00", "2026-02-28T12:00:00"),
        ("trailing zeros", "2026-02-28 12:00:00", "2026-02-28 12:00:00.000"),
    ),
    "instant": (
        ("another zone", "2026-02-28 11:00:00+00", "2026-02-28 12:00:00+01"),
        ("Z for the zone", "2026-02-28 11:00:00+00", "2026-02-28T11:00:00Z"),
    ),
    "guid": (
        ("upper case", "09a3f61e-39c4-4eb3-96e8-28c7b8d344d2", "09A3F61E-39C4-4EB3-96E8-28C7B8D344D2"),
        ("without hyphens", "09a3f61e-39c4-4eb3-96e8-28c7b8d344d2", "09a3f61e39c44eb396e828c7b8d344d2"),
    ),
    "raw": (("upper-case hex", "\\x00ff", "\\x00FF"),),
    "document": (
        ("order of keys", '{"a": 1, "bc": [1, 2]}', '{"bc": [1, 2], "a": 1}'),
        ("spaces", '{"a": 1, "bc": [1, 2]}', '{"a":1,"bc":[1,2]}'),
        ("a key given twice", '{"a": 1, "bc": [1, 2]}', '{"a": 0, "bc": [1, 2], "a": 1}'),
        ("escapes", '"é"', '"\\u00e9"'),
        ("exponent", "100", "1e2"),
    ),
}  # fmt: skip
"""What the spelling is, the canonical text, and another text of the same value."""

KEYS: Sequence[tuple[Damage, str, str]] = (
    (D.KEY, "A-100", "A-101"), (D.KEY, "A-100", "A-10"), (D.CASE, "A-100", "a-100"), (D.SPACE, "A-100", "A-100 "),
    (D.SPACE, "A-100", " A-100"), (D.FORM, "Müller", unicodedata.normalize("NFD", "Müller")),
    (D.FORM, "A-100", "\u0410-100"),
    (D.EMPTY, "A-100", ""), (D.ENCODING, "Müller", "MÃ¼ller"), (D.CUT, "A-100", "A"), (D.ORDER, "A-100", "100-A"),
)  # fmt: skip
"""Alterations of a key column."""
