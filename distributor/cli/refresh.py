"""`refresh ENV`: a test team's request."""

from __future__ import annotations

from typing import Annotated

import typer

from distributor.cli.asking import would_ask_for_rows
from distributor.cli.deploy import OptionalReason, Release
from distributor.cli.desk import Desk
from distributor.cli.options import By, DryRun, Environment, NoWait, Timeout, duration, names, past_moment
from distributor.cli.requesting import ShownRefresh, follow_request, shown
from distributor.errors import UsageError
from distributor.rollout.state import Cause
from distributor.telemetry import clock
from distributor.views.requests import line_ahead


def refresh(
    desk: Desk,
    environment: Environment,
    release: Release = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help='The newest release made at or before that time: 2026-07-01T18:00 (UTC), or "2h" (ago).',
        ),
    ] = None,
    systems: Annotated[
        str | None,
        typer.Option("--systems", metavar="A,B", help="Only these: bring them level with what the environment shows."),
    ] = None,
    reset: Annotated[
        bool,
        typer.Option(
            "--reset", help="Take back what was written into the stores behind the tables; its cost follows it."
        ),
    ] = False,
    reason: OptionalReason = "",
    by: By = None,
    no_wait: NoWait = False,
    timeout: Timeout = None,
    dry_run: DryRun = False,
) -> ShownRefresh:
    """Ask for a refresh: like deploy, but queued behind the rollout that goes on and behind requests made before.

    While it waits it says which place in the queue it has, and when it will come as far as the durations of earlier
    rollouts tell. A hold lets it be staged. With `--reset` both slots of every system are looked at first, and the
    rollout mends exactly the rows that somebody has altered. `requests` lists what was asked for, and `withdraw` takes
    a request back.
    """
    chosen = names(systems, "--systems")
    if release is not None and at is not None:
        raise UsageError("--release and --at exclude each other", where="usage")
    if no_wait and timeout:
        raise UsageError("--no-wait and --timeout exclude each other", where="usage")
    as_of = past_moment(at, "--at", clock.now()) if at else None
    patience = duration(timeout, "--timeout") if timeout else None
    desk.known_environment(environment)
    from distributor.requests import refreshing

    if dry_run:
        with desk.reading() as conn:
            wanted = refreshing.release_at(conn, as_of) if as_of else release
            ahead = line_ahead(conn, environment)
        dry = would_ask_for_rows(desk, environment, wanted, Cause.REFRESH, as_shown=bool(chosen))
        return shown(dry.model_copy(update={"waiting_for": "; ".join(filter(None, (dry.waiting_for, ahead)))}), None)
    with desk.ledger() as engine:
        request_id = refreshing.request(
            engine,
            desk.settings,
            desk.store,
            environment,
            release=release,
            as_of=as_of,
            systems=chosen,
            reset=reset,
            by=by or desk.user,
            reason=reason,
        )
        return follow_request(desk, engine, request_id, patience, wait=not no_wait)
