"""What `hold`, `release-hold`, `abort` and `detach` end with: a sentence, and how the environment stands now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.outcome import Outcome
from distributor.views.environments import sentences
from distributor.views.intervention import Intervention, intervention

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from distributor.coordination.step import Step


class ShownIntervention(Intervention, Outcome):
    """What an operator did to an environment."""

    def show(self, console: Console) -> None:
        """The sentence, alarms, and what else there is to say about the environment."""
        name = self.environment.environment
        console.print(f"{name}: {'would be done: ' if self.dry_run else ''}{self.done}")
        for sentence in (*self.alarms, *sentences(self.environment)):
            console.print(f"{name}: {sentence}")


def intervene(
    desk: Desk, environment: str, done: str, act: Callable[[Engine], Step], *, dry_run: bool
) -> ShownIntervention:
    """Does it, unless this is a dry run, and looks at the environment afterwards."""
    from distributor.ledger.engine import transaction

    desk.known_environment(environment)
    with desk.ledger() as engine:
        alarms = () if dry_run else act(engine).alarms
        with transaction(engine) as conn:
            return ShownIntervention.of(intervention(conn, desk.settings, environment, done, alarms, dry_run=dry_run))
