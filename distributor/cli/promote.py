"""`promote SOURCE TARGET`: what one environment shows goes to another one."""

from __future__ import annotations

from typing import Annotated

import typer

from distributor.cli.asking import ShownRequest, ask_and_wait, would_ask_for_rows
from distributor.cli.desk import Desk
from distributor.cli.options import By, DryRun, NoWait, Reason, Timeout
from distributor.rollout.state import Cause


def promote(
    desk: Desk,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The environment where it was tried.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The environment that it goes to.")],
    reason: Reason,
    by: By = None,
    no_wait: NoWait = False,
    timeout: Timeout = None,
    dry_run: DryRun = False,
) -> ShownRequest:
    """Take an environment to exactly what another one shows, and nothing newer.

    It is refused when the newest look at SOURCE found differences or a slot of it is in doubt, and when TARGET would
    take the release otherwise, because rows are held back in one of them. Else it is like a deploy.
    """
    from distributor.requests import promotion

    desk.known_environment(source)
    if dry_run:
        with desk.reading() as conn:
            release = promotion.proven(conn, source)
        return would_ask_for_rows(desk, target, release, Cause.OPERATOR)
    return ask_and_wait(
        desk,
        target,
        lambda engine: promotion.promote(
            engine, desk.settings, desk.store, source, target, by=by or desk.user, reason=reason
        ),
        no_wait=no_wait,
        timeout=timeout,
    )
