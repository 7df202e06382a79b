"""`plan ENV`: what a deploy would change in each system, touching nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import PrivateAttr
from rich.console import Console
from rich.text import Text

from distributor.cli.asking import in_the_way, remarks_of
from distributor.cli.changes import MARKS, FieldChange
from distributor.cli.deploy import Release
from distributor.cli.desk import Desk
from distributor.cli.layout import count, grid, plain
from distributor.cli.options import Environment
from distributor.cli.outcome import Outcome, Part
from distributor.errors import RefusedError
from distributor.rollout.state import Cause

if TYPE_CHECKING:
    from distributor.requests.netting import Changed
    from distributor.requests.plans import Plan, SystemPlan, TablePlan

DONE, DIFFERENT = 0, 10
SHORT = 12
LISTED = 20
_COLOURS = {"insert": "green", "update": "yellow", "delete": "red"}


class PlannedRow(Part):
    """One row that would change."""

    key: dict[str, str | None]
    """Its key in the system's table: column → canonical text."""
    op: Literal["insert", "update", "delete"]
    """What would happen to it."""
    fields: tuple[FieldChange, ...]
    """The fields that differ, without the key; of an inserted or deleted row those that are not NULL."""


class PlannedTable(Part):
    """One table of a system."""

    table: str
    """The table, as the system calls it."""
    dataset: str
    """The dataset whose rows it shows."""
    rows_in: int
    """Rows that would come; with `anew` all that it would have."""
    rows_updated: int
    """Rows that would change."""
    rows_out: int
    """Rows that would go; with `anew` nobody counts them."""
    anew: str
    """Why all of it would be loaded anew; empty for a delta."""
    sample: tuple[PlannedRow, ...]
    """The first changed rows, at most `--limit`; none with `anew`."""


class PlannedSystem(Part):
    """One member."""

    system: str
    """The system."""
    requirement: str
    """`required` or `optional`."""
    way: str
    """What it would load into its shadow: a delta over how many releases, or everything."""
    rows: int
    """Rows of all changesets on that way."""
    rebuild: str
    """Why it would load everything; empty for a delta."""
    tables: tuple[PlannedTable, ...]
    """Its tables, compared with what the environment shows."""


class HeldBack(Part):
    """A row that would be held back from the whole environment, and is not yet."""

    dataset: str
    """The dataset."""
    key: tuple[str, ...]
    """The row's key."""
    system: str
    """The system that cannot take it."""
    table: str
    """Its table."""
    column: str
    """The column."""
    value: str | None
    """The value that does not fit, shortened."""
    why: str
    """Why, in half a sentence."""


class Planned(Outcome):
    """What a deploy would change."""

    environment: str
    """The environment."""
    shown: int
    """The release that it shows."""
    release: int
    """The release to which it would go."""
    plan: str
    """The plan's digest: `deploy --plan` rolls out exactly this change, or refuses."""
    different: bool
    """Whether anything would change: another release, other rows, or tables that are loaded anew."""
    refused: str
    """Why a deploy would be refused at once; nothing was counted then. Else empty."""
    waits_for: tuple[str, ...]
    """What it would wait for: holds, a rollout that is flipping."""
    remarks: tuple[str, ...]
    """What else it would do, and whether the environment follows new releases by itself."""
    held_back: tuple[HeldBack, ...]
    """Rows that would be held back because a system cannot take them."""
    systems: tuple[PlannedSystem, ...]
    """The members that are not detached."""
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
) -> Planned:
    """Show what a deploy would change in each system, and what would stop it; nothing is touched.

    The numbers come from the very steps that a deploy takes. `deploy ENV --plan PLAN` rolls out this change and no
    other: it is refused when the environment, a mapping or the newest release has changed meanwhile.
    """
    from distributor.requests.plans import planned

    desk.known_environment(environment)
    with desk.ledger() as engine:
        found = planned(engine, desk.settings, desk.store, environment, release=release, sample=limit)
    told = _told(found)
    told._tells = exit_code
    return told


def _told(found: Plan) -> Planned:
    state = found.state
    pinned = f", but not now: {state.pinned}" if state.pinned else ""
    follows = f"{state.name} follows new releases by itself{pinned}" if state.follow else ""
    remarks = remarks_of(state, found.release, Cause.OPERATOR)
    return Planned(
        environment=state.name,
        shown=found.shown.release,
        release=found.release,
        plan=found.digest,
        different=found.different,
        refused=found.refused,
        waits_for=tuple(in_the_way(state, Cause.OPERATOR)),
        remarks=(*remarks, follows) if follows else remarks,
        held_back=tuple(
            HeldBack(
                dataset=row.dataset,
                key=row.key,
                system=row.system,
                table=row.table,
                column=row.column,
                value=row.value,
                why=row.why,
            )
            for row in found.held_back
        ),
        systems=tuple(map(_system, found.systems)),
    )


def _system(found: SystemPlan) -> PlannedSystem:
    return PlannedSystem(
        system=found.system,
        requirement=found.requirement.value,
        way=found.way.told,
        rows=found.way.rows,
        rebuild=found.way.rebuild,
        tables=tuple(map(_table, found.tables)),
    )


def _table(found: TablePlan) -> PlannedTable:
    counted = found.counted
    return PlannedTable(
        table=found.table,
        dataset=found.dataset,
        rows_in=counted.inserted,
        rows_updated=counted.updated,
        rows_out=counted.deleted,
        anew=found.anew,
        sample=tuple(_row(found, row) for row in counted.sample),
    )


def _row(table: TablePlan, row: Changed) -> PlannedRow:
    before, after = row.before or {}, row.after or {}
    there = after or before
    return PlannedRow(
        key={name: there[name] for name in table.key},
        op=row.op.value,
        fields=tuple(
            FieldChange(column=name, before=before.get(name), after=after.get(name))
            for name in table.columns
            if before.get(name) != after.get(name) and name not in table.key
        ),
    )


def _lines(system: str, table: str, row: PlannedRow) -> Iterator[Text]:
    key = ", ".join(f"{column}={_value(value)}" for column, value in row.key.items())
    yield Text(f"{MARKS[row.op]} {system} {table} {key}", style=_COLOURS[row.op])
    for field in row.fields:
        if row.op == "update":
            told = Text(f"    {field.column}: ")
            told.append(_value(field.before), style="red")
            told.append(" → ")
            yield told.append(_value(field.after), style="green")
        else:
            yield Text(f"    {field.column}: {_value(field.after if row.op == 'insert' else field.before)}")


def _value(value: str | None) -> str:
    return "NULL" if value is None else plain(value) or "''"
