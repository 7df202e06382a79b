"""What was published."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from distributor.model.manifest import Counts
from distributor.views.base import View

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from distributor.ledger.releases import ReleaseRecord


class ReleaseLine(View):
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


class Releases(View):
    """Releases, newest first."""

    releases: tuple[ReleaseLine, ...]
    """The releases, newest first."""


def releases(conn: Connection, *, limit: int = 20, before: int | None = None) -> Releases:
    """The newest releases; only those of a lower number than `before`, if that is given."""
    from distributor.ledger.releases import releases as newest

    return Releases(releases=tuple(map(ReleaseLine.of, newest(conn, limit, before))))
