"""`refresh ENV`: a test team's request."""

from __future__ import annotations

from typing import Annotated

import typer

from distributor.cli.asking import ShownRequest, ask_and_wait, would_ask
from distributor.cli.deploy import OptionalReason, Release
from distributor.cli.desk import Desk
from distributor.cli.options import By, DryRun, Environment, NoWait, Timeout, names
from distributor.rollout.state import Cause


def refresh(
    desk: Desk,
    environment: Environment,
    release: Release = None,
    systems: Annotated[
        str | None,
        typer.Option("--systems", metavar="A,B", help="Only these: bring them level with what the environment shows."),
    ] = None,
    reason: OptionalReason = "",
    by: By = None,
    no_wait: NoWait = False,
    timeout: Timeout = None,
    dry_run: DryRun = False,
) -> ShownRequest:
    """Ask for a refresh: like deploy, but queued behind the rollout that goes on.

    While it waits it says which place in the queue it has.
    """
    chosen = names(systems, "--systems")
    if dry_run:
        return would_ask(desk, environment, release, Cause.REFRESH, as_shown=bool(chosen))
    from distributor.requests.rollouts import refresh as ask_for_refresh

    return ask_and_wait(
        desk,
        environment,
        lambda engine: ask_for_refresh(
            engine,
            desk.settings,
            desk.store,
            environment,
            release=release,
            systems=chosen,
            by=by or desk.user,
            reason=reason,
        ),
        no_wait=no_wait,
        timeout=timeout,
    )
