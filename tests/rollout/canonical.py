"""What tells two states apart when time, clocks and texts are abstracted away; and small numbers for values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from distributor.rollout.commands import Command, Flip
from distributor.rollout.events import Refused, Report
from distributor.rollout.member_row import MemberRow, SlotIdentity
from distributor.rollout.state import Answer, Clock, Environment, Member, Rollout, RolloutState, Timing

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON = NOW + timedelta(hours=1)
LATE = NOW + timedelta(days=1)
TIMING = Timing(
    stage_deadline=SOON - NOW,
    flip_deadline=SOON - NOW,
    flip_lead=timedelta(0),
    resend_after=timedelta(0),
    heard_within=timedelta(days=9),
    keep_previous=SOON - NOW,
)
CLOCK = Clock(0.0, 0.0)
T = TypeVar("T")
_SILENT = frozenset({RolloutState.QUEUED, RolloutState.ABANDONED})


class Interner(Generic[T]):
    """Values ↔ small numbers."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self.values: list[T] = []

    def number(self, value: T) -> int:
        """The value's number."""
        key = freeze(value)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


def freeze(value: Any) -> Hashable:
    """A hashable image of nested dataclasses, mappings and models."""
    if isinstance(value, Report | Command):
        return value
    if is_dataclass(value):
        return (type(value).__name__, *(freeze(getattr(value, f.name)) for f in fields(value)))
    if isinstance(value, Mapping):
        return tuple(sorted((k, freeze(v)) for k, v in value.items()))
    if isinstance(value, tuple | list):
        return tuple(freeze(item) for item in value)
    if isinstance(value, MemberRow):
        return value.model_dump_json()
    hash(value)
    return value  # type: ignore[no-any-return]


def identity(release: int) -> SlotIdentity | None:
    """What a slot with a release holds."""
    return SlotIdentity(release=release, mapping="m", schema_="s") if release else None


def timeless(command: Command) -> Command:
    """A command without its times."""
    return replace(command, at=NOW, not_after=LATE) if isinstance(command, Flip) else command


def canonical(state: Environment) -> Environment:
    """An environment without times, texts and clocks: what `decide` goes by when time is abstracted away."""
    return replace(
        state,
        members={n: _canonical_member(m) for n, m in sorted(state.members.items())},
        queue=tuple(map(_canonical_rollout, state.queue)),
        active=_canonical_rollout(state.active) if state.active else None,
        last=_canonical_rollout(state.last) if state.last else None,
        pinned="pinned" if state.pinned else "",
        settlement=replace(state.settlement, due_at=NOW, sent_at=None, refusals={}) if state.settlement else None,
        ended=(),
    )


def _canonical_member(member: Member) -> Member:
    return replace(member, shadow=None, clock=CLOCK, heard_at=NOW, worked_at=None, asked_at=None)


def _canonical_rollout(rollout: Rollout) -> Rollout:
    def moment(at: datetime | None) -> datetime | None:
        return NOW if at else None

    answers = {
        name: Answer(a.staged, a.from_release, moment(a.flipped_at), a.reverted, a.lagging)
        for name, a in sorted(rollout.answers.items())
    }
    return replace(
        rollout,
        started_at=moment(rollout.started_at),
        deadline=SOON if rollout.deadline else None,
        converged_at=None,
        decided_at=None,
        flip_at=None,
        reverting_at=None,
        ended_at=moment(rollout.ended_at),
        outcome="",
        skew_ms=None,
        skew_uncertainty_ms=None,
        answers={} if rollout.state in _SILENT else answers,
    )


def brief(message: Command | Report) -> str:
    """A message in a trace."""
    kind = type(message).__name__.lower()
    reason = f" ({message.reason.value})" if isinstance(message, Refused) else ""
    return f"{kind} e{message.epoch}{reason} {'of' if isinstance(message, Report) else 'for'} {message.member}"
