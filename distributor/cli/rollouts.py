"""`rollouts`: the history of an environment, or of all."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid, hanging, span, stamp
from distributor.cli.options import Limit
from distributor.cli.outcome import Outcome, Part
from distributor.rollout.state import RolloutState

if TYPE_CHECKING:
    from distributor.ledger.rollouts import RolloutRecord

SHORT = 8
WIDE = 120
"""Columns of a console in which a rollout has room in one line."""
NONE = "there was no rollout yet"


class RolloutLine(Part):
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


class Rollouts(Outcome):
    """Rollouts, newest first."""

    rollouts: tuple[RolloutLine, ...]
    """The rollouts, newest first."""

    def show(self, console: Console) -> None:
        """A table, newest first; on a narrow console a paragraph for each."""
        if console.width < WIDE:
            self._show_narrow(console)
            return
        table = grid(
            "rollout", "environment", ">release", "state", "asked for (UTC)", "by", ">took", ">skew", "outcome"
        )
        for line in self.rollouts:
            table.add_row(
                line.id[:SHORT],
                line.environment,
                line.way,
                line.state.value,
                stamp(line.requested_at),
                f"{line.by} ({line.cause})",
                line.took,
                line.skew,
                line.outcome or "-",
            )
        console.print(table if self.rollouts else NONE)

    def _show_narrow(self, console: Console) -> None:
        for line in self.rollouts:
            what = f"{line.environment}, release {line.way}, {line.state.value}, {stamp(line.requested_at)} UTC"
            about = hanging()
            about.add_row(line.id[:SHORT], what)
            about.add_row("", f"by {line.by} ({line.cause}), took {line.took}, skew {line.skew}")
            if line.outcome:
                about.add_row("", line.outcome)
            console.print(about)
        if not self.rollouts:
            console.print(NONE)


def rollouts(
    desk: Desk,
    environment: Annotated[
        str | None, typer.Argument(metavar="[ENV]", help="Only this environment.", show_default=False)
    ] = None,
    limit: Limit = 20,
) -> Rollouts:
    """List rollouts: from which release to which, who asked, how they ended, and their skew."""
    from distributor.ledger.rollouts import rollouts as newest

    if environment is not None:
        desk.known_environment(environment)
    with desk.reading() as conn:
        return Rollouts(rollouts=tuple(RolloutLine.of(record) for record in newest(conn, environment, limit)))
