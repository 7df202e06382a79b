"""A rollout's documents as drawings: the whole in one strip, a lane for each system's load, the flips on a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from markupsafe import Markup

from distributor.views.members import LoadPart
from distributor.views.rollout import MemberPart, RolloutStory
from distributor.views.rollouts import RolloutLine
from distributor.views.wording import count, span
from distributor.web.pages.drawing import Dot, Piece, axis, dots, lane
from distributor.web.pages.wording import seconds

_STAGED = "member-staged"
_IN_ORDER = ("plan", "fetch", "load", "rebuild", "audit", "commit")
"""Phases of a load as they come; what a member calls otherwise stands after them."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A state that the rollout was in, and for how long."""

    state: str
    since: datetime
    length: timedelta


@dataclass(frozen=True, slots=True)
class Lane:
    """One system: what it did, and its load and its flip drawn. `after`: how long after the first flip its own was."""

    part: MemberPart
    load: LoadPart | None
    loaded: Markup
    flip: Markup
    after: timedelta | None


@dataclass(frozen=True, slots=True)
class Pictures:
    """Everything that is drawn of a rollout. Axes are empty where there is nothing to measure."""

    strip: Markup
    stretches: tuple[Stretch, ...]
    lanes: tuple[Lane, ...]
    load_axis: Markup
    flip_axis: Markup
    phases: tuple[str, ...]


def pictures(story: RolloutStory, loads: Mapping[str, LoadPart], now: datetime) -> Pictures:
    """What is drawn of a rollout at this moment; `loads` are those that go on, by system."""
    line = story.rollout
    stretches = tuple(_stretches(line, now))
    staged = {entry.member: entry.at for entry in story.timeline if entry.kind == _STAGED and entry.member}
    began = line.started_at
    till = line.converged_at or max([line.ended_at or now, *staged.values()])
    loading = (till - began).total_seconds() if began else 0.0
    flips = {part.system: part.flipped_at for part in story.members if part.flipped_at}
    first, last = (min(flips.values()), max(flips.values())) if flips else (None, None)
    flipping = max((last - first).total_seconds(), 0.001) if first and last else 0.0
    return Pictures(
        strip=_strip(line, stretches),
        stretches=stretches,
        lanes=tuple(
            Lane(
                part=part,
                load=loads.get(part.system),
                loaded=_loaded(part, began, staged.get(part.system), loads.get(part.system), till, loading),
                flip=_flip(part.system, flips[part.system] - first, flipping)
                if first and part.system in flips
                else Markup(""),
                after=flips[part.system] - first if first and part.system in flips else None,
            )
            for part in story.members
        ),
        load_axis=_scale(loading) if began else Markup(""),
        flip_axis=_scale(flipping) if flips else Markup(""),
        phases=tuple(_ordered({name: 0.0 for part in story.members for name in part.phases})),
    )


def _stretches(line: RolloutLine, now: datetime) -> Iterator[Stretch]:
    moments = [
        ("queued", line.requested_at),
        ("staging", line.started_at),
        ("converged", line.converged_at),
        ("flipping", line.decided_at),
        ("reverting", line.reverting_at),
    ]
    passed = sorted(((at, name) for name, at in moments if at is not None), key=lambda moment: moment[0])
    end = line.ended_at or now
    for (at, name), (until, _) in pairwise([*passed, (end, "")]):
        yield Stretch(name, at, max(until - at, timedelta()))


def _strip(line: RolloutLine, stretches: tuple[Stretch, ...]) -> Markup:
    whole = sum((part.length.total_seconds() for part in stretches), 0.0)
    pieces, start = [], 0.0
    for part in stretches:
        long = part.length.total_seconds()
        label = f"{part.state} {span(part.length)}"
        pieces.append(Piece(start, long, part.state, label, label))
        start += long
    told = ", ".join(f"{part.state} for {span(part.length)}" for part in stretches)
    return lane(pieces, whole, told=f"Release {line.release}: {told}")


def _loaded(
    part: MemberPart,
    began: datetime | None,
    staged: datetime | None,
    load: LoadPart | None,
    till: datetime,
    whole: float,
) -> Markup:
    """The load of one system. Phases are totals, one after the other, and end where it had staged."""
    if began is None:
        return Markup("")
    pieces = []
    took = sum(part.phases.values())
    end = ((staged or till) - began).total_seconds()
    start = max(end - took, 0.0)
    for name, long in _ordered(part.phases).items():
        pieces.append(Piece(start, long, name, name, f"{part.system}: {name} {seconds(long)}"))
        start += long
    if load:
        pieces.append(Piece(0, whole, "running", load.phase, f"{part.system}: {load.sentence}"))
    told = ", ".join(f"{name} {seconds(long)}" for name, long in _ordered(part.phases).items())
    rows = f"{count(part.rows, 'row')}, " if part.rows is not None else ""
    return lane(pieces, whole, told=f"{part.system}: {load.sentence if load else rows + told or part.state}")


def _ordered(phases: Mapping[str, float]) -> dict[str, float]:
    known = [name for name in _IN_ORDER if name in phases]
    return {name: phases[name] for name in (*known, *(name for name in phases if name not in _IN_ORDER))}


def _flip(system: str, after: timedelta, whole: float) -> Markup:
    told = f"{system}: {_precise(after.total_seconds())} after the first"
    return dots([Dot(after.total_seconds(), told)], whole, told=told)


def _scale(whole: float) -> Markup:
    return axis(["0", _precise(whole / 2), _precise(whole)])


def _precise(length: float) -> str:
    return f"{length * 1000:.1f} ms" if length < 1 else seconds(length)
