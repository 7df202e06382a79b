"""What the last rollouts say about the next: from the change to everywhere, and the skew, drawn small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from distributor.rollout.state import RolloutState
from distributor.views.rollouts import RolloutLine
from distributor.views.wording import SHORT, span
from distributor.web.pages.drawing import trend

SHOWN = 30
"""How many rollouts a trend goes back."""


@dataclass(frozen=True, slots=True)
class Trends:
    """Two drawings, oldest first, each with its newest and its highest value as text."""

    everywhere: Markup
    everywhere_newest: str
    everywhere_most: str
    skew: Markup
    skew_newest: str
    skew_most: str
    rollouts: int


def trends(rollouts: Sequence[RolloutLine], published: Mapping[int, datetime]) -> Trends | None:
    """The trends of rollouts, newest first as the ledger gives them. `published`: when the releases were made.

    Only those count that brought a newer release online: a way back, or the same once more, has another tale to tell.
    None when there is none such.
    """
    told = [
        line
        for line in reversed(rollouts)
        if line.state is RolloutState.ONLINE and line.release > line.from_release and line.ended_at
    ][-SHOWN:]
    if not told:
        return None
    spans = [_everywhere(line, published.get(line.release)) for line in told]
    known = [length.total_seconds() for length in spans if length is not None]
    skews = [line.skew_ms for line in told if line.skew_ms is not None]
    return Trends(
        everywhere=trend(
            [None if length is None else length.total_seconds() for length in spans],
            [
                f"{_named(line)}: {span(length) if length else 'not known'}"
                for line, length in zip(told, spans, strict=True)
            ],
            told=_summary(
                "from publishing to online in all systems", [span(timedelta(seconds=s)) for s in _ends(known)]
            ),
        ),
        everywhere_newest=span(spans[-1]) if spans[-1] is not None else "–",
        everywhere_most=span(timedelta(seconds=max(known))) if known else "–",
        skew=trend(
            [line.skew_ms for line in told],
            [f"{_named(line)}: {line.skew}" for line in told],
            told=_summary("skew", [f"{value:.1f} ms" for value in _ends(skews)]),
        ),
        skew_newest=told[-1].skew,
        skew_most=f"{max(skews):.1f} ms" if skews else "–",
        rollouts=len(told),
    )


def _everywhere(line: RolloutLine, published: datetime | None) -> timedelta | None:
    return line.ended_at - published if published and line.ended_at else None


def _named(line: RolloutLine) -> str:
    return f"release {line.release} in {line.environment}, rollout {line.id[:SHORT]}"


def _ends(values: Sequence[float]) -> list[float]:
    """The least, the most and the newest."""
    return [min(values), max(values), values[-1]] if values else []


def _summary(what: str, ends: list[str]) -> str:
    if not ends:
        return f"{what}: not known"
    return f"{what}: between {ends[0]} and {ends[1]}, the newest {ends[2]}"
