"""`approve ROLLOUT` and `reject ROLLOUT`: four eyes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from distributor.cli.desk import Desk
from distributor.cli.intervention import ShownIntervention, intervene
from distributor.cli.options import By, DryRun, Reason
from distributor.views.rollout import find
from distributor.views.wording import SHORT

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from distributor.coordination.step import Step

Rollout = Annotated[str, typer.Argument(metavar="ROLLOUT", help="Its id, or any unambiguous beginning of it.")]


def approve(desk: Desk, rollout: Rollout, reason: Reason, by: By = None, dry_run: DryRun = False) -> ShownIntervention:
    """Agree to a rollout that needs approval: with the last one that it needs it may flip.

    Nobody approves what they asked for themselves, and nobody counts twice.
    """
    from distributor.requests import approvals

    who = by or desk.user
    return _about(
        desk,
        rollout,
        f"approved by {who}",
        lambda engine, id_: approvals.approve(engine, desk.settings, id_, by=who, reason=reason),
        dry_run=dry_run,
    )


def reject(desk: Desk, rollout: Rollout, reason: Reason, by: By = None, dry_run: DryRun = False) -> ShownIntervention:
    """Reject a rollout that needs approval: it is called off, and nothing has flipped."""
    from distributor.requests import approvals

    who = by or desk.user
    return _about(
        desk,
        rollout,
        f"rejected by {who}",
        lambda engine, id_: approvals.reject(engine, desk.settings, id_, by=who, reason=reason),
        dry_run=dry_run,
    )


def _about(
    desk: Desk, beginning: str, done: str, act: Callable[[Engine, str], Step], *, dry_run: bool
) -> ShownIntervention:
    with desk.reading() as conn:
        record = find(conn, beginning)
    told = f"rollout {record.rollout.id[:SHORT]} to release {record.rollout.release} is {done}"
    return intervene(desk, record.environment, told, lambda engine: act(engine, record.rollout.id), dry_run=dry_run)
