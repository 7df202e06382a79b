"""`requests [ENV]`: refresh requests, and whose turn it is."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import Limit
from distributor.cli.outcome import Outcome
from distributor.cli.requesting import told
from distributor.views import requests as views
from distributor.views.requests import Requests
from distributor.views.wording import SHORT, stamp


class ShownRequests(Requests, Outcome):
    """Refresh requests."""

    def show(self, console: Console) -> None:
        """A table; below it, what there is to say about the open ones."""
        if not self.requests:
            console.print("nobody has asked for a refresh")
            return
        table = grid("request", "environment", ">place", "release", "by", "asked", "state", "rollout", "reason")
        for line in self.requests:
            table.add_row(
                line.id[:SHORT],
                line.environment,
                str(line.place) if line.place else "-",
                line.wanted,
                line.by,
                stamp(line.requested_at),
                line.state,
                line.rollout[:SHORT] if line.rollout else "-",
                line.reason,
            )
        console.print(table)
        for line in self.requests:
            for text in told(line) if line.place else ():
                console.print(f"{line.id[:SHORT]}: {text}", soft_wrap=True)


def requests(
    desk: Desk,
    environment: Annotated[
        str | None, typer.Argument(metavar="ENV", help="Only this environment's.", show_default=False)
    ] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that are not over.")] = False,
    limit: Limit = 20,
) -> ShownRequests:
    """What test teams asked for, whose turn it is, and when each will be there as far as is known."""
    if environment is not None:
        desk.known_environment(environment)
    with desk.reading() as conn:
        return ShownRequests.of(views.requests(conn, desk.settings, environment, only_open=only_open, limit=limit))
