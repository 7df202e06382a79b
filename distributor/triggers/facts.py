"""What the rules of an environment's triggers are judged by. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Self

from distributor.rollout.state import Environment


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest release, and when it was made."""

    number: int
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Unshown:
    """Releases that are newer than what is shown or on its way: their rows, and when first and last were made."""

    rows: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Tries:
    """How often the newest release was tried here in vain. `again_at`: not before; None: at once.

    `called_off`: an operator ended one of its rollouts. `why`: it could not even be asked for, in a sentence.
    """

    count: int = 0
    called_off: bool = False
    again_at: datetime | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """Somebody called a trigger."""

    id: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of one rule between looks.

    `decision`, of `decided_at`, is the last thing that it did, or did not do (`refused`: it still does not), and
    `fired_at` when it last asked for a release. `waits` says what it waits for at present, and `until` when at most.
    A schedule is looked after up to `seen`, and only as long as it is `schedule`. `wants`: it came, and the release
    that it asked for, `release`, is not shown yet; `by` is who called.
    """

    decision: str = ""
    decided_at: datetime | None = None
    fired_at: datetime | None = None
    refused: bool = False
    waits: str = ""
    until: datetime | None = None
    seen: datetime | None = None
    schedule: str = ""
    wants: str = ""
    by: str = ""
    release: int | None = None

    @classmethod
    def of(
        cls, decision: str, decided_at: datetime | None, fired_at: datetime | None, detail: Mapping[str, Any]
    ) -> Self:
        """As the ledger has it."""
        known = {one.name for one in fields(cls)}
        kept = {name: value for name, value in detail.items() if name in known}
        times = {name: datetime.fromisoformat(kept[name]) for name in _TIMES if kept.get(name)}
        return cls(decision=decision, decided_at=decided_at, fired_at=fired_at, **{**kept, **times})

    @property
    def detail(self) -> dict[str, Any]:
        """What has no column of its own in the ledger, as JSON; what says nothing is left out."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in _COLUMNS}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in found.items() if value
        }


_TIMES = ("until", "seen")
_COLUMNS = ("decision", "decided_at", "fired_at")


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known at one moment. `calls` are those that nobody has taken yet, oldest first, by rule."""

    state: Environment
    newest: Newest | None = None
    unshown: Unshown | None = None
    tries: Tries = Tries()
    memories: Mapping[str, Memory] = field(default_factory=dict)
    calls: Mapping[str, tuple[Call, ...]] = field(default_factory=dict)
