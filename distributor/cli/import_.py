"""`import DATASET FILE`: loads a file into the master."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import count
from distributor.cli.options import DryRun
from distributor.cli.outcome import Outcome


class Imported(Outcome):
    """What an import did to the master's table."""

    dataset: str
    """The dataset."""
    rows: int
    """Rows of the file."""
    inserted: int
    """Rows that were not there."""
    updated: int
    """Rows that were there with other values."""
    deleted: int
    """Rows that the file does not have; only with `--replace`."""
    dry_run: bool
    """Whether nothing was changed because of `--dry-run`."""

    def show(self, console: Console) -> None:
        """One line."""
        would = "would be " if self.dry_run else ""
        console.print(
            f"{self.dataset}: {count(self.rows, 'row')} read; "
            f"{would}{self.inserted:,} inserted, {self.updated:,} updated, {self.deleted:,} deleted"
        )


def import_file(
    desk: Desk,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset of the config.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, JSONL or Parquet, also with .gz.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Also delete the rows that the file does not have.")
    ] = False,
    dry_run: DryRun = False,
) -> Imported:
    """Load a file into the master: insert and update rows by their key; all of it or, with the reason, nothing.

    Columns that the file does not have keep their values. What it changed is published like any other change.
    """
    from distributor.publishing.importing import import_file as load

    result = load(desk.settings, dataset, file, replace=replace, dry_run=dry_run)
    if not dry_run and result.inserted + result.updated + result.deleted:
        desk.note(
            "import",
            dataset=result.dataset,
            file=str(file),
            inserted=result.inserted,
            updated=result.updated,
            deleted=result.deleted,
        )
    return Imported(
        dataset=result.dataset,
        rows=result.rows,
        inserted=result.inserted,
        updated=result.updated,
        deleted=result.deleted,
        dry_run=dry_run,
    )
