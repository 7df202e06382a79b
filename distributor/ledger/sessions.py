"""Logins of the pages: a random token in a cookie, its sha256 here. A session opens what its key opens, no longer."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from distributor.ledger import keys
from distributor.ledger.desk_tables import web_sessions as table
from distributor.ledger.keys import Key

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Session:
    """A login. `csrf` is what every form of it carries."""

    key: Key
    csrf: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """A login that has just been made; `token` is for the cookie, and is kept nowhere."""

    token: str
    session: Session


def open_session(conn: Connection, key: Key, at: datetime, lasts: timedelta) -> Opened:
    """A new login with this key. Those that have expired are forgotten."""
    token, csrf = secrets.token_urlsafe(_TOKEN_BYTES), secrets.token_urlsafe(_TOKEN_BYTES)
    until = at + lasts if key.expires_at is None else min(at + lasts, key.expires_at)
    conn.execute(delete(table).where(table.c.expires_at <= at))
    conn.execute(
        insert(table).values(sha256=keys.sha256(token), key_id=key.id, csrf=csrf, created_at=at, expires_at=until)
    )
    return Opened(token, Session(key, csrf, until))


def session(conn: Connection, token: str, at: datetime) -> Session | None:
    """The login of this token; None when there is none, when it has expired, or when its key opens nothing."""
    query = select(table.c.key_id, table.c.csrf, table.c.expires_at).where(
        table.c.sha256 == keys.sha256(token), table.c.expires_at > at
    )
    row = conn.execute(query).one_or_none()
    key = keys.by_id(conn, row.key_id) if row else None
    return Session(key, row.csrf, row.expires_at) if row and key and key.living(at) else None


def close_session(conn: Connection, token: str) -> None:
    """Logs out; nothing happens when there was no such login."""
    conn.execute(delete(table).where(table.c.sha256 == keys.sha256(token)))


def close_of_key(conn: Connection, key_id: str) -> int:
    """Ends every login of a key; returns how many."""
    return conn.execute(delete(table).where(table.c.key_id == key_id)).rowcount
