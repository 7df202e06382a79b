"""Editions: which manifest a release has under a masking policy, by the policy's version."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from distributor.ledger.desk_tables import editions as table


def put(conn: Connection, policy: str, release: int, manifest: str, at: datetime) -> str:
    """Remembers an edition, unless there is one by now; returns the manifest that counts from now on."""
    values = {"policy": policy, "release": release, "manifest": manifest, "made_at": at}
    conn.execute(insert(table).values(**values).on_conflict_do_nothing())
    found = known(conn, policy, release)
    assert found is not None
    return found


def known(conn: Connection, policy: str, release: int) -> str | None:
    """The sha256 of an edition's manifest; None when it was not made yet."""
    query = select(table.c.manifest).where(table.c.policy == policy, table.c.release == release)
    return conn.execute(query).scalar_one_or_none()


def before(conn: Connection, policy: str, release: int) -> tuple[int, str] | None:
    """The newest edition of an older release: its number and manifest; None when there is none."""
    query = (
        select(table.c.release, table.c.manifest)
        .where(table.c.policy == policy, table.c.release < release)
        .order_by(table.c.release.desc())
        .limit(1)
    )
    row = conn.execute(query).one_or_none()
    return (row.release, row.manifest) if row else None


def all_of(conn: Connection, policy: str) -> dict[int, str]:
    """Release → manifest, of every edition of a policy."""
    rows = conn.execute(select(table.c.release, table.c.manifest).where(table.c.policy == policy))
    return {row.release: row.manifest for row in rows}


def policies(conn: Connection) -> Mapping[str, datetime]:
    """Version of a policy → when its last edition was made."""
    rows = conn.execute(select(table.c.policy, func.max(table.c.made_at)).group_by(table.c.policy))
    found: dict[str, datetime] = {}
    found.update((version, at) for version, at in rows)
    return found


def forget(conn: Connection, policy: str, below: int | None = None) -> None:
    """An environment that needs one of these again has it made anew; None: all of the policy's."""
    statement = delete(table).where(table.c.policy == policy)
    conn.execute(statement if below is None else statement.where(table.c.release < below))
