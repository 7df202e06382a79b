"""What sessions of ours wait for in PostgreSQL: who holds the lock, with which query, and how to end that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from consumers.adapters.base import Obstacle
from consumers.adapters.postgresql_line import Transaction

LONGEST_QUERY = 200
_HIDDEN = "<insufficient privilege>"
_LOCKED = (
    "locktype", "database", "relation", "page", "tuple",
    "virtualxid", "transactionid", "classid", "objid", "objsubid",
)  # fmt: skip
# Both locks, `h` and `w`, are about the same thing.
_SAME = " AND ".join(f"h.{name} IS NOT DISTINCT FROM w.{name}" for name in _LOCKED)

_OURS = """
SELECT a.pid, a.state, a.wait_event_type, a.wait_event, pg_blocking_pids(a.pid), l.locktype, l.classid::bigint,
       coalesce(l.relation, (SELECT t.relation FROM pg_locks t
                             WHERE t.pid = a.pid AND t.locktype = 'tuple' AND t.granted LIMIT 1))::regclass::text
FROM pg_stat_activity a LEFT JOIN pg_locks l ON l.pid = a.pid AND NOT l.granted
WHERE a.pid = ANY(%s)
ORDER BY l.pid IS NULL, a.wait_event_type IS NULL
"""
# Whoever holds the lock itself comes before those who only stand before us in its queue.
_HOLDERS = f"""
SELECT a.pid, a.usename, a.application_name, a.state, a.state_change, a.query, pg_blocking_pids(a.pid), held.modes
FROM pg_stat_activity a, LATERAL (
    SELECT string_agg(DISTINCT h.mode, ', ') FROM pg_locks h, pg_locks w
    WHERE w.pid = %s AND NOT w.granted AND h.pid = a.pid AND h.granted AND {_SAME}
) AS held(modes)
WHERE a.pid = ANY(%s)
ORDER BY held.modes IS NULL, a.xact_start
"""
# Its locks have no process; the one on its own number tells whose the others are.
_PREPARED = f"""
SELECT p.gid, p.owner, p.prepared FROM pg_locks w, pg_locks h, pg_locks own, pg_prepared_xacts p
WHERE w.pid = %s AND NOT w.granted AND h.granted AND h.pid IS NULL AND {_SAME}
  AND own.pid IS NULL AND own.virtualtransaction = h.virtualtransaction AND own.transactionid = p.transaction
"""


@dataclass(frozen=True, slots=True)
class _Ours:
    """A session of ours, and the lock that it waits for."""

    pid: int
    state: str | None
    event_type: str | None
    event: str | None
    blocked_by: Sequence[int]
    lock: str | None
    lock_class: int | None
    relation: str | None


@dataclass(frozen=True, slots=True)
class _Holder:
    """A session in the way. What it does is not told to everybody: then `state` is None."""

    pid: int
    user: str | None
    application: str
    state: str | None
    since: datetime | None
    query: str | None
    blocked_by: Sequence[int]
    modes: str | None


def obstacle(transaction: Transaction, pids: Sequence[int]) -> Obstacle:
    """What stands in the way of these sessions, the one that is blocked before the others."""
    if not pids:
        return _NONE
    ours = [_Ours(*row) for row in transaction.run(_OURS, (list(pids),))]
    if not ours:
        return Obstacle("an answer on a connection that the server has given up; keepalives end the wait")
    waiting = ours[0]
    if not waiting.blocked_by:
        return _busy(ours)
    found = transaction.run(_HOLDERS, (waiting.pid, [pid for pid in waiting.blocked_by if pid]))
    if not found:
        return _prepared(transaction, waiting)
    holder = _Holder(*found[0])
    others = f", and {len(found) - 1} more" if len(found) > 1 else ""
    what = f"{_session(holder)}, which {_holds(waiting, holder)}{_behind(holder)}{_said(holder)}{others}"
    return Obstacle(what, f"SELECT pg_terminate_backend({holder.pid})")


def _busy(ours: Sequence[_Ours]) -> Obstacle:
    """Nobody is in the way: perhaps the server reads from a slow disk, or waits for its standby (SyncRep)."""
    for session in ours:
        if session.state == "active" and session.event and session.event_type != "Client":
            return Obstacle(f"PostgreSQL itself ({session.event_type}: {session.event})")
    return _NONE


def _session(holder: _Holder) -> str:
    traits = [holder.application or "no application name"]
    if holder.state:
        traits.append(f"{holder.state} since {holder.since:%Y-%m-%d %H:%M:%S} UTC" if holder.since else holder.state)
    return f"session {holder.pid} of {holder.user} ({', '.join(traits)})"


def _holds(waiting: _Ours, holder: _Holder) -> str:
    if waiting.lock == "advisory":
        # Only this service takes these; the one for a slot has a class, the one for making tables has none.
        return "loads the same slot" if waiting.lock_class else "makes the same tables"
    if waiting.lock in ("transactionid", "tuple"):
        return f"has locked a row{f' of {waiting.relation}' if waiting.relation else ''} and not committed"
    if holder.modes is None:
        return f"stands before it in the queue for {waiting.relation or waiting.lock}"
    return f"holds {holder.modes} on {waiting.relation or waiting.lock}"


def _behind(holder: _Holder) -> str:
    sessions = ", ".join(str(pid) for pid in sorted(set(holder.blocked_by)) if pid)
    return f" and itself waits for session {sessions}" if sessions else ""


def _said(holder: _Holder) -> str:
    if holder.query is None or holder.query == _HIDDEN:
        return "; its query is hidden from this role (GRANT pg_read_all_stats shows it)"
    words = " ".join("".join(sign if sign.isprintable() else " " for sign in holder.query).split())
    cut = words if len(words) <= LONGEST_QUERY else f"{words[: LONGEST_QUERY - 1]}…"
    return f"; its query: {cut}" if holder.state == "active" else f"; its last query: {cut}"


def _prepared(transaction: Transaction, waiting: _Ours) -> Obstacle:
    """Its locks belong to no session; it stands until somebody ends it, over restarts too."""
    found = transaction.run(_PREPARED, (waiting.pid,))
    if not found:
        return _NONE
    gid, owner, at = found[0]
    quoted = gid.replace("'", "''")
    what = f"the prepared transaction '{gid}' of {owner}, prepared at {at:%Y-%m-%d %H:%M:%S} UTC"
    return Obstacle(what, f"ROLLBACK PREPARED '{quoted}'")


_NONE = Obstacle()
