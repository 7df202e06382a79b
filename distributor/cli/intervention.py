"""What `hold`, `release-hold`, `abort` and `detach` end with: a sentence, and how the environment stands now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.outcome import Outcome
from distributor.views.environments import EnvironmentStatus, sentences
from distributor.views.status import look

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from distributor.coordination.step import Step


class Intervention(Outcome):
    """What an operator did to an environment."""

    done: str
    """What was done, in a sentence; with `--dry-run` what would be done."""
    dry_run: bool
    """Whether nothing was changed because of `--dry-run`."""
    alarms: tuple[str, ...]
    """What an operator has to know about it, such as that it came too late for a flip."""
    environment: EnvironmentStatus
    """How the environment stands now."""

    def show(self, console: Console) -> None:
        """The sentence, alarms, and what else there is to say about the environment."""
        name = self.environment.environment
        console.print(f"{name}: {'would be done: ' if self.dry_run else ''}{self.done}")
        for sentence in (*self.alarms, *sentences(self.environment)):
            console.print(f"{name}: {sentence}")


def intervene(desk: Desk, environment: str, done: str, act: Callable[[Engine], Step], *, dry_run: bool) -> Intervention:
    """Does it, unless this is a dry run, and looks at the environment afterwards."""
    from distributor.ledger.engine import transaction

    desk.known_environment(environment)
    with desk.ledger() as engine:
        alarms = () if dry_run else act(engine).alarms
        with transaction(engine) as conn:
            standing = look(conn, desk.settings, [environment]).environments[0]
    return Intervention(done=done, dry_run=dry_run, alarms=alarms, environment=standing)
