"""`hold ENV`: reserve an environment."""

from __future__ import annotations

from typing import Annotated

import typer

from distributor.cli.desk import Desk
from distributor.cli.intervention import ShownIntervention, intervene
from distributor.cli.options import By, DryRun, Environment, Reason, moment
from distributor.errors import UsageError
from distributor.telemetry import clock
from distributor.views.wording import stamp

Owner = Annotated[
    str | None,
    typer.Option("--owner", metavar="NAME", help="Whose hold; default: the user of this machine.", show_default=False),
]


def hold(
    desk: Desk,
    environment: Environment,
    reason: Reason,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help='When it ends by itself: "2h", or 2026-07-01T18:00 (UTC).'),
    ] = None,
    owner: Owner = None,
    by: By = None,
    dry_run: DryRun = False,
) -> ShownIntervention:
    """Reserve an environment: rollouts are staged, but nothing flips until the hold ends.

    What is flipping already is not stopped.
    """
    from distributor.requests import interventions

    now = clock.now()
    end = moment(until, "--until", now) if until else None
    if end is not None and end <= now:
        raise UsageError(f"{stamp(end)} UTC is past", where="--until", mend="Name a time to come.")
    holder = owner or desk.user
    return intervene(
        desk,
        environment,
        f"held by {holder}" + (f" until {stamp(end)} UTC" if end else ""),
        lambda engine: interventions.hold(
            engine, desk.settings, environment, owner=holder, reason=reason, until=end, by=by or desk.user
        ),
        dry_run=dry_run,
    )
