"""`quarantine list|retry|release`: rows that are held back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import By, DryRun, Reason
from distributor.cli.outcome import Outcome
from distributor.errors import RefusedError, UsageError
from distributor.views.base import View
from distributor.views.wording import count, plain, stamp

if TYPE_CHECKING:
    from distributor.ledger.quarantine import HeldRow

PUBLISH = "publish"


class HeldLine(View):
    """A row that is held back."""

    environment: str
    """The environment that lacks it; `*` is every one."""
    dataset: str
    """Its dataset."""
    key: tuple[str, ...]
    """Its key, as canonical texts."""
    system: str
    """The system that cannot take it; `publish` where a quality rule holds it back when a release is made."""
    table: str
    """The system's table; the dataset for `publish`."""
    column: str
    """The column with the value that is in the way."""
    value: str | None
    """That value, shortened; null is NULL."""
    why: str
    """Which rule it fails, or why it cannot be taken."""
    release: int
    """The release that was made without it first."""
    since: datetime
    """Since when, in UTC."""
    released: str | None
    """The reason for which the next release has it as it is; null when nobody said so."""

    @classmethod
    def of(cls, row: HeldRow) -> HeldLine:
        """A row as the ledger has it."""
        shared = {name: getattr(row, name) for name in cls.model_fields if name not in ("system", "released")}
        return cls(**shared, system=row.system or PUBLISH, released=row.let_pass)


class HeldRows(Outcome):
    """Rows that are held back."""

    held_back: tuple[HeldLine, ...]
    """The rows, by environment, dataset and key."""

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


class Handled(Outcome):
    """What becomes of rows that are held back."""

    action: Literal["retry", "release"]
    """`retry`: they are read and judged again; `release`: they go out as they are."""
    rows: tuple[HeldLine, ...]
    """The rows as they were."""
    dry_run: bool
    """Whether nothing was changed because of `--dry-run`."""

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
) -> HeldRows:
    """List the rows that are held back: the rule or the system that is in the way, the value, and since when."""
    from distributor.ledger.quarantine import EVERYWHERE, held

    if environment is not None:
        desk.known_environment(environment)
    with desk.reading() as conn:
        found = held(conn, None)
    wanted = [row for row in found if environment in (None, row.environment) or row.environment == EVERYWHERE]
    return HeldRows(held_back=tuple(map(HeldLine.of, _of(wanted, dataset, key))))


def retry_held(
    desk: Desk,
    environment: OfEnvironment = None,
    every: Every = False,
    dataset: OfDataset = None,
    key: OfKey = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the audit.")] = "",
    by: By = None,
    dry_run: DryRun = False,
) -> Handled:
    """Have rows that are held back read and judged again, without a change on the master.

    A publisher does so at once; without one, `distributor publish` does. What one environment alone lacks is tried
    again with the next release that it is taken to.
    """
    from distributor.requests import quarantine

    rows = _chosen(desk, environment, every, dataset, key)
    if not dry_run:
        with desk.ledger() as engine:
            quarantine.retry(engine, desk.settings, rows, by=by or desk.user, reason=reason)
    return Handled(action="retry", rows=tuple(map(HeldLine.of, rows)), dry_run=dry_run)


def release_held(
    desk: Desk,
    reason: Reason,
    dataset: OfDataset = None,
    key: OfKey = None,
    every: Every = False,
    by: By = None,
    dry_run: DryRun = False,
) -> Handled:
    """Ship rows as they are with the next release, although their quality rule fails; once, and audited.

    They go with the values that they have by then; the rows that reference them go with them. Rules that refuse a
    release are not asked to be lenient.
    """
    from distributor.requests import quarantine

    rows = _chosen(desk, None, every, dataset, key, releasing=True)
    if not dry_run:
        with desk.ledger() as engine:
            quarantine.release(engine, rows, by=by or desk.user, reason=reason)
            quarantine.retry(engine, desk.settings, rows, by=by or desk.user, reason=reason)
    return Handled(action="release", rows=tuple(map(HeldLine.of, rows)), dry_run=dry_run)


def _chosen(
    desk: Desk,
    environment: str | None,
    every: bool,
    dataset: str | None,
    key: list[str] | None,
    *,
    releasing: bool = False,
) -> Sequence[HeldRow]:
    from distributor.ledger.quarantine import EVERYWHERE, held
    from distributor.quality.holding import DEPENDS

    if not (environment or every or dataset or key):
        raise UsageError("no row is named", where="quarantine", mend="Give --dataset, --key, --environment or --all.")
    if environment is not None:
        desk.known_environment(environment)
    with desk.reading() as conn:
        found = held(conn, None if every and not releasing else environment or EVERYWHERE)
        rows = _of(found, dataset, key)
        if releasing and not rows:
            # What one environment lacks cannot be released, and its refusal says why.
            rows = _of(held(conn, None), dataset, key)
    if releasing and not key:
        # Those that only reference others go with them.
        rows = [row for row in rows if not row.why.startswith(DEPENDS)]
    if not rows:
        raise RefusedError("no such row is held back", where="quarantine", mend="See `distributor quarantine list`.")
    return rows


def _of(rows: Sequence[HeldRow], dataset: str | None, key: list[str] | None) -> Sequence[HeldRow]:
    return [row for row in rows if dataset in (None, row.dataset) and (not key or row.key == tuple(key))]
