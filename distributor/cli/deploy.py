"""`deploy ENV`: stage, converge, flip."""

from __future__ import annotations

from typing import Annotated

import typer

from distributor.cli.asking import ShownRequest, ask_and_wait, would_ask_for_rows
from distributor.cli.desk import Desk
from distributor.cli.options import MOST_RELEASE, By, DryRun, Environment, NoWait, Timeout
from distributor.errors import UsageError
from distributor.rollout.state import Cause

Release = Annotated[
    int | None,
    typer.Option("--release", metavar="N", min=0, max=MOST_RELEASE, help="Which release; default: the newest."),
]
PlanDigest = Annotated[
    str | None,
    typer.Option(
        "--plan",
        metavar="PLAN",
        help="Only what this plan says (its digest, or the first eight signs of it or more); refused when it is stale.",
    ),
]
OptionalReason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the audit.")]


def deploy(
    desk: Desk,
    environment: Environment,
    release: Release = None,
    reason: OptionalReason = "",
    by: By = None,
    plan: PlanDigest = None,
    no_wait: NoWait = False,
    timeout: Timeout = None,
    dry_run: DryRun = False,
) -> ShownRequest:
    """Take an environment to a release: every system, together or not at all.

    It waits with live progress; the exit code says how it ended. A deploy takes the place of a rollout that has not
    been decided yet; a hold lets it be staged, and it flips when the hold ends.
    """
    if dry_run and plan is not None:
        raise UsageError("--plan and --dry-run exclude each other", where="usage", mend="`plan` asks for nothing.")
    if dry_run:
        return would_ask_for_rows(desk, environment, release, Cause.OPERATOR)
    from distributor.requests.plans import request_planned
    from distributor.requests.rollouts import request_rollout

    if plan is not None:
        return ask_and_wait(
            desk,
            environment,
            lambda engine: request_planned(
                engine,
                desk.settings,
                desk.store,
                environment,
                plan,
                release=release,
                by=by or desk.user,
                reason=reason,
            ),
            no_wait=no_wait,
            timeout=timeout,
        )
    return ask_and_wait(
        desk,
        environment,
        lambda engine: request_rollout(
            engine,
            desk.settings,
            desk.store,
            environment,
            release=release,
            cause=Cause.OPERATOR,
            by=by or desk.user,
            reason=reason,
        ),
        no_wait=no_wait,
        timeout=timeout,
    )
