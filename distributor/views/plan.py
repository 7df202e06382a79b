"""What a deploy would change in each system, and what would stop it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from distributor.rollout.state import Cause
from distributor.views.asked import in_the_way, remarks_of
from distributor.views.base import View
from distributor.views.changes import FieldChange

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from distributor.requests.netting import Changed
    from distributor.requests.plans import Plan, SystemPlan, TablePlan
    from distributor.settings import Settings
    from distributor.store.base import Store


class PlannedRow(View):
    """One row that would change."""

    key: dict[str, str | None]
    """Its key in the system's table: column → canonical text."""
    op: Literal["insert", "update", "delete"]
    """What would happen to it."""
    fields: tuple[FieldChange, ...]
    """The fields that differ, without the key; of an inserted or deleted row those that are not NULL."""


class PlannedTable(View):
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


class PlannedSystem(View):
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


class HeldBack(View):
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


class Planned(View):
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


def plan(
    engine: Engine, settings: Settings, store: Store, environment: str, *, release: int | None = None, limit: int = 5
) -> Planned:
    """What taking an environment to a release (None: the newest) would change; `limit` rows of each table are shown.

    Nothing is kept of it. Raises UsageError for an unknown environment, RefusedError when there is no such release,
    StoreError.
    """
    from distributor.requests.plans import planned

    return _told(planned(engine, settings, store, environment, release=release, sample=limit))


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
        sample=tuple(planned_row(found.key, found.columns, row) for row in counted.sample),
    )


def planned_row(key: Sequence[str], columns: Sequence[str], row: Changed) -> PlannedRow:
    """One row that changes, in a table of these key columns and columns."""
    before, after = row.before or {}, row.after or {}
    there = after or before
    return PlannedRow(
        key={name: there[name] for name in key},
        op=row.op.value,
        fields=tuple(
            FieldChange(column=name, before=before.get(name), after=after.get(name))
            for name in columns
            if before.get(name) != after.get(name) and name not in key
        ),
    )
