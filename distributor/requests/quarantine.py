"""What operators do with rows that are held back. Each is audited in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from distributor.capture.fixed import clear_errors, connect, where_of
from distributor.capture.journal import note
from distributor.errors import RefusedError
from distributor.ledger import audit, quarantine
from distributor.ledger.engine import transaction
from distributor.ledger.quarantine import EVERYWHERE, HeldRow, Key
from distributor.quality.holding import DEPENDS
from distributor.quality.rereading import journal_text
from distributor.settings import Settings
from distributor.telemetry.clock import now


def retry(engine: Engine, settings: Settings, rows: Sequence[HeldRow], *, by: str, reason: str) -> None:
    """Has the next publish read these rows again; those that one environment lacks go with the next release there.

    Raises UnreachableError.
    """
    known = settings.master.datasets
    mine = {name: keys for name, keys in _keys(rows, EVERYWHERE).items() if name in known}
    if mine:
        # A publisher that watches the journal sees it at once.
        where = where_of(settings.master.url)
        with clear_errors(where), connect(settings.master.url, application="distributor quarantine") as master:
            for dataset, keys in mine.items():
                note(master, dataset, [journal_text(key) for key in keys])
    with transaction(engine) as conn:
        for environment in sorted({row.environment for row in rows} - {EVERYWHERE}):
            for dataset, keys in _keys(rows, environment).items():
                quarantine.let_go(conn, environment, dataset, keys)
        _note(conn, "quarantine retry", rows, by, reason)


def release(engine: Engine, rows: Sequence[HeldRow], *, by: str, reason: str) -> None:
    """Lets these rows go out as they are with the next publish, once. Raises RefusedError for those that cannot."""
    for row in rows:
        named = f"{row.dataset} {' '.join(row.key)}"
        if row.environment != EVERYWHERE:
            raise RefusedError(
                f"{row.system} of {row.environment} cannot take {named}: it {row.why}",
                where="quarantine",
                mend="Mend the row or the mapping; `distributor quarantine retry` has it tried again.",
            )
        if row.why.startswith(DEPENDS):
            raise RefusedError(
                f"{named} fails no rule itself, but {row.why}", where="quarantine", mend="Release that row."
            )
    with transaction(engine) as conn:
        for dataset, keys in _keys(rows, EVERYWHERE).items():
            quarantine.let_pass(conn, dataset, keys, reason)
        _note(conn, "quarantine release", rows, by, reason)


def _keys(rows: Sequence[HeldRow], environment: str) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for row in rows:
        if row.environment == environment:
            found.setdefault(row.dataset, []).append(row.key)
    return found


def _note(conn: Connection, what: str, rows: Sequence[HeldRow], by: str, reason: str) -> None:
    at = now()
    for environment in sorted({row.environment for row in rows}):
        keys = {name: [list(key) for key in keys] for name, keys in _keys(rows, environment).items()}
        named = None if environment == EVERYWHERE else environment
        audit.record(conn, audit.AuditRecord(at, by, what, reason, named, detail={"keys": keys}))
