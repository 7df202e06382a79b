"""`detach ENV SYSTEM`: go on without a system that cannot be reached."""

from __future__ import annotations

from typing import Annotated

import typer

from distributor.cli.desk import Desk
from distributor.cli.intervention import ShownIntervention, intervene
from distributor.cli.options import By, DryRun, Environment, Reason
from distributor.errors import UsageError


def detach(
    desk: Desk,
    environment: Environment,
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="A system of this environment.")],
    reason: Reason,
    by: By = None,
    dry_run: DryRun = False,
) -> ShownIntervention:
    """Go on without a system that cannot be reached: the last way out of a rollout that cannot end.

    What its readers see is unknown from then on. When it comes back it is fenced and caught up before it counts again.
    """
    from distributor.requests import interventions

    known = desk.settings.environment(environment).systems
    if system not in known:
        raise UsageError(
            f"there is no system {system!r} in {environment}", where="config", mend=f"Known: {', '.join(known)}."
        )
    return intervene(
        desk,
        environment,
        f"{system} is detached: nobody waits for it any more",
        lambda engine: interventions.detach(
            engine, desk.settings, environment, member=system, by=by or desk.user, reason=reason
        ),
        dry_run=dry_run,
    )
