"""`audit`: who did what, when and why."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import Limit
from distributor.cli.outcome import Outcome
from distributor.views.audit import Acts
from distributor.views.audit import audit as newest
from distributor.views.wording import SHORT, plain, stamp

_ID = re.compile(r"[0-9a-f]{32}")


class ShownActs(Acts, Outcome):
    """What was done, newest first."""

    def show(self, console: Console) -> None:
        """A table, newest first."""
        table = grid("when (UTC)", "who", "what", "environment", "of", "why")
        for act in self.audit:
            table.add_row(stamp(act.at), act.who, act.what, act.environment or "-", _of(act.detail or {}), act.why)
        console.print(table if self.audit else "nothing has been done yet")


def _of(detail: dict[str, Any]) -> str:
    first = {"release": detail.get("release"), "rollout": str(detail.get("rollout") or "")[:SHORT]}
    told = {**first, **{name: value for name, value in detail.items() if name not in first}}
    return (
        ", ".join(f"{name} {plain(_text(value))}" for name, value in told.items() if value not in (None, "", [])) or "-"
    )


def _text(value: object) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, value))
    text = str(value)
    return text[:SHORT] if _ID.fullmatch(text) else text


def audit(
    desk: Desk,
    environment: Annotated[
        str | None, typer.Option("--environment", metavar="ENV", help="Only what concerns this environment.")
    ] = None,
    limit: Limit = 50,
) -> ShownActs:
    """Show who did what, when and why."""
    if environment is not None:
        desk.known_environment(environment)
    with desk.reading() as conn:
        return ShownActs.of(newest(conn, environment, limit=limit))
