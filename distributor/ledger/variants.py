"""Variants: which manifest an environment takes for a release, where that is not the release's own.

An environment that sees the rows masked takes an edition of the release, or a variant of that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from distributor.ledger import releases
from distributor.ledger.tables import variants as table


def put(conn: Connection, environment: str, release: int, manifest: str, rows: int, at: datetime) -> None:
    """From now on the environment takes this manifest for the release. `rows` are those held back; 0 for an edition."""
    statement = insert(table).values(environment=environment, release=release, manifest=manifest, rows=rows, made_at=at)
    changed = {name: statement.excluded[name] for name in ("manifest", "rows", "made_at")}
    conn.execute(statement.on_conflict_do_update(index_elements=[table.c.environment, table.c.release], set_=changed))


def forget(conn: Connection, environment: str, release: int) -> None:
    """From now on the environment takes the release itself."""
    conn.execute(delete(table).where(table.c.environment == environment, table.c.release == release))


def manifests(conn: Connection, environment: str, numbers: Collection[int]) -> dict[int, str | None]:
    """Release → sha256 of what the environment takes for it; None for release 0. Raises RefusedError for an unknown
    one."""
    query = select(table.c.release, table.c.manifest).where(
        table.c.environment == environment, table.c.release.in_(list(numbers))
    )
    found = releases.manifests(conn, numbers)
    found.update((number, manifest) for number, manifest in conn.execute(query))
    return found


def manifest(conn: Connection, environment: str, release: int) -> str | None:
    """The same of one release."""
    return manifests(conn, environment, [release])[release]


def own(conn: Connection, environment: str, release: int) -> tuple[str, int] | None:
    """What it takes for a release instead of the release's own manifest, and the rows held back; None: that one."""
    query = select(table.c.manifest, table.c.rows).where(table.c.environment == environment, table.c.release == release)
    row = conn.execute(query).one_or_none()
    return (row.manifest, row.rows) if row else None


def held_back_of(conn: Connection, releases: Mapping[str, int]) -> dict[str, int]:
    """Environment → rows held back in the release that is named for it."""
    query = select(table.c.environment, table.c.rows).where(
        tuple_(table.c.environment, table.c.release).in_(list(releases.items()))
    )
    return {row.environment: row.rows for row in conn.execute(query)}


def held_back(conn: Connection, environment: str) -> Mapping[int, int]:
    """Release → rows held back in it."""
    query = select(table.c.release, table.c.rows).where(table.c.environment == environment)
    found: dict[int, int] = {}
    found.update((release, rows) for release, rows in conn.execute(query))
    return found
