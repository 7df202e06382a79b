"""When a base is due, and the making of it: the store's own work, which neither master nor image hears of."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from distributor.ledger import editions
from distributor.ledger.tables import releases
from distributor.model.manifest import ZERO
from distributor.settings.models import Settings, StoreSettings
from distributor.store.base import Store
from distributor.store.chunks import CHUNK_ROWS
from distributor.store.ways import read_base


@dataclass(frozen=True, slots=True)
class Due:
    """The newest release, of which a base is to be made, and why."""

    release: int
    manifest: str
    why: str


@dataclass(frozen=True, slots=True)
class _Start:
    """Where chains begin at present: the newest base, or the first release, which is nothing but inserts."""

    release: int
    rows: int


class Watch:
    """Looks whether a base is due. It remembers the newest one, so that a look is one short query."""

    def __init__(self, store: Store, settings: StoreSettings) -> None:
        self._store, self._settings = store, settings
        self._start: _Start | None = None

    def look(self, conn: Connection) -> Due | None:
        """The base that is due; None when none is."""
        if self._start is None:
            self._start = _newest_start(conn, self._store)
        if self._start is None or (due := self._due(conn, self._start)) is None:
            return None
        # Somebody else may have made one meanwhile.
        newest = _newest_start(conn, self._store)
        if newest == self._start:
            return due
        self._start = newest
        return self._due(conn, newest) if newest else None

    def _due(self, conn: Connection, start: _Start) -> Due | None:
        since = releases.c.number > start.release
        count, rows = conn.execute(select(func.count(), func.coalesce(func.sum(releases.c.rows), 0)).where(since)).one()
        why = self._why(start, int(count), int(rows))
        if not why:
            return None
        newest = select(releases.c.number, releases.c.manifest).order_by(releases.c.number.desc()).limit(1)
        number, manifest = conn.execute(newest).one()
        return Due(number, manifest, why)

    def _why(self, start: _Start, count: int, rows: int) -> str:
        after, growth = self._settings.compact_after, self._settings.compact_growth
        if after and count > after:
            return f"{count:,} releases since release {start.release}"
        # What fits into one chunk is no long way, however small the catalogue is.
        if growth and rows > max(growth * start.rows, CHUNK_ROWS):
            return f"{rows:,} changed rows since release {start.release}, which has {start.rows:,}"
        return ""


def editions_due(conn: Connection, settings: Settings, due: Due) -> dict[str, Due]:
    """Version → the base that is due of the same release's edition, of every policy in use that has one."""
    found = {policy.version: editions.known(conn, policy.version, due.release) for policy in settings.policies_in_use}
    return {version: Due(due.release, manifest, due.why) for version, manifest in found.items() if manifest}


def _newest_start(conn: Connection, store: Store) -> _Start | None:
    query = select(releases.c.number, releases.c.manifest, releases.c.rows).order_by(releases.c.number.desc())
    first: _Start | None = None
    for number, manifest, rows in conn.execute(query):
        if base := read_base(store, manifest):
            return _Start(base.release, base.rows)
        first = _Start(number, rows)
    return first if first is not None and first.release > ZERO else None
