"""Releases in the ledger: a chain that only a compare-and-swap on its head can lengthen."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, func, insert, literal, select, text
from sqlalchemy.exc import IntegrityError

from distributor.errors import NotThereError, PublishConflictError, RefusedError
from distributor.ledger.outbox import OutgoingMessage, enqueue
from distributor.ledger.tables import RELEASES_CHANNEL
from distributor.ledger.tables import releases as table
from distributor.model.manifest import ZERO, Counts, Manifest
from distributor.telemetry.clock import new_id
from distributor.wire import topology
from distributor.wire.messages import ReleaseAnnounced

# Any constant will do, as long as no other advisory lock of this service uses it.
_PUBLISH_LOCK = 0x7064_7075_626C
_NOTIFY = text(f"NOTIFY {RELEASES_CHANNEL}")


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """A release as the ledger knows it. `manifest` and `parent` are sha256 of manifests in the store."""

    number: int
    manifest: str
    parent: str | None
    created_at: datetime
    rows: int
    counts: dict[str, Counts]
    schema_fingerprint: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Since:
    """The releases after one: their rows together, and when the first and the last of them were made."""

    rows: int
    first_at: datetime
    last_at: datetime


def publish_lock(conn: Connection) -> None:
    """Waits until no other publisher is at work, and keeps others out until this transaction ends."""
    conn.execute(select(func.pg_advisory_xact_lock(_PUBLISH_LOCK)))


def head(conn: Connection) -> ReleaseRecord | None:
    """The newest release; None as long as there is none."""
    row = conn.execute(select(table).order_by(table.c.number.desc()).limit(1)).one_or_none()
    return _record(row) if row else None


def insert_release(
    conn: Connection, manifest: Manifest, sha256: str, *, rows: int, traceparent: str | None = None
) -> ReleaseRecord:
    """Makes `manifest` (which lies in the store as `sha256`) the head, and announces it when the transaction commits.

    Raises PublishConflictError when the head is no longer the manifest's parent; the transaction cannot go on then.
    """
    record = ReleaseRecord(
        number=manifest.release,
        manifest=sha256,
        parent=manifest.parent,
        created_at=manifest.created_at,
        rows=rows,
        counts=dict(manifest.counts),
        schema_fingerprint=manifest.schema_fingerprint,
        traceparent=traceparent,
    )
    values = {
        **{name: getattr(record, name) for name in ReleaseRecord.__dataclass_fields__},
        "counts": {name: counts.model_dump() for name, counts in manifest.counts.items()},
    }
    names = list(values)
    newest = select(func.coalesce(func.max(table.c.number), ZERO)).scalar_subquery()
    newest_manifest = select(table.c.manifest).where(table.c.number == manifest.parent_release).scalar_subquery()
    candidate = select(*(literal(values[name], table.c[name].type) for name in names)).where(
        newest == manifest.parent_release, newest_manifest.is_not_distinct_from(manifest.parent)
    )
    try:
        inserted = conn.execute(insert(table).from_select(names, candidate).returning(table.c.number)).all()
    except IntegrityError as error:
        raise _conflict(manifest) from error
    if not inserted or manifest.release != manifest.parent_release + 1:
        raise _conflict(manifest)
    enqueue(conn, [_announcement(record)])
    conn.execute(_NOTIFY)
    return record


def release(conn: Connection, number: int) -> ReleaseRecord:
    """One release. Raises NotThereError when there is none of that number."""
    row = conn.execute(select(table).where(table.c.number == number)).one_or_none()
    if row is None:
        newest = head(conn)
        known = f"the newest is {newest.number}" if newest else "there is none yet"
        what = f"there is no release {number}; {known}"
        raise NotThereError(what, where="ledger", mend="See `distributor releases`.")
    return _record(row)


def releases(conn: Connection, limit: int = 50, before: int | None = None) -> list[ReleaseRecord]:
    """The newest releases, newest first; `before`: those of lower numbers."""
    query = select(table).order_by(table.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(table.c.number < before)
    return [_record(row) for row in conn.execute(query)]


def since(conn: Connection, number: int) -> Since | None:
    """What came after a release; None when it is the newest."""
    query = select(func.sum(table.c.rows), func.min(table.c.created_at), func.max(table.c.created_at))
    rows, first_at, last_at = conn.execute(query.where(table.c.number > number)).one()
    return None if rows is None else Since(int(rows), first_at, last_at)


def made_by(conn: Connection, at: datetime) -> ReleaseRecord | None:
    """The newest release made at or before a time; None when there was none yet."""
    query = select(table).where(table.c.created_at <= at).order_by(table.c.number.desc()).limit(1)
    row = conn.execute(query).one_or_none()
    return _record(row) if row else None


def manifests(conn: Connection, numbers: Collection[int]) -> dict[int, str | None]:
    """Release → sha256 of its manifest; None for release 0. Raises RefusedError for an unknown one."""
    wanted = set(numbers) - {ZERO}
    found: dict[int, str | None] = {ZERO: None}
    if wanted:
        rows = conn.execute(select(table.c.number, table.c.manifest).where(table.c.number.in_(wanted)))
        found.update((number, manifest) for number, manifest in rows)
    if missing := wanted - found.keys():
        raise RefusedError(f"the ledger does not know release {min(missing)}", where="ledger")
    return found


def _conflict(manifest: Manifest) -> PublishConflictError:
    return PublishConflictError(
        f"release {manifest.parent_release} is no longer the newest, so release {manifest.release} was not made",
        where="ledger",
        mend="Publish again: nothing is lost.",
    )


def _announcement(record: ReleaseRecord) -> OutgoingMessage:
    data = ReleaseAnnounced(release=record.number, manifest=record.manifest, rows=record.rows)
    return OutgoingMessage(
        message_id=new_id(),
        exchange=topology.RELEASES,
        routing_key="",
        type=ReleaseAnnounced.TYPE,
        subject=f"release/{record.number}",
        body=data.model_dump_json().encode(),
        traceparent=record.traceparent,
        created_at=record.created_at,
    )


def _record(row: Row[tuple[object, ...]]) -> ReleaseRecord:
    values = dict(row._mapping)
    values["counts"] = {name: Counts.model_validate(counts) for name, counts in values["counts"].items()}
    return ReleaseRecord(**values)
