"""Keys of the HTTP API and the pages."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from distributor.access.roles import Role
from distributor.telemetry import clock
from distributor.views.base import View

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from distributor.ledger.keys import Key


class KeyLine(View):
    """A key."""

    id: str
    """Its id, with which it is revoked."""
    name: str
    """Its name: as the audit knows whoever uses it."""
    role: Role
    """What it is for."""
    environments: tuple[str, ...]
    """The environments that it is for; empty: all, and what concerns none."""
    created_at: datetime
    """When it was made, in UTC."""
    created_by: str
    """Who made it."""
    expires_at: datetime | None
    """When it opens nothing any more, in UTC; null: never."""
    revoked_at: datetime | None
    """When it was revoked, in UTC; null when nobody did."""
    last_used_at: datetime | None
    """When it was last used, to the minute, in UTC; null when never."""
    living: bool
    """Whether it opens anything."""

    @classmethod
    def of(cls, key: Key) -> KeyLine:
        """A key as the ledger has it."""
        plain = {name: getattr(key, name) for name in cls.model_fields if name != "living"}
        return cls(**plain, living=key.living(clock.now()))


class Keys(View):
    """Keys, by name."""

    keys: tuple[KeyLine, ...]
    """The keys."""


class NewKey(View):
    """A key that has just been made."""

    key: KeyLine
    """The key."""
    secret: str | None
    """What its owner shows: it is told this once, and kept nowhere. Null with `--dry-run`, and
    where an answer is given again."""
    dry_run: bool
    """Whether nothing was made because of `--dry-run`."""


class RevokedKey(View):
    """A key that has been revoked."""

    key: KeyLine
    """The key as it is now."""
    dry_run: bool
    """Whether nothing was changed because of `--dry-run`."""


def keys(conn: Connection, *, every: bool = False) -> Keys:
    """The keys that are not revoked; `every`: those that are, too."""
    from distributor.ledger.keys import keys as known

    return Keys(keys=tuple(map(KeyLine.of, known(conn, every=every))))
