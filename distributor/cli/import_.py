"""`import DATASET FILE`: loads a file into the master."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.options import DryRun
from distributor.cli.outcome import Outcome
from distributor.views.wording import count


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
    copies: int
    """Rows that are exact copies of others of the file: they were taken once."""
    bad_records: int
    """Records that cannot be loaded; only with `--bad-records`."""
    bad: tuple[str, ...]
    """Up to ten of these: where they stand in the file, and why."""
    dry_run: bool
    """Whether nothing was changed because of `--dry-run`."""

    def show(self, console: Console) -> None:
        """One line."""
        would = "would be " if self.dry_run else ""
        console.print(
            f"{self.dataset}: {count(self.rows, 'row')} read; "
            f"{would}{self.inserted:,} inserted, {self.updated:,} updated, {self.deleted:,} deleted"
        )
        if self.copies:
            copies = "1 exact copy" if self.copies == 1 else f"{self.copies:,} exact copies"
            console.print(f"{copies} of other rows taken once")
        if self.bad_records:
            console.print(f"{count(self.bad_records, 'bad record')} {would}put aside: {'; '.join(self.bad)}")


def import_file(
    desk: Desk,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset of the config.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, JSONL or Parquet, also with .gz.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Also delete the rows that the file does not have.")
    ] = False,
    bad_records: Annotated[
        Path | None,
        typer.Option(
            "--bad-records",
            metavar="FILE",
            help="Load the good records, and write the bad ones to this new file, as JSON lines with the reason.",
        ),
    ] = None,
    most_bad: Annotated[
        int, typer.Option("--max-bad", min=0, metavar="N", help="With more bad records than this, nothing is loaded.")
    ] = 1000,
    dry_run: DryRun = False,
) -> Imported:
    """Load a file into the master: insert and update rows by their key; all of it or, with the reason, nothing.

    Columns that the file does not have keep their values. Exact copies of a row count once; two different rows of one
    key are bad records. What it changed is published like any other change.
    """
    from distributor.publishing.importing import import_file as load

    result = load(
        desk.settings, dataset, file, replace=replace, dry_run=dry_run, bad_records=bad_records, most_bad=most_bad
    )
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
        copies=result.copies,
        bad_records=result.bad,
        bad=result.told,
        dry_run=dry_run,
    )
