"""`rollouts`: the history of an environment, or of all."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid, hanging
from distributor.cli.options import Limit
from distributor.cli.outcome import Outcome
from distributor.views.rollouts import Rollouts
from distributor.views.rollouts import rollouts as newest
from distributor.views.wording import SHORT, stamp

WIDE = 120
"""Columns of a console in which a rollout has room in one line."""
NONE = "there was no rollout yet"


class ShownRollouts(Rollouts, Outcome):
    """Rollouts, newest first."""

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
) -> ShownRollouts:
    """List rollouts: from which release to which, who asked, how they ended, and their skew."""
    if environment is not None:
        desk.known_environment(environment)
    with desk.reading() as conn:
        return ShownRollouts.of(newest(conn, environment, limit=limit))
