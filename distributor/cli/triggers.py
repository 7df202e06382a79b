"""`triggers [ENV]` and `trigger ENV NAME`: what starts rollouts by itself, and calling it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import By, DryRun, Environment, Reason
from distributor.cli.outcome import Outcome
from distributor.telemetry import clock
from distributor.views.triggers import TriggerCall, TriggerLine, Triggers, call, triggers
from distributor.views.wording import plain, stamp

if TYPE_CHECKING:
    from sqlalchemy import Engine

TAKEN_WITHIN = 5.0
"""A coordinator that is up takes a call at once; so many seconds are waited for it."""
_LOOK_SECONDS = 0.05


class ShownTriggers(Triggers, Outcome):
    """The triggers of environments."""

    def show(self, console: Console) -> None:
        """A table."""
        table = grid("environment", "trigger", "asks for the newest release", "last (UTC)", "what it did", "waits for")
        for line in self.triggers:
            table.add_row(
                line.environment,
                line.name,
                line.when,
                stamp(line.decided_at),
                plain(line.decision) or "-",
                _waits(line),
            )
        console.print(table if self.triggers else "no environment has a trigger")


def _waits(line: TriggerLine) -> str:
    if line.waits:
        return plain(line.waits.removeprefix("waits for "))
    if line.next_at:
        return f"{stamp(line.next_at)} UTC"
    return "a coordinator, to take a call" if line.calls_waiting else "-"


class ShownCall(TriggerCall, Outcome):
    """A call of a trigger, and what became of it."""

    dry_run: bool = False
    """Whether nothing was called because of `--dry-run`; then there is no id."""

    def show(self, console: Console) -> None:
        """One sentence."""
        if self.dry_run:
            console.print(f"{self.name} of {self.environment} would be called; nothing was done")
        elif self.outcome:
            console.print(f"{self.environment}: {plain(self.outcome)}")
        else:
            console.print(f"{self.name} of {self.environment} is called; it waits for a coordinator to take it")


def list_triggers(
    desk: Desk,
    environment: Annotated[
        str | None, typer.Argument(metavar="[ENV]", help="Only this environment.", show_default=False)
    ] = None,
) -> ShownTriggers:
    """List what starts rollouts without anybody asking: each rule, what it decided last and what it waits for."""
    names = [desk.known_environment(environment)] if environment else sorted(desk.settings.environments)
    with desk.reading() as conn:
        return ShownTriggers.of(triggers(conn, desk.settings, *names))


def call_trigger(
    desk: Desk,
    environment: Environment,
    name: Annotated[str, typer.Argument(metavar="NAME", help='A trigger of it with on = "message".')],
    reason: Reason,
    by: By = None,
    dry_run: DryRun = False,
) -> ShownCall:
    """Call a trigger, as a message on the broker does: it asks for the newest release, or says why not.

    Unlike `deploy` it is automation: pins and withdrawn releases stop it. It waits until a coordinator has answered,
    not until the rollout has ended.
    """
    from distributor.requests import calls

    who = by or desk.user
    calls.callable_trigger(desk.settings, environment, name)
    if dry_run:
        return ShownCall(
            id="", environment=environment, name=name, by=who, reason=reason, at=clock.now(), taken_at=None, outcome="",
            dry_run=True,
        )  # fmt: skip
    with desk.ledger() as engine:
        called = calls.call_trigger(engine, desk.settings, environment, name, by=who, reason=reason)
        return ShownCall.of(_answered(engine, called))


def _answered(engine: Engine, call_id: str) -> TriggerCall:
    """The call as soon as a coordinator has taken it, or as it stands after TAKEN_WITHIN."""
    from distributor.ledger.engine import transaction

    latest = time.monotonic() + TAKEN_WITHIN
    while True:
        with transaction(engine) as conn:
            found = call(conn, call_id)
        if found.taken_at is not None or time.monotonic() > latest:
            return found
        time.sleep(_LOOK_SECONDS)
