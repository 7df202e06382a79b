"""The rollouts of an environment, or of all."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from distributor.rollout.state import RolloutState
from distributor.views.base import View
from distributor.views.wording import span

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from distributor.ledger.rollouts import Position, RolloutRecord


class RolloutLine(View):
    """One attempt to take an environment from one release to another."""

    id: str
    """Its id; verbs that ask for one take any unambiguous beginning of it."""
    environment: str
    """The environment."""
    release: int
    """The release that it takes the environment to."""
    from_release: int
    """The release that the environment showed when it began; 0 is empty, or that it has not begun."""
    state: RolloutState
    """`queued`, `staging`, `converged`, `flipping`, `reverting`; ended: `online`, `superseded`, `abandoned`,
    `reverted`, `refused`."""
    epoch: int
    """The fencing number of its commands; 0 while it is queued."""
    cause: str
    """Who asked for it: `auto`, `operator`, `refresh` or `rollback`."""
    by: str
    """Who asked, by name."""
    reason: str
    """Why it was asked for."""
    requested_at: datetime
    """When it was asked for, in UTC."""
    started_at: datetime | None
    """When staging began."""
    converged_at: datetime | None
    """When every required member had staged the release with the expected certificate."""
    decided_at: datetime | None
    """When the decision to flip was saved: the point of no return."""
    reverting_at: datetime | None
    """When it was decided to flip back."""
    ended_at: datetime | None
    """When it ended; null while it goes on."""
    outcome: str
    """How it ended, in a sentence."""
    skew_ms: float | None
    """Time from the first required member's flip to the last one's, in milliseconds."""
    skew_uncertainty_ms: float | None
    """How far the skew may be off, because members have clocks of their own."""

    @classmethod
    def of(cls, record: RolloutRecord) -> RolloutLine:
        """A rollout as the ledger has it."""
        names = cls.model_fields.keys() - {"environment", "cause"}
        plain = {name: getattr(record.rollout, name) for name in names}
        for name in ("skew_ms", "skew_uncertainty_ms"):
            plain[name] = None if plain[name] is None else round(plain[name], 3)
        return cls(**plain, environment=record.environment, cause=record.rollout.cause.value)

    @property
    def way(self) -> str:
        """`1 → 2`; where it begins is known only once it has begun."""
        return f"{self.from_release} → {self.release}" if self.started_at else f"→ {self.release}"

    @property
    def skew(self) -> str:
        """The measured skew with its uncertainty."""
        if self.skew_ms is None:
            return "-"
        unsure = self.skew_uncertainty_ms
        return f"{self.skew_ms:.1f} ms" + (f" ± {unsure:.1f}" if unsure is not None else "")

    @property
    def took(self) -> str:
        """From the beginning of staging to the end."""
        return span(self.ended_at - self.started_at) if self.ended_at and self.started_at else "-"


class Rollouts(View):
    """Rollouts, newest first."""

    rollouts: tuple[RolloutLine, ...]
    """The rollouts, newest first."""


def rollouts(
    conn: Connection,
    environment: str | None = None,
    *,
    limit: int = 20,
    before: Position | None = None,
    among: Collection[str] | None = None,
) -> Rollouts:
    """The newest rollouts of an environment, or of all. `before`: `(requested_at, id)` of the last one of the page
    before this one; `among`: those of these environments only."""
    from distributor.ledger.rollouts import rollouts as newest

    return Rollouts(rollouts=tuple(map(RolloutLine.of, newest(conn, environment, limit, before, among=among))))
