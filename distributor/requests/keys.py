"""Keys of the HTTP API and the pages: made, and revoked. Each is audited in the same transaction."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from distributor.access.roles import Role
from distributor.errors import NotThereError, RefusedError, UsageError
from distributor.ledger import audit, keys, sessions
from distributor.ledger.engine import transaction
from distributor.ledger.keys import Key
from distributor.settings import Settings
from distributor.telemetry.clock import new_id, now

NAME = r"[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,63}"
_OUR_OWN = frozenset({"coordinator", "publisher", "consumer", "quarantine", "follow", "trigger", "web"})


@dataclass(frozen=True, slots=True)
class WantedKey:
    """A key that is to be made. `environments`: what it is for; none: all, and what concerns none."""

    name: str
    role: Role
    environments: Collection[str] = ()
    expires_at: datetime | None = None


def create_key(engine: Engine, settings: Settings, wanted: WantedKey, *, by: str, reason: str) -> tuple[Key, str]:
    """A new key, and what its owner shows: that is kept nowhere, and cannot be told again. Raises as `would_be`."""
    secret = keys.new_secret()
    with transaction(engine) as conn:
        keys.lock_names(conn)
        key = would_be(conn, settings, wanted, by=by)
        keys.put(conn, key, secret)
        detail: dict[str, object] = {
            "key": key.id,
            "name": key.name,
            "role": key.role.value,
            "environments": list(key.environments),
            "expires": key.expires_at.isoformat() if key.expires_at else None,
        }
        audit.record(conn, audit.AuditRecord(key.created_at, by, "key create", reason, None, detail))
    return key, secret


def would_be(conn: Connection, settings: Settings, wanted: WantedKey, *, by: str) -> Key:
    """The key as it would be made now.

    Raises UsageError for a name that is none, an unknown environment or a time that is past, RefusedError when a key
    that is not revoked has the name.
    """
    _check_name(wanted.name)
    for environment in wanted.environments:
        settings.environment(environment)
    at = now()
    if wanted.expires_at is not None and wanted.expires_at <= at:
        raise UsageError("the key would have expired already", where="expires_at", mend="Name a time to come.")
    if keys.of_name(conn, wanted.name) is not None:
        raise RefusedError(
            f"there is a key {wanted.name!r} already", where="keys", mend="Revoke it first, or take another name."
        )
    scope = tuple(dict.fromkeys(wanted.environments))
    return Key(new_id(), wanted.name, wanted.role, scope, at, by, wanted.expires_at)


def revoke_key(engine: Engine, key_id: str, *, by: str, reason: str) -> Key:
    """Ends a key, by its id or an unambiguous beginning of it, and every login that was made with it.

    Raises NotThereError, RefusedError when it was revoked already.
    """
    with transaction(engine) as conn:
        at = now()
        known = key_of(conn, key_id)
        if not keys.revoke(conn, known.id, at):
            raise RefusedError(f"the key {known.name!r} is revoked already", where="keys")
        sessions.close_of_key(conn, known.id)
        key = key_of(conn, known.id)
        detail = {"key": key.id, "name": key.name, "role": key.role.value}
        audit.record(conn, audit.AuditRecord(at, by, "key revoke", reason, None, detail))
        return key


def key_of(conn: Connection, beginning: str) -> Key:
    """The key whose id begins so. Raises NotThereError, UsageError when more than one does."""
    match keys.beginning(conn, beginning):
        case [only]:
            return only
        case []:
            raise NotThereError(f"there is no key {beginning!r}", where="keys", mend="See `distributor key list`.")
        case _:
            raise UsageError(
                f"more than one key's id begins with {beginning!r}", where="keys", mend="Give more of its digits."
            )


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME, name) or name != name.strip():
        raise UsageError(
            f"{name!r} is no name of a key",
            where="name",
            mend="Up to 64 letters, digits, spaces and . _ @ + -, beginning with a letter or a digit.",
        )
    if name.lower() in _OUR_OWN:
        raise UsageError(
            f"{name!r} is what the audit calls a part of the service", where="name", mend="Take another one."
        )
