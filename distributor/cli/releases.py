"""`releases`: what was published."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid, stamp
from distributor.cli.options import Limit
from distributor.cli.outcome import Outcome, Part
from distributor.model.manifest import Counts

if TYPE_CHECKING:
    from distributor.ledger.releases import ReleaseRecord


class ReleaseLine(Part):
    """One release."""

    number: int
    """Its number."""
    created_at: datetime
    """When it was published, in UTC."""
    rows: int
    """How many rows it changed."""
    counts: dict[str, Counts]
    """Dataset → inserts, updates and deletes."""
    manifest: str
    """sha256 of its manifest in the store."""
    parent: str | None
    """sha256 of its parent's manifest; null for the first release."""

    @classmethod
    def of(cls, record: ReleaseRecord) -> ReleaseLine:
        """A release as the ledger has it."""
        return cls(**{name: getattr(record, name) for name in cls.model_fields})


class Releases(Outcome):
    """Releases, newest first."""

    releases: tuple[ReleaseLine, ...]
    """The releases, newest first."""

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


def releases(desk: Desk, limit: Limit = 20) -> Releases:
    """List releases: when they were published and how much each changed (+ inserts, ~ updates, - deletes)."""
    from distributor.ledger.releases import releases as newest_releases

    with desk.reading() as conn:
        return Releases(releases=tuple(ReleaseLine.of(record) for record in newest_releases(conn, limit)))
