"""A connection to a member's Redis: opened when needed, opened anew after a loss, errors in the service's words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from consumers.adapters import redis_scripts as scripts
from distributor.errors import ConfigError, DistributorError, SystemAlteredError, UnreachableError

OLDEST_SERVER = 7
_EXAMPLE = "It looks like redis://:password@host:6379/0."
_SCRIPTS = {
    code: hashlib.sha1(code.encode(), usedforsecurity=False).hexdigest()
    for code in (
        scripts.STATE,
        scripts.UNLOCK,
        scripts.SAVE,
        scripts.BEGIN,
        scripts.CLEAR,
        scripts.OWN,
        scripts.APPLY,
        scripts.COMMIT,
        scripts.DISCARD,
        scripts.SWEEP,
        scripts.PIN,
        scripts.KEEP,
    )
}
_PASSING = ("OOM", "LOADING", "BUSY", "READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "TRYAGAIN", "NOSCRIPT", "CUT")
_REFUSED = ("NOAUTH", "WRONGPASS", "NOPERM")


class Session:
    """One connection while it lasts. `owner` names it to others, who can ask the server whether it still is."""

    def __init__(self, client: redis.Redis, prefix: str, owner: str) -> None:
        # The driver's annotations cannot tell whether it decodes what it returns. It does not.
        self.client: Any = client
        self.prefix = prefix
        self.owner = owner
        self.lost = False

    def key(self, *parts: str) -> str:
        """The key of this name under the prefix."""
        return ":".join((self.prefix, *parts))

    def run(self, script: str, *arguments: str | bytes | int, on: Any = None) -> Any:
        """Runs a script of redis_scripts, `on` a transaction that watches if one is given. Raises redis.RedisError."""
        return (on or self.client).evalsha(_SCRIPTS[script], 1, self.prefix, *arguments)

    def run_many(self, script: str, calls: Iterator[list[str | bytes | int]]) -> list[Any]:
        """Runs a script again and again in one journey; others come in between. Raises redis.RedisError."""
        pipeline = self.client.pipeline(transaction=False)
        for arguments in calls:
            pipeline.evalsha(_SCRIPTS[script], 1, self.prefix, *arguments)
        replies: list[Any] = pipeline.execute()
        return replies

    def alive(self, owner: str) -> bool:
        """Whether a connection with that name still is. True when the server does not tell us."""
        run, _, number = owner.partition("/")
        if run != self.owner.partition("/")[0]:
            return False
        try:
            return bool(self.told_of(number))
        except redis.ResponseError:
            return True

    def told_of(self, number: str) -> dict[str, str]:
        """What CLIENT LIST says of a connection; empty when there is none with that number."""
        found = self.client.client_list(client_id=[number])
        return {str(key): str(value) for key, value in found[0].items()} if found else {}


class Line:
    """One lazily opened connection, used by one thread at a time. `where` names the server without its password."""

    def __init__(self, url: str, prefix: str) -> None:
        parts = urlsplit(url)
        try:
            # The driver would take options of its own from a query.
            valid = parts.scheme in ("redis", "rediss") and parts.hostname and not parts.query
            port, database = parts.port or 6379, int(parts.path.strip("/") or 0)
        except ValueError:
            valid = False
        if not valid:
            # The URL is not quoted: it may have a password in it.
            raise ConfigError("this is no Redis URL", where="url", mend=_EXAMPLE)
        self.where = f"{parts.scheme}://{parts.hostname}:{port}/{database}, prefix {prefix}"
        self._url = url
        self._prefix = prefix
        self._session: Session | None = None

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open. Raises UnreachableError, ConfigError (password, rights, version), SystemAlteredError."""
        with self.translated():
            if self._session is None:
                self._session = self._opened()
            yield self._session

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of the driver in the service's words; a lost connection is given up."""
        try:
            yield
        except redis.RedisError as error:
            raise self._reason(error) from error

    @property
    def owner(self) -> str:
        """The name of the connection, if there is one. From any thread."""
        session = self._session
        return session.owner if session is not None else ""

    def close(self) -> None:
        """Gives the connection back."""
        session, self._session = self._session, None
        if session is not None:
            session.lost = True
            with suppress(redis.RedisError, OSError):
                session.client.close()
                session.client.connection_pool.disconnect()

    def _opened(self) -> Session:
        client = redis.Redis.from_url(
            self._url,
            socket_connect_timeout=10,
            socket_timeout=60,
            socket_keepalive=True,
            # Whoever calls decides whether to try again: a load must not go on over a connection that was lost.
            retry=Retry(NoBackoff(), 0),
            client_name="distributor",
            # Others know us by the number of this connection: there is no second one, nor this one again.
            max_connections=1,
            redis_connect_func=_once(),
        )
        try:
            with client.pipeline(transaction=False) as opening:
                opening.info("server")
                opening.client_id()
                for code in _SCRIPTS:
                    opening.script_load(code)
                info, number, *_ = opening.execute()
            self._check(str(info.get("redis_version", "0")), str(info.get("redis_mode", "")))
        except BaseException:
            client.close()
            client.connection_pool.disconnect()
            raise
        return Session(client, self._prefix, f"{info.get('run_id', '')}/{number}")

    def _check(self, version: str, mode: str) -> None:
        if mode == "cluster":
            raise ConfigError(
                "this is a Redis Cluster, which has no step over all keys of a member",
                where=self.where,
                mend="A single server is needed.",
            )
        if int(version.partition(".")[0]) < OLDEST_SERVER:
            raise ConfigError(
                f"this is Redis {version}, which has no functions",
                where=self.where,
                mend=f"Redis {OLDEST_SERVER}.0 or newer is needed.",
            )

    def _reason(self, error: redis.RedisError) -> DistributorError:
        text = str(error)
        code = text.partition(" ")[0].rstrip(":")
        if isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError) or code in _REFUSED:
            self.close()
            return ConfigError(f"Redis refuses: {text}", where=self.where, mend="Look at password and rights (ACL).")
        if isinstance(error, redis.ConnectionError | redis.TimeoutError):
            self.close()
            return UnreachableError(f"Redis does not answer: {text}", where=self.where, mend="Is it running?")
        if isinstance(error, redis.ResponseError) and not _passes(error, code):
            return SystemAlteredError(
                f"Redis refuses: {text}", where=self.where, mend="Did somebody change keys under this prefix by hand?"
            )
        # A server that was emptied of its scripts is met anew.
        self.close()
        return UnreachableError(f"Redis does not serve: {text}", where=self.where)


def _once() -> Callable[[Any], None]:
    """What the driver does to connect, which it would do again in silence when it finds a connection lost."""
    connected = False

    def connect(connection: Any) -> None:
        nonlocal connected
        if connected:
            raise redis.ConnectionError("the connection was lost")
        connected = True
        connection.on_connect()

    return connect


def _passes(error: redis.ResponseError, code: str) -> bool:
    passing = (
        redis.ReadOnlyError,
        redis.BusyLoadingError,
        redis.exceptions.OutOfMemoryError,
        redis.exceptions.NoScriptError,
        redis.exceptions.TryAgainError,
        redis.exceptions.MasterDownError,
    )
    return isinstance(error, passing) or code in _PASSING
