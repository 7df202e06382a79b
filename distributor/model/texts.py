"""Canonical texts that need more than `str` (docs/certificates.md)."""

from __future__ import annotations

import math

_NAMES = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def double_text(value: float) -> str:
    """The text that PostgreSQL gives a double: shortest, with exponents below 1e-4 and from 1e+15 on."""
    text = repr(value).removesuffix(".0")
    if text in _NAMES or abs(value) < 1e15:
        return _NAMES.get(text, text)
    sign = "-" if value < 0 else ""
    if abs(value) >= 2**53:
        return sign + _large(int(abs(value)), math.ulp(value))
    return sign + _scientific(text.removeprefix("-").replace(".", ""), 15)


def _scientific(digits: str, exponent: int) -> str:
    rest = digits[1:].rstrip("0")
    return f"{digits[0]}{'.' if rest else ''}{rest}e+{exponent:02}"


def _large(value: int, ulp: float) -> str:
    """Shortest digits strictly between the midpoints to both neighbours.

    Python also takes a midpoint itself where reading rounds it back; PostgreSQL never does. Below 2^53 no midpoint is
    short enough to matter.
    """
    # Four times everything, so that half the gap below a power of two is whole.
    gap = int(4 * ulp)
    below = value * 4 - (gap // 4 if value & (value - 1) == 0 else gap // 2)
    above = value * 4 + gap // 2
    for places in range(len(str(value)) - 1, -1, -1):
        unit = 10**places
        near = sorted((value // unit, value // unit + 1), key=lambda digits: (abs(digits * unit - value), digits % 2))
        for digits in near:
            if below < digits * unit * 4 < above:
                return _scientific(str(digits), len(str(digits)) - 1 + places)
    raise AssertionError("a number lies between its own midpoints")
