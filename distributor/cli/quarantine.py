"""`quarantine list|retry|release`: rows that are held back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import By, DryRun, Reason
from distributor.cli.outcome import Outcome
from distributor.views.quarantine import PUBLISH, Handled, HeldLine, HeldRows, chosen, held_rows
from distributor.views.wording import count, plain, stamp

if TYPE_CHECKING:
    from distributor.ledger.quarantine import HeldRow


class ShownHeldRows(HeldRows, Outcome):
    """Rows that are held back."""

    def show(self, console: Console) -> None:
        """A table."""
        table = grid("environment", "system", "table", "key", "column", "value", "why", "since (UTC)")
        for row in self.held_back:
            table.add_row(
                "every" if row.environment == "*" else row.environment,
                row.system,
                row.table,
                plain(" ".join(row.key)),
                row.column,
                "NULL" if row.value is None else plain(row.value),
                plain(row.why) + (f"; goes out with the next release: {row.released}" if row.released else ""),
                stamp(row.since),
            )
        console.print(table if self.held_back else "nothing is held back")


class ShownHandled(Handled, Outcome):
    """What becomes of rows that are held back."""

    def show(self, console: Console) -> None:
        """One line."""
        done = "is read and judged again" if self.action == "retry" else "goes out as it is"
        done = (
            done
            if len(self.rows) == 1
            else done.replace("is read", "are read").replace("goes", "go").replace("it is", "they are")
        )
        when = "with the next publish" if self.rows[0].system == PUBLISH else "with the next release that is rolled out"
        would = ", and nothing was changed" if self.dry_run else ""
        console.print(f"{count(len(self.rows), 'row')} {done} {when}{would}")


OfEnvironment = Annotated[
    str | None,
    typer.Option(
        "--environment",
        metavar="ENV",
        help="Those that this environment alone lacks; default: those that a quality rule holds back from every one.",
    ),
]
Every = Annotated[bool, typer.Option("--all", help="Those of every environment, and of every dataset.")]
OfDataset = Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Only rows of this dataset.")]
OfKey = Annotated[
    list[str] | None,
    typer.Option("--key", metavar="VALUE", help="Only the row of this key; once for each column of the key."),
]


def list_held(
    desk: Desk,
    environment: Annotated[
        str | None,
        typer.Option("--environment", metavar="ENV", help="Only what this environment lacks, for whatever reason."),
    ] = None,
    dataset: OfDataset = None,
    key: OfKey = None,
) -> ShownHeldRows:
    """List the rows that are held back: the rule or the system that is in the way, the value, and since when."""
    if environment is not None:
        desk.known_environment(environment)
    policy = desk.settings.masking_of(environment) if environment else None
    with desk.reading() as conn:
        found = held_rows(conn, environment=environment, dataset=dataset, key=key or (), policy=policy)
        return ShownHeldRows.of(found)


def retry_held(
    desk: Desk,
    environment: OfEnvironment = None,
    every: Every = False,
    dataset: OfDataset = None,
    key: OfKey = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the audit.")] = "",
    by: By = None,
    dry_run: DryRun = False,
) -> ShownHandled:
    """Have rows that are held back read and judged again, without a change on the master.

    A publisher does so at once; without one, `distributor publish` does. What one environment alone lacks is tried
    again with the next release that it is taken to.
    """
    from distributor.requests import quarantine

    rows = _chosen(desk, environment, dataset, key, every=every)
    if not dry_run:
        with desk.ledger() as engine:
            quarantine.retry(engine, desk.settings, rows, by=by or desk.user, reason=reason)
    return ShownHandled(action="retry", rows=tuple(map(HeldLine.of, rows)), dry_run=dry_run)


def release_held(
    desk: Desk,
    reason: Reason,
    dataset: OfDataset = None,
    key: OfKey = None,
    every: Every = False,
    by: By = None,
    dry_run: DryRun = False,
) -> ShownHandled:
    """Ship rows as they are with the next release, although their quality rule fails; once, and audited.

    They go with the values that they have by then; the rows that reference them go with them. Rules that refuse a
    release are not asked to be lenient.
    """
    from distributor.requests import quarantine

    rows = _chosen(desk, None, dataset, key, every=every, releasing=True)
    if not dry_run:
        with desk.ledger() as engine:
            quarantine.release(engine, rows, by=by or desk.user, reason=reason)
            quarantine.retry(engine, desk.settings, rows, by=by or desk.user, reason=reason)
    return ShownHandled(action="release", rows=tuple(map(HeldLine.of, rows)), dry_run=dry_run)


def _chosen(
    desk: Desk,
    environment: str | None,
    dataset: str | None,
    key: list[str] | None,
    *,
    every: bool,
    releasing: bool = False,
) -> Sequence[HeldRow]:
    if environment is not None:
        desk.known_environment(environment)
    with desk.reading() as conn:
        return chosen(conn, environment=environment, every=every, dataset=dataset, key=key or (), releasing=releasing)
