"""`pin ENV` and `follow ENV`: whether new releases come by themselves."""

from __future__ import annotations

from distributor.cli.deploy import OptionalReason
from distributor.cli.desk import Desk
from distributor.cli.intervention import ShownIntervention, intervene
from distributor.cli.options import By, DryRun, Environment, Reason


def pin(
    desk: Desk, environment: Environment, reason: Reason, by: By = None, dry_run: DryRun = False
) -> ShownIntervention:
    """Keep an environment at what it shows: neither new releases nor triggers move it, until `follow` or a deploy."""
    from distributor.requests import pins

    who = by or desk.user
    return intervene(
        desk,
        environment,
        f"pinned by {who}",
        lambda engine: pins.pin(engine, desk.settings, environment, by=who, reason=reason),
        dry_run=dry_run,
    )


def follow(
    desk: Desk, environment: Environment, reason: OptionalReason = "", by: By = None, dry_run: DryRun = False
) -> ShownIntervention:
    """End the pin of an environment, be it somebody's or a rollback's: new releases come by themselves again."""
    from distributor.requests import pins

    return intervene(
        desk,
        environment,
        "new releases come by themselves again",
        lambda engine: pins.follow(engine, desk.settings, environment, by=by or desk.user, reason=reason),
        dry_run=dry_run,
    )
