"""The journal of changed keys: taken in the transaction that reads the rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import psycopg

from distributor.capture.triggers import journal_exists

# Beyond this, reading the whole table is cheaper than looking keys up, and needs no memory for them.
MOST_KEYS = 200_000
_COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class Taken:
    """What was recorded: keys per dataset, each once, and datasets that must be compared whole."""

    keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Pending:
    """What waits: entries (counted up to 1,000), the newest one's id, and how old the first and the last are in
    seconds: since their statements wrote, which is before they were committed."""

    entries: int
    newest: int
    oldest_age: float
    newest_age: float = 0.0


@dataclass(frozen=True, slots=True)
class Changed:
    """How much waits: keys, each as often as it was written, datasets of which all rows may have changed; `more`: only
    the first 1,000 entries were counted."""

    keys: int = 0
    whole: tuple[str, ...] = ()
    more: bool = False


def take(conn: psycopg.Connection, datasets: Collection[str], most_keys: int = MOST_KEYS) -> Taken:
    """Removes what is visible of these datasets' entries and returns it; final when the caller commits.

    Entries of writers that have not committed stay for the next time. A dataset with more than `most_keys` keys
    becomes whole.
    """
    keys: dict[str, set[str]] = {}
    whole: set[str] = set()
    with conn.cursor() as cursor:
        for dataset, changed, all_of_it in cursor.stream(_TAKE, [list(datasets)]):
            if dataset in whole:
                continue
            if not all_of_it:
                keys.setdefault(dataset, set()).update(changed)
            if all_of_it or len(keys[dataset]) > most_keys:
                whole.add(dataset)
                keys.pop(dataset, None)
    return Taken({dataset: frozenset(found) for dataset, found in keys.items()}, frozenset(whole))


def note(conn: psycopg.Connection, dataset: str, keys: Collection[str]) -> bool:
    """Records keys as if their rows had changed; False where nothing was ever captured, and nothing is recorded."""
    if not journal_exists(conn):
        return False
    conn.execute(_NOTE, [dataset, list(keys)])
    return True


def pending(conn: psycopg.Connection, datasets: Collection[str]) -> Pending | None:
    """What waits to be taken, at a cost that does not grow with it; None when nothing does."""
    row = conn.execute(_PENDING, [list(datasets), _COUNTED], prepare=True).fetchone() if journal_exists(conn) else None
    return Pending(row[0], row[1], max(0.0, row[2]), max(0.0, row[3])) if row and row[0] else None


def changed(conn: psycopg.Connection, datasets: Collection[str]) -> Changed:
    """How much waits to be taken; asked when it matters, for it reads the keys themselves."""
    row = conn.execute(_CHANGED, [list(datasets), _COUNTED]).fetchone() if journal_exists(conn) else None
    return Changed(int(row[0]), tuple(sorted(row[1])), more=row[2] >= _COUNTED) if row else Changed()


_TAKE = """
DELETE FROM distributor_capture.changed_keys WHERE dataset = ANY(%s) RETURNING dataset, keys, whole
"""

_NOTE = "INSERT INTO distributor_capture.changed_keys (dataset, keys) VALUES (%s, %s)"

_PENDING = """
SELECT count(*), max(id), extract(epoch FROM clock_timestamp() - min(changed_at))::float8,
    extract(epoch FROM clock_timestamp() - max(changed_at))::float8
FROM (SELECT id, changed_at FROM distributor_capture.changed_keys WHERE dataset = ANY(%s) LIMIT %s) AS waiting
"""

_CHANGED = """
SELECT coalesce(sum(cardinality(keys)), 0), coalesce(array_agg(DISTINCT dataset) FILTER (WHERE whole), '{}'), count(*)
FROM (SELECT dataset, keys, whole FROM distributor_capture.changed_keys WHERE dataset = ANY(%s) LIMIT %s) AS waiting
"""
