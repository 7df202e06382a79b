"""Drawings, read back as XML: what is drawn is as long as what it stands for."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from distributor.web.pages.drawing import Dot, Piece, axis, dots, lane, trend

lengths = st.floats(min_value=0.001, max_value=1e6, allow_nan=False)


def drawn(svg: Markup) -> ET.Element:
    return ET.fromstring(svg)


def percent(element: ET.Element, name: str) -> float:
    text = element.attrib[name]
    assert text.endswith("%")
    return float(text[:-1])


@given(st.lists(lengths, min_size=1, max_size=8))
def test_pieces_of_a_lane_are_as_long_as_their_share_and_stay_inside(parts: list[float]) -> None:
    whole, start, pieces = sum(parts), 0.0, []
    for number, long in enumerate(parts):
        pieces.append(Piece(start, long, "load", "load", f"piece {number}"))
        start += long
    found = drawn(lane(pieces, whole, told="a lane")).findall("rect")
    assert len(found) == len(parts)
    for rect, long in zip(found, parts, strict=True):
        assert percent(rect, "width") == pytest.approx(max(100 * long / whole, 0.2), abs=0.02)
        assert 0 <= percent(rect, "x") <= 100
        assert percent(rect, "x") + percent(rect, "width") <= 100.3


def test_a_label_stands_in_a_piece_only_when_it_has_room() -> None:
    svg = drawn(lane([Piece(0, 90, "load", "load", "long"), Piece(90, 10, "commit", "commit", "short")], 100, told="x"))
    assert [text.text for text in svg.findall("text")] == ["load"]
    assert [rect.findtext("title") for rect in svg.findall("rect")] == ["long", "short"]


def test_what_is_drawn_is_told_to_whoever_does_not_see_it() -> None:
    for svg in (lane([], 0, told="nothing yet"), dots([], 0, told="nothing yet"), trend([], [], told="nothing yet")):
        found = drawn(svg)
        assert (found.attrib["role"], found.attrib["aria-label"]) == ("img", "nothing yet")


def test_names_of_strangers_cannot_leave_the_text_they_stand_in() -> None:
    evil = '"><script>alert(1)</script>&'
    for svg in (
        lane([Piece(0, 1, evil, evil, evil)], 1, told=evil),
        dots([Dot(0, evil)], 1, told=evil),
        trend([1.0], [evil], told=evil),
        axis([evil, evil]),
    ):
        assert "<script" not in svg
        drawn(svg)


@given(st.lists(lengths, min_size=1, max_size=6))
def test_dots_keep_their_order_and_none_is_cut_in_half(moments: list[float]) -> None:
    whole = max(moments)
    found = [
        percent(c, "cx") for c in drawn(dots([Dot(at, "d") for at in sorted(moments)], whole, told="x")).iter("circle")
    ]
    assert found == sorted(found)
    assert all(2 <= place <= 98 for place in found)


@given(st.lists(st.one_of(st.none(), lengths), min_size=1, max_size=30))
def test_columns_of_a_trend_are_as_high_as_their_values_and_gaps_stay_gaps(values: list[float | None]) -> None:
    svg = drawn(trend(values, [f"value {n}" for n in range(len(values))], told="x"))
    known = [(n, value) for n, value in enumerate(values) if value is not None]
    columns = svg.findall("rect")
    assert [c.findtext("title") for c in columns] == [f"value {n}" for n, _ in known]
    if known:
        highest = max(value for _, value in known)
        for column, (_, value) in zip(columns, known, strict=True):
            assert float(column.attrib["height"]) == pytest.approx(max(60 * value / highest, 1.5), abs=0.02)
    newest = [c for c in columns if "newest" in c.attrib["class"]]
    assert len(newest) == (values[-1] is not None)


def test_no_drawing_carries_a_style_of_its_own() -> None:
    svg = lane([Piece(0, 1, "load", "load", "t")], 1, told="x") + dots([Dot(0, "d")], 1, told="x") + axis(["0", "1"])
    assert not re.search(r"\sstyle=|<style|\son\w+=", svg)
