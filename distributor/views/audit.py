"""Who did what, when and why."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distributor.views.base import View

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection


class Act(View):
    """One thing that somebody did."""

    id: int = Field(default=0, exclude=True)
    """Its place in the order of acts."""
    at: datetime
    """When, in UTC."""
    who: str
    """Who did it: a person, or a role of this service."""
    what: str
    """What was done: the verb; `follow` is a release that an environment took by itself."""
    why: str
    """The reason that was given."""
    environment: str | None
    """The environment that it was done to; null when it concerns none."""
    detail: dict[str, Any] | None
    """Whatever else was noted; null when nothing."""


class Acts(View):
    """What was done, newest first."""

    audit: tuple[Act, ...]
    """The acts, newest first."""


def audit(
    conn: Connection,
    environment: str | None = None,
    *,
    limit: int = 50,
    before: int | None = None,
    among: Collection[str] | None = None,
    who: str | None = None,
    what: str | None = None,
) -> Acts:
    """The newest acts, of all or of one environment. `before`: the id of the last one of the page before this one;
    `among`: only what concerns these environments; `who`, `what`: only these, to the letter."""
    from distributor.ledger.audit import records

    found = records(conn, environment, limit, before, among=among, who=who, what=what)
    return Acts(audit=tuple(Act(**{name: getattr(entry, name) for name in Act.model_fields}) for entry in found))
