"""Keys of the HTTP API and the pages. The ledger knows a key's sha256 only: whoever reads it can use none of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from distributor.access.roles import Principal, Role
from distributor.ledger.desk_tables import api_keys as table

PREFIX = "pdk_"
"""With this every key begins, so that those who look for secrets in texts find it."""
_SECRET_BYTES = 32
_NOTED_EVERY = timedelta(minutes=1)
# Any constant will do, as long as no other advisory lock of this service uses it.
_MAKING = 0x7064_6B65_7973


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key; `environments` is empty where it is for all. `last_used_at` is to the minute."""

    id: str
    name: str
    role: Role
    environments: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    @property
    def principal(self) -> Principal:
        """Whoever shows this key."""
        return Principal(self.name, self.role, self.environments)

    def living(self, at: datetime) -> bool:
        """Whether it opens anything at this time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


_COLUMNS = [table.c[name] for name in Key.__dataclass_fields__]


def new_secret() -> str:
    """A fresh key as it is shown once: the prefix, and 256 random bits as URL-safe base64."""
    return PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).rstrip(b"=").decode()


def sha256(secret: str) -> str:
    """What is kept of a key or a session's token. It has 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def put(conn: Connection, key: Key, secret: str) -> None:
    """Keeps a new key."""
    values = {name: getattr(key, name) for name in Key.__dataclass_fields__}
    values |= {"role": key.role.value, "environments": list(key.environments), "sha256": sha256(secret)}
    conn.execute(insert(table).values(values))


def shown(conn: Connection, secret: str, at: datetime) -> Key | None:
    """The living key that this text is; None when it is none."""
    digest = sha256(secret)
    row = conn.execute(select(table.c.sha256, *_COLUMNS).where(table.c.sha256 == digest)).one_or_none()
    if row is None or not hmac.compare_digest(row.sha256, digest):
        return None
    found = _key(row)
    return found if found.living(at) else None


def by_id(conn: Connection, key_id: str) -> Key | None:
    """The key of this id, living or not."""
    row = conn.execute(select(*_COLUMNS).where(table.c.id == key_id)).one_or_none()
    return _key(row) if row else None


def note_use(conn: Connection, key: Key, at: datetime) -> None:
    """Notes that the key was used, at most once a minute."""
    if not is_noted(key, at):
        stale = or_(table.c.last_used_at.is_(None), table.c.last_used_at < at - _NOTED_EVERY)
        conn.execute(update(table).where(table.c.id == key.id, stale).values(last_used_at=at))


def is_noted(key: Key, at: datetime) -> bool:
    """Whether a use of this minute is known already."""
    return key.last_used_at is not None and key.last_used_at >= at - _NOTED_EVERY


def keys(conn: Connection, *, every: bool = False) -> list[Key]:
    """The keys that are not revoked, by name; `every`: those that are, too, newest first among the same name."""
    query = select(*_COLUMNS).order_by(table.c.name, table.c.created_at.desc())
    if not every:
        query = query.where(table.c.revoked_at.is_(None))
    return [_key(row) for row in conn.execute(query)]


def beginning(conn: Connection, text: str) -> list[Key]:
    """The keys whose id begins so, two at most."""
    query = select(*_COLUMNS).where(table.c.id.startswith(text, autoescape=True)).limit(2)
    return [_key(row) for row in conn.execute(query)]


def lock_names(conn: Connection) -> None:
    """Nobody else makes a key until the transaction ends."""
    conn.execute(select(func.pg_advisory_xact_lock(_MAKING)))


def of_name(conn: Connection, name: str) -> Key | None:
    """The key of this name that is not revoked."""
    row = conn.execute(select(*_COLUMNS).where(table.c.name == name, table.c.revoked_at.is_(None))).one_or_none()
    return _key(row) if row else None


def revoke(conn: Connection, key_id: str, at: datetime) -> bool:
    """Ends a key; False when there is none of this id that is not revoked."""
    living = (table.c.id == key_id, table.c.revoked_at.is_(None))
    return bool(conn.execute(update(table).where(*living).values(revoked_at=at)).rowcount)


def _key(row: Row[tuple[object, ...]]) -> Key:
    values = {name: row._mapping[name] for name in Key.__dataclass_fields__}
    return Key(**{**values, "role": Role(values["role"]), "environments": tuple(values["environments"])})
