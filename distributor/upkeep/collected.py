"""Releases that are gone from the store. Their row in the ledger stays."""

from __future__ import annotations

from sqlalchemy import Connection, select

from distributor.errors import RefusedError
from distributor.ledger.locks import asking_gate
from distributor.ledger.tables import releases
from distributor.store.base import Store

KEPT, OLDEST = "kept", "oldest"
"""Kind and name under which the store has the manifest of the oldest release that can be had."""


def oldest(conn: Connection, store: Store) -> int | None:
    """The oldest release that can be had; None as long as none was collected."""
    sha256 = store.linked(KEPT, OLDEST)
    if sha256 is None:
        return None
    return conn.execute(select(releases.c.number).where(releases.c.manifest == sha256)).scalar_one_or_none()


def refuse_collected(conn: Connection, store: Store, release: int) -> None:
    """Raises RefusedError when a release is gone. Release 0 never is: it is empty."""
    found = oldest(conn, store)
    if found is not None and 0 < release < found:
        raise RefusedError(
            f"release {release} was collected; the oldest that can be had is {found}",
            where="store",
            mend="Ask for that one or a newer one; `store.keep` in the config says how long releases are kept.",
        )


def hold_on_to(conn: Connection, store: Store, release: int) -> None:
    """Like `refuse_collected`; and until this transaction has ended, the release is not collected either."""
    asking_gate(conn)
    refuse_collected(conn, store, release)
