"""`releases`: what was published."""

from __future__ import annotations

from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import Limit
from distributor.cli.outcome import Outcome
from distributor.model.manifest import Counts
from distributor.views.releases import Releases
from distributor.views.releases import releases as newest
from distributor.views.wording import stamp


class ShownReleases(Releases, Outcome):
    """Releases, newest first."""

    def show(self, console: Console) -> None:
        """A table, newest first."""
        table = grid(">release", "published (UTC)", ">rows", "changes")
        for line in self.releases:
            table.add_row(str(line.number), stamp(line.created_at), f"{line.rows:,}", changed(line.counts))
        console.print(table if self.releases else "there is no release yet: `distributor publish` makes one")


def changed(counts: dict[str, Counts]) -> str:
    """`products +12 ~3 -1, prices ~40`: inserts, updates and deletes; datasets without a change are left out."""
    texts = []
    for dataset, count in sorted(counts.items()):
        signs = (("+", count.inserts), ("~", count.updates), ("-", count.deletes))
        if shown := " ".join(f"{sign}{number:,}" for sign, number in signs if number):
            texts.append(f"{dataset} {shown}")
    return ", ".join(texts) or "nothing"


def releases(desk: Desk, limit: Limit = 20) -> ShownReleases:
    """List releases: when they were published and how much each changed (+ inserts, ~ updates, - deletes)."""
    with desk.reading() as conn:
        return ShownReleases.of(newest(conn, limit=limit))
