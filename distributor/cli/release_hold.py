"""`release-hold ENV`: let a reserved environment go on."""

from __future__ import annotations

from typing import Annotated

import typer

from distributor.cli.deploy import OptionalReason
from distributor.cli.desk import Desk
from distributor.cli.intervention import ShownIntervention, intervene
from distributor.cli.options import By, DryRun, Environment


def release_hold(
    desk: Desk,
    environment: Environment,
    owner: Annotated[
        str | None,
        typer.Option("--owner", metavar="NAME", help="Only this one's hold; default: all.", show_default=False),
    ] = None,
    reason: OptionalReason = "",
    by: By = None,
    dry_run: DryRun = False,
) -> ShownIntervention:
    """End the holds of an environment: what has been staged meanwhile flips."""
    from distributor.requests import interventions

    return intervene(
        desk,
        environment,
        f"the hold of {owner} is released" if owner else "all holds are released",
        lambda engine: interventions.release_hold(
            engine, desk.settings, environment, by=by or desk.user, owner=owner, reason=reason
        ),
        dry_run=dry_run,
    )
