"""`capture install|status|remove`: the master's triggers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import DryRun
from distributor.cli.outcome import Outcome
from distributor.views.base import View

if TYPE_CHECKING:
    import psycopg

    from distributor.capture.inspect import Source

STATES = {
    "installed": "every change is seen",
    "missing": "no triggers: every publish reads the whole table",
    "outdated": "its triggers do not fit the table or this program: every publish reads the whole table",
    "replicated": "rows come by logical replication, which fires no triggers: every publish reads the whole table",
    "scan": "no triggers are wanted: it is compared whole from time to time",
}


class CapturedDataset(View):
    """The triggers of one dataset."""

    dataset: str
    """The dataset."""
    table: str
    """The master's table."""
    state: str
    """`installed`, `missing`, `outdated`, `replicated` or `scan`, as it is now."""
    changed: bool
    """Whether this verb has changed it (with `--dry-run`: would change it)."""


class Capture(Outcome):
    """The master's triggers."""

    datasets: tuple[CapturedDataset, ...]
    """Every dataset of the config."""
    waiting: int
    """Entries of changed keys that the next publish will take, counted up to 1,000."""
    oldest_waiting_seconds: float | None
    """How long the oldest of them has waited; null when there is none."""
    dry_run: bool
    """Whether nothing was changed because of `--dry-run`."""

    def show(self, console: Console) -> None:
        """A table of datasets, and what waits."""
        table = grid("dataset", "table", "state", "", "changed")
        for found in self.datasets:
            changed = ("would be" if self.dry_run else "yes") if found.changed else "-"
            table.add_row(found.dataset, found.table, found.state, STATES[found.state], changed)
        console.print(table)
        if self.oldest_waiting_seconds is not None:
            entries = "1 entry" if self.waiting == 1 else f"{self.waiting:,} entries"
            more = " or more" if self.waiting >= 1000 else ""
            console.print(
                f"{entries}{more} of changed keys to publish, for {self.oldest_waiting_seconds:.0f} s at most"
            )


def install(desk: Desk, dry_run: DryRun = False) -> Capture:
    """Put triggers on the datasets' tables, so that a publish reads only what changed.

    They write the keys of changed rows and nothing more. A dataset that gets new triggers is read whole once, so
    nothing that changed before is missed. Running it again is harmless.
    """
    from distributor.capture import triggers

    with _master(desk) as (conn, sources):
        if dry_run:
            lacking = {triggers.CaptureState.MISSING, triggers.CaptureState.OUTDATED}
            changed = [name for name, source in sources.items() if triggers.state(source, conn) in lacking]
            return _look(conn, sources, changed, dry_run=True)
        changed = list(triggers.install(conn, sources.values()))
        conn.commit()
        if changed:
            desk.note("capture install", datasets=changed)
        return _again(desk, conn, changed)


def status(desk: Desk) -> Capture:
    """Show whether the triggers see every change, and how much waits to be published."""
    with _master(desk) as (conn, sources):
        return _look(conn, sources, (), dry_run=False)


def remove(desk: Desk, dry_run: DryRun = False) -> Capture:
    """Take the triggers, and everything else that was put into the master, away again.

    What they recorded is gone too: the next publish reads every table whole.
    """
    from distributor.capture import triggers

    with _master(desk) as (conn, sources):
        absent = {triggers.CaptureState.MISSING, triggers.CaptureState.SCAN}
        present = [name for name, source in sources.items() if triggers.state(source, conn) not in absent]
        if dry_run:
            return _look(conn, sources, present, dry_run=True)
        triggers.remove(conn)
        conn.commit()
        if present:
            desk.note("capture remove", datasets=present)
        return _again(desk, conn, present)


@contextmanager
def _master(desk: Desk) -> Iterator[tuple[psycopg.Connection, dict[str, Source]]]:
    from distributor.capture import fixed
    from distributor.capture.inspect import inspect

    url = desk.settings.master.url
    with fixed.connect(url) as conn, fixed.clear_errors(fixed.where_of(url)):
        yield conn, inspect(conn, desk.settings.master.datasets)


def _again(desk: Desk, conn: psycopg.Connection, changed: list[str]) -> Capture:
    from distributor.capture.inspect import inspect

    return _look(conn, inspect(conn, desk.settings.master.datasets), changed, dry_run=False)


def _look(conn: psycopg.Connection, sources: dict[str, Source], changed: Collection[str], *, dry_run: bool) -> Capture:
    from distributor.capture import journal, triggers

    waiting = journal.pending(conn, list(sources))
    return Capture(
        datasets=tuple(
            CapturedDataset(
                dataset=name,
                table=source.name,
                state=triggers.state(source, conn).value,
                changed=name in changed,
            )
            for name, source in sources.items()
        ),
        waiting=waiting.entries if waiting else 0,
        oldest_waiting_seconds=waiting.oldest_age if waiting else None,
        dry_run=dry_run,
    )
