"""`freeze`, `unfreeze` and `freezes`: when environments may not change over."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console

from distributor.cli.deploy import OptionalReason
from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import By, DryRun, Limit, Reason, moment
from distributor.cli.outcome import Outcome
from distributor.errors import UsageError
from distributor.telemetry import clock
from distributor.views import freezes as views
from distributor.views.base import View
from distributor.views.freezes import FreezePart, Freezes
from distributor.views.wording import SHORT, span, stamp


class Frozen(View):
    """A freeze that was placed or ended."""

    dry_run: bool
    """Whether nothing was changed because of `--dry-run`."""
    freeze: FreezePart | None
    """The freeze; null when it would be placed, because of `--dry-run`."""
    done: str
    """What was done, in a sentence; with `--dry-run` what would be done."""


class ShownFrozen(Frozen, Outcome):
    """A freeze that was placed or ended."""

    def show(self, console: Console) -> None:
        """One line."""
        named = f" (freeze {self.freeze.id[:SHORT]})" if self.freeze else ""
        console.print(f"{'would be done: ' if self.dry_run else ''}{self.done}{named}")


class ShownFreezes(Freezes, Outcome):
    """Freezes, and the windows of the config."""

    def show(self, console: Console) -> None:
        """A table of each."""
        if self.freezes:
            table = grid("freeze", "environment", "from", "until", "by", "reason", "ended")
            for freeze in self.freezes:
                ended = f"{stamp(freeze.ended_at)} by {freeze.ended_by}" if freeze.ended_at else "-"
                table.add_row(
                    freeze.id[:SHORT],
                    freeze.environment or "all",
                    stamp(freeze.since),
                    stamp(freeze.until),
                    freeze.by,
                    freeze.reason,
                    ended,
                )
            console.print(table)
        else:
            console.print("nothing is frozen")
        if self.windows:
            table = grid("environment", "window", "lasts", "time zone", "next")
            for window in self.windows:
                opens = f"open until {stamp(window.closes_at)}" if window.open else stamp(window.opens_at)
                lasts = span(timedelta(seconds=window.lasts_seconds))
                table.add_row(window.environment, window.cron, lasts, window.timezone, opens)
            console.print(table)


_MaybeEnvironment = Annotated[
    str | None, typer.Argument(metavar="ENV", help="An environment of the config: prod, uat, …", show_default=False)
]


def freeze(
    desk: Desk,
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", help='When it ends: "2d", or 2026-12-27T06:00 (UTC).')
    ],
    reason: Reason,
    environment: _MaybeEnvironment = None,
    every: Annotated[bool, typer.Option("--all", help="Every environment.")] = False,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="When it begins; default: at once.")
    ] = None,
    by: By = None,
    dry_run: DryRun = False,
) -> ShownFrozen:
    """Let nothing change over for a while: in one environment, or with `--all` in every one.

    Staging goes on, and what was staged flips when the freeze ends. A rollback is not kept back, and what is flipping
    already is not stopped.
    """
    from distributor.ledger.engine import transaction
    from distributor.requests import freezes

    if every == (environment is not None):
        raise UsageError("name an environment, or say --all", where="usage")
    if environment is not None:
        desk.known_environment(environment)
    now = clock.now()
    end, begin = moment(until, "--until", now), moment(since, "--from", now) if since else now
    done = f"{environment or 'every environment'} does not change over from {stamp(begin)} to {stamp(end)} UTC"
    if dry_run:
        return ShownFrozen(dry_run=True, freeze=None, done=done)
    with desk.ledger() as engine:
        placed = freezes.freeze(
            engine,
            desk.settings,
            environment=environment,
            since=begin,
            until=end,
            by=by or desk.user,
            reason=reason,
        )
        with transaction(engine) as conn:
            return ShownFrozen(dry_run=False, freeze=views.freeze(conn, placed), done=done)


def unfreeze(
    desk: Desk,
    freeze: Annotated[str, typer.Argument(metavar="FREEZE", help="Its id, or any unambiguous beginning of it.")],
    reason: OptionalReason = "",
    by: By = None,
    dry_run: DryRun = False,
) -> ShownFrozen:
    """End a freeze before its time, or take it back before it begins: what was staged meanwhile flips."""
    from distributor.ledger.engine import transaction
    from distributor.requests import freezes

    with desk.ledger() as engine:
        with transaction(engine) as conn:
            found = views.find(conn, freeze)
        if not dry_run:
            freezes.end_freeze(engine, desk.settings, found.id, by=by or desk.user, reason=reason)
        with transaction(engine) as conn:
            part = views.freeze(conn, found.id)
    done = f"the freeze of {found.by} ends: {found.environment or 'every environment'} may change over again"
    return ShownFrozen(dry_run=dry_run, freeze=part, done=done)


def freezes(
    desk: Desk,
    environment: _MaybeEnvironment = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    limit: Limit = 50,
) -> ShownFreezes:
    """The freezes that stand, and the windows of the config with the time at which each opens next."""
    if environment is not None:
        desk.known_environment(environment)
    with desk.reading() as conn:
        return ShownFreezes.of(views.freezes(conn, desk.settings, environment, every=every, limit=limit))
