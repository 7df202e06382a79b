"""`withdraw REQUEST`: take a refresh request back."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from distributor.cli.deploy import OptionalReason
from distributor.cli.desk import Desk
from distributor.cli.options import By, DryRun
from distributor.cli.outcome import Outcome
from distributor.views import requests as views
from distributor.views.base import View
from distributor.views.requests import RequestLine
from distributor.views.wording import SHORT


class Withdrawn(View):
    """A request that was taken back."""

    dry_run: bool
    """Whether nothing was changed because of `--dry-run`."""
    request: RequestLine
    """The request as it stands now."""


class ShownWithdrawn(Withdrawn, Outcome):
    """A request that was taken back."""

    def show(self, console: Console) -> None:
        """One line."""
        line = self.request
        done = "would be taken back" if self.dry_run else f"is {line.state}"
        console.print(f"{line.environment}: request {line.id[:SHORT]} of {line.by} for release {line.wanted} {done}")


def withdraw(
    desk: Desk,
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="Its id, or any unambiguous beginning of it.")],
    reason: OptionalReason = "",
    by: By = None,
    dry_run: DryRun = False,
) -> ShownWithdrawn:
    """Take a refresh request back. A rollout that began because of it is called off, as long as nothing has flipped."""
    from distributor.ledger.engine import transaction
    from distributor.requests import refreshing

    with desk.ledger() as engine:
        with transaction(engine) as conn:
            found = views.find(conn, request)
        if not dry_run:
            refreshing.withdraw(engine, desk.settings, found.id, by=by or desk.user, reason=reason)
        with transaction(engine) as conn:
            return ShownWithdrawn(dry_run=dry_run, request=views.request(conn, desk.settings, found.id))
