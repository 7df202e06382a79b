"""`abort ENV`: call a rollout off."""

from __future__ import annotations

from typing import Annotated

import typer

from distributor.cli.desk import Desk
from distributor.cli.intervention import ShownIntervention, intervene
from distributor.cli.options import By, DryRun, Environment, Reason
from distributor.views.rollout import find
from distributor.views.wording import SHORT


def abort(
    desk: Desk,
    environment: Environment,
    reason: Reason,
    rollout: Annotated[
        str | None,
        typer.Option("--rollout", metavar="ID", help="A queued one; default: the rollout that goes on."),
    ] = None,
    by: By = None,
    dry_run: DryRun = False,
) -> ShownIntervention:
    """Call a rollout off: before the decision to flip nothing flips, after it all flip back."""
    from distributor.requests import interventions

    chosen = None
    if rollout is not None:
        with desk.reading() as conn:
            chosen = find(conn, rollout).rollout.id
    return intervene(
        desk,
        environment,
        f"rollout {chosen[:SHORT]} is called off" if chosen else "the rollout that goes on is called off",
        lambda engine: interventions.abort(
            engine, desk.settings, environment, by=by or desk.user, reason=reason, rollout_id=chosen
        ),
        dry_run=dry_run,
    )
