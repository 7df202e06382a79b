"""Figures and how they are told: medians, percentiles, histograms, and a measured value beside its target."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200)
"""Upper bounds of a histogram's buckets, in milliseconds; what lies above the last is a bucket of its own."""
BAR = 50
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table of targets. `kept` is None where there is no target."""

    name: str
    value: str
    target: str = ""
    kept: bool | None = None


@dataclass(frozen=True, slots=True)
class Distribution:
    """Milliseconds. `histogram` has a count for each of BUCKETS_MS, and one for what is above all of them."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    histogram: tuple[int, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution:
        """Raises ValueError when there are no values."""
        if not values:
            raise ValueError("no values, no distribution")
        bounds = (float("-inf"), *BUCKETS_MS, float("inf"))
        return cls(
            count=len(values),
            p50_ms=round(percentile(values, 0.5), 2),
            p90_ms=round(percentile(values, 0.9), 2),
            p99_ms=round(percentile(values, 0.99), 2),
            max_ms=round(max(values), 2),
            histogram=tuple(sum(low < value <= high for value in values) for low, high in pairwise(bounds)),
        )

    def bars(self) -> list[str]:
        """The histogram as lines of text, without those above the largest value."""
        most = max(self.histogram)
        names = [f"≤ {bound:>3} ms" for bound in BUCKETS_MS] + [f"> {BUCKETS_MS[-1]:>3} ms"]
        last = max(at for at, count in enumerate(self.histogram) if count)
        return [
            f"{name} │{_bar(count / most)} {count:,}".rstrip()
            for name, count in list(zip(names, self.histogram, strict=True))[: last + 1]
        ]


def median(values: Sequence[float]) -> float:
    """The median, to a tenth."""
    return round(statistics.median(values), 1)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _bar(share: float) -> str:
    """A bar of at most BAR characters, to an eighth of one; what is there at all is seen."""
    eighths = max(round(share * BAR * 8), 1) if share else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
