"""Drawings as SVG, made from numbers alone: lanes of a timeline, dots on a line, small trends.

Widths are given in percent, so that a drawing fills its place at any size and no script has to measure anything.
Colours come from the style sheet by class; what is drawn stands as a number beside it, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

_HEIGHT = 24
_LEGIBLE = 1.5
"""Percent of the width that a letter needs in a lane."""
_TREND = (600, 64)
_WIDEST_COLUMN = 40


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a lane: from `start`, `length` long, in any unit. `kind` is its class, `label` is written into it
    when there is room, `title` is told to whoever points at it."""

    start: float
    length: float
    kind: str
    label: str
    title: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A moment on a lane."""

    at: float
    title: str


def lane(pieces: Sequence[Piece], whole: float, *, told: str) -> Markup:
    """One lane of `whole` units. `told` says in words what is drawn."""
    drawn = Markup("").join(_piece(piece, whole) for piece in pieces if piece.length > 0)
    return _lane(drawn, told)


def dots(marks: Sequence[Dot], whole: float, *, told: str) -> Markup:
    """A line of `whole` units with dots on it, kept off both ends so that none is cut in half."""
    line = Markup('<line class="line" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(_HEIGHT // 2)
    drawn = Markup("").join(
        Markup('<circle class="dot" cx="{}%" cy="{}" r="5"><title>{}</title></circle>').format(
            _short(2 + 96 * _share(mark.at, whole) / 100), _HEIGHT // 2, mark.title
        )
        for mark in marks
    )
    return _lane(line + drawn, told)


def axis(labels: Sequence[str]) -> Markup:
    """Labels at equal distances along a lane: the first at its left end, the last at its right end."""
    last = len(labels) - 1
    drawn = Markup("").join(
        Markup('<text class="axis" x="{}%" y="16" text-anchor="{}">{}</text>').format(
            _short(100 * place / last), "start" if place == 0 else "end" if place == last else "middle", label
        )
        for place, label in enumerate(labels)
    )
    return Markup('<svg class="lane" aria-hidden="true">{}</svg>').format(drawn)


def trend(values: Sequence[float | None], titles: Sequence[str], *, told: str) -> Markup:
    """Columns from the oldest to the newest, the newest in full colour; where nothing is known there is a gap."""
    width, height = _TREND
    highest = max((value for value in values if value is not None), default=0) or 1
    step = min(width / max(len(values), 1), _WIDEST_COLUMN)
    drawn = Markup("").join(
        Markup('<rect class="column{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
            " newest" if place == len(values) - 1 else "",
            _short(place * step + 1),
            _short(height - 1 - tall),
            _short(step - 2),
            _short(tall),
            title,
        )
        for place, (value, title) in enumerate(zip(values, titles, strict=True))
        if value is not None
        for tall in (max(value / highest * (height - 4), 1.5),)
    )
    base = Markup('<line class="line" x1="0" x2="{0}" y1="{1}" y2="{1}"/>').format(width, height - 0.5)
    return Markup(
        '<svg class="trend" viewBox="0 0 {} {}" preserveAspectRatio="xMinYMax meet" role="img" aria-label="{}">{}</svg>'
    ).format(width, height, told, drawn + base)


def _lane(drawn: Markup, told: str) -> Markup:
    return Markup('<svg class="lane" role="img" aria-label="{}">{}</svg>').format(told, drawn)


def _piece(piece: Piece, whole: float) -> Markup:
    left, wide = _share(piece.start, whole), _share(piece.length, whole)
    drawn = Markup('<rect class="piece {}" x="{}%" y="3" width="{}%" height="18"><title>{}</title></rect>').format(
        piece.kind, _short(left), _short(max(min(wide, 100 - left), 0.2)), piece.title
    )
    if wide < _LEGIBLE * (len(piece.label) + 2):
        return drawn
    return drawn + Markup('<text x="{}%" y="16" text-anchor="middle" aria-hidden="true">{}</text>').format(
        _short(left + wide / 2), piece.label
    )


def _share(value: float, whole: float) -> float:
    return min(max(100 * value / whole, 0), 100) if whole > 0 else 0


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
