"""`plan ENV`: what a deploy would change in each system, touching nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from pydantic import PrivateAttr
from rich.console import Console
from rich.text import Text

from distributor.cli.changes import MARKS
from distributor.cli.deploy import Release
from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import Environment
from distributor.cli.outcome import Outcome
from distributor.errors import RefusedError
from distributor.views.plan import Planned, PlannedRow
from distributor.views.plan import plan as planned
from distributor.views.wording import as_text, count, plain

DONE, DIFFERENT = 0, 10
SHORT = 12
LISTED = 20
_COLOURS = {"insert": "green", "update": "yellow", "delete": "red"}


class ShownPlan(Planned, Outcome):
    """What a deploy would change."""

    # Whether the exit code tells of differences.
    _tells: bool = PrivateAttr(default=False)

    @property
    def exit_code(self) -> int:
        """With `--exit-code`: 10 when there are differences, 11 when it would be refused. Else 0."""
        if not self._tells:
            return DONE
        if self.refused:
            return RefusedError.exit_code
        return DIFFERENT if self.different else DONE

    def show(self, console: Console) -> None:
        """A table of all tables, some rows of each, and what is in the way."""
        console.print(f"{self.environment}: release {self.shown} → {self.release}")
        if self.refused:
            console.print(f"would be refused: {self.refused}", soft_wrap=True)
        else:
            self._show_tables(console)
        for system in self.systems:
            why = f" ({system.rebuild})" if system.rebuild else ""
            console.print(f"{system.system} would load: {system.way}{why}", soft_wrap=True)
        for told in self.waits_for:
            console.print(f"it would wait for {told}", soft_wrap=True)
        for told in self.remarks:
            console.print(told, soft_wrap=True)
        for row in self.held_back[:LISTED]:
            key = ", ".join(map(plain, row.key))
            shown = "NULL" if row.value is None else repr(row.value)
            text = (
                f"would be held back: {row.dataset} {key}: {row.system}, {row.table}.{row.column} = {shown} {row.why}"
            )
            console.print(text, soft_wrap=True)
        if len(self.held_back) > LISTED:
            console.print(f"would be held back: {count(len(self.held_back) - LISTED, 'more row')}")
        console.print("nothing would change" if not self.different else f"plan {self.plan[:SHORT]}")

    def _show_tables(self, console: Console) -> None:
        table = grid("system", "table", ">in", ">updated", ">out", "")
        for system in self.systems:
            for part in system.tables:
                numbers = (f"{number:,}" for number in (part.rows_in, part.rows_updated, part.rows_out))
                table.add_row(system.system, part.table, *numbers, f"anew: {part.anew}" if part.anew else "")
        console.print(table)
        for system in self.systems:
            for part in system.tables:
                for row in part.sample:
                    for line in _lines(system.system, part.table, row):
                        console.print(line, soft_wrap=True)
                rest = part.rows_in + part.rows_updated + part.rows_out - len(part.sample)
                if part.sample and rest:
                    console.print(f"  … {rest:,} more of {system.system} {part.table} with a greater --limit")


def plan(
    desk: Desk,
    environment: Environment,
    release: Release = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, max=1000, metavar="N", help="How many rows of each table to show.")
    ] = 5,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 10 when there are differences, 11 when it would be refused.")
    ] = False,
) -> ShownPlan:
    """Show what a deploy would change in each system, and what would stop it; nothing is touched.

    The numbers come from the very steps that a deploy takes. `deploy ENV --plan PLAN` rolls out this change and no
    other: it is refused when the environment, a mapping or the newest release has changed meanwhile.
    """
    desk.known_environment(environment)
    with desk.ledger() as engine:
        shown = ShownPlan.of(planned(engine, desk.settings, desk.store, environment, release=release, limit=limit))
    shown._tells = exit_code
    return shown


def _lines(system: str, table: str, row: PlannedRow) -> Iterator[Text]:
    key = ", ".join(f"{column}={as_text(value)}" for column, value in row.key.items())
    yield Text(f"{MARKS[row.op]} {system} {table} {key}", style=_COLOURS[row.op])
    for field in row.fields:
        if row.op == "update":
            told = Text(f"    {field.column}: ")
            told.append(as_text(field.before), style="red")
            told.append(" → ")
            yield told.append(as_text(field.after), style="green")
        else:
            yield Text(f"    {field.column}: {as_text(field.after if row.op == 'insert' else field.before)}")
