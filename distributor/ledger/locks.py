"""Locks that are not on rows: who may clear the store away, and who asks for a release meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, func, select

from distributor.ledger.engine import clear_errors

# Any constants will do, as long as no other advisory lock of this service uses them.
_COLLECTION = 0x7064_6763_6F6E
_GATE = 0x7064_6761_7465
# In PostgreSQL, locks of two numbers are others than those of one.
_RESETS = 0x7064_7273


@contextmanager
def collecting(engine: Engine) -> Iterator[bool]:
    """Whether this is the only one who collects; if so, others are kept out until the block ends, or this dies.

    Raises UnreachableError.
    """
    with clear_errors(engine.url), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        mine = bool(conn.execute(select(func.pg_try_advisory_lock(_COLLECTION))).scalar_one())
        try:
            yield mine
        finally:
            if mine:
                conn.execute(select(func.pg_advisory_unlock(_COLLECTION)))


def asking_gate(conn: Connection) -> None:
    """Whoever asks for a release holds this until the request is committed; many may at once."""
    conn.execute(select(func.pg_advisory_xact_lock_shared(_GATE)))


def collecting_gate(conn: Connection) -> None:
    """Waits for every request that is being made; none is made until this transaction ends."""
    conn.execute(select(func.pg_advisory_xact_lock(_GATE)))


@contextmanager
def resetting(engine: Engine, environment: str) -> Iterator[bool]:
    """Whether this is the only one who resets an environment; if so, others are kept out until the block ends, or this
    dies. Raises UnreachableError."""
    mine = (_RESETS, func.hashtext(environment))
    with clear_errors(engine.url), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        locked = bool(conn.execute(select(func.pg_try_advisory_lock(*mine))).scalar_one())
        try:
            yield locked
        finally:
            if locked:
                conn.execute(select(func.pg_advisory_unlock(*mine)))
