"""The member's row: under a lock between processes, and saved only if nobody else has saved it meanwhile.

The lock keeps processes from getting in each other's way; it is no proof of anything, because whoever holds it may be
held up for longer than it lasts. Therefore a row has a version, and a save that was not made from the newest one is
refused in the store: a lock that was lost costs a repetition, and never an update.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import redis

from consumers.adapters import redis_scripts as scripts
from consumers.adapters.redis_line import Session
from consumers.adapters.redis_state import lost_row, told
from distributor.errors import UnreachableError
from distributor.rollout.member_row import MemberRow
from distributor.telemetry import clock

LOCK_SECONDS = 10.0
"""What was locked by a connection that is gone is free at once; this long after, where the server does not tell."""
PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.005


class RedisMember:
    """The row as read under the lock, and the one that is to be saved."""

    def __init__(self, version: str, row: MemberRow) -> None:
        self.row = row
        self.version = version
        self.wanted: MemberRow | None = None

    def save(self, row: MemberRow) -> None:
        """Writes the row at the end of the transaction; readers are led anew in the same step."""
        self.wanted = row

    def arguments(self, row: MemberRow) -> list[str]:
        """Of the scripts that write a row."""
        return [self.version, row.model_dump_json(), *(part for field in told(row).items() for part in field)]


@contextmanager
def locked(session: Session, where: str) -> Iterator[RedisMember]:
    """The row, locked. Raises UnreachableError when somebody else holds the lock all the time."""
    holder = f"{session.owner} {clock.new_id()}"
    _take(session, where, holder)
    try:
        yield read(session, where)
    finally:
        if not session.lost:
            try:
                session.run(scripts.UNLOCK, holder)
            except redis.RedisError:
                # Whoever cannot give it back hangs up: by that others see that it is free.
                session.client.connection_pool.disconnect()


@contextmanager
def transaction(session: Session, where: str) -> Iterator[RedisMember]:
    """The row, locked; saved on normal exit. Raises UnreachableError when it was changed meanwhile."""
    with locked(session, where) as member:
        yield member
        if member.wanted is not None and session.run(scripts.SAVE, *member.arguments(member.wanted)) != b"SAVED":
            raise overtaken(where)


def read(session: Session, where: str) -> RedisMember:
    """The row as it is. Raises SystemAlteredError when it is not there."""
    version, row = session.client.hmget(session.key("member"), "version", "row")
    if version is None or row is None:
        raise lost_row(where)
    return RedisMember(version.decode(), MemberRow.model_validate_json(row))


def overtaken(where: str) -> UnreachableError:
    """Somebody else was quicker."""
    return UnreachableError("the member's row was changed by another process meanwhile", where=where)


def holder_of(session: Session) -> tuple[str, str]:
    """Who has the lock: the holder as it stands there, and the number of the connection. Empty: nobody."""
    held = session.client.get(session.key("lock"))
    holder = held.decode(errors="replace") if isinstance(held, bytes) else ""
    return holder, holder.partition(" ")[0].rpartition("/")[2]


def _take(session: Session, where: str, holder: str, sleep: Callable[[float], None] = time.sleep) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = _POLL_SECONDS
    while not session.client.set(session.key("lock"), holder, nx=True, px=int(LOCK_SECONDS * 1000)):
        other, number = holder_of(session)
        if other and not session.alive(other.partition(" ")[0]):
            session.run(scripts.UNLOCK, other)
            continue
        if time.monotonic() > deadline:
            raise UnreachableError(f"connection {number} holds the lock on the member's row", where=where)
        sleep(pause)
        pause = min(2 * pause, 0.1)
