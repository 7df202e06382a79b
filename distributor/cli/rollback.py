"""`rollback ENV`: the whole environment back, together."""

from __future__ import annotations

from typing import Annotated

import typer

from distributor.cli.asking import ShownRequest, ask_and_wait, would_ask_for_rows
from distributor.cli.desk import Desk
from distributor.cli.options import MOST_RELEASE, By, DryRun, Environment, NoWait, Reason, Timeout
from distributor.rollout.state import Cause


def rollback(
    desk: Desk,
    environment: Environment,
    reason: Reason,
    to: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="N", min=0, max=MOST_RELEASE, help="Which release; default: the one shown before."
        ),
    ] = None,
    by: By = None,
    no_wait: NoWait = False,
    timeout: Timeout = None,
    dry_run: DryRun = False,
) -> ShownRequest:
    """Take the whole environment back, together, and keep it there.

    A rollout that goes on is called off (what has flipped, flips back: exit code 14). Else the earlier release is
    rolled out; it is one flip while the previous release is kept. Afterwards the environment follows new releases
    only when somebody deploys again.
    """
    if dry_run:
        return would_ask_for_rows(desk, environment, to, Cause.ROLLBACK)
    from distributor.requests.rollouts import rollback as ask_for_rollback

    return ask_and_wait(
        desk,
        environment,
        lambda engine: ask_for_rollback(
            engine, desk.settings, desk.store, environment, to=to, by=by or desk.user, reason=reason
        ),
        no_wait=no_wait,
        timeout=timeout,
    )
