"""Connections to the ledger. Failures are told without the password, and say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import errors as postgres
from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, ProgrammingError

from distributor.errors import ConfigError, NotInitialisedError, UnreachableError
from distributor.settings import lines


def parse_url(url: str) -> URL:
    """The ledger's URL, for psycopg 3. Raises ConfigError."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(
            "this is no URL", where="ledger.url", mend="Write postgresql://user:password@host:port/database."
        ) from error
    if parsed.get_backend_name() != "postgresql":
        raise ConfigError(
            f"the ledger is a PostgreSQL database, not {parsed.get_backend_name()}",
            where="ledger.url",
            mend="Write postgresql://user:password@host:port/database.",
        )
    return parsed.set(drivername="postgresql+psycopg")


def ledger_engine(url: str, *, connections: int = 12) -> Engine:
    """A pool of at most so many connections, opened on first use. Raises ConfigError for a URL of another kind."""
    return create_engine(
        parse_url(url),
        pool_size=connections // 3,
        max_overflow=connections - connections // 3,
        connect_args={
            "connect_timeout": 5,
            "application_name": "distributor",
            "options": f"-c timezone=UTC {lines.SERVER}",
            **lines.CLIENT,
        },
    )


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction, committed on normal exit. Raises UnreachableError and NotInitialisedError."""
    with clear_errors(engine.url), engine.begin() as conn:
        yield conn


class JoinedEngine(Engine):
    """An engine whose every transaction is a part of one that goes on: what is done by several is kept together.

    For those who ask by `transaction(engine)`; what fails in one of them is undone back to where that one began.
    """

    def __init__(self, conn: Connection) -> None:
        self._joined = conn
        self.url = conn.engine.url

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A savepoint."""
        with self._joined.begin_nested():
            yield self._joined

    def execution_options(self, **opt: Any) -> JoinedEngine:  # type: ignore[override]
        """Itself: how the transaction goes on was decided when it began."""
        return self

    def connect(self) -> Connection:
        """There is no connection beside the transaction's own. Raises TypeError."""
        raise TypeError("what joins a transaction takes no connection of its own")


@contextmanager
def clear_errors(url: URL) -> Iterator[None]:
    """Turns the driver's failures into the ledger's: unreachable, or not created yet."""
    where = f"ledger {url.host or 'local socket'}:{url.port or 5432}/{url.database}"
    try:
        yield
    except ProgrammingError as error:
        if isinstance(error.orig, postgres.UndefinedTable | postgres.InvalidSchemaName | postgres.UndefinedColumn):
            raise NotInitialisedError(
                "the ledger has not been created, or is older than this program",
                where=where,
                mend="Run `distributor init`.",
            ) from error
        raise
    except (OperationalError, InterfaceError) as error:
        if isinstance(error.orig, postgres.SerializationFailure | postgres.DeadlockDetected) or _unreachable(error):
            raise UnreachableError(
                f"the ledger did not answer: {first_line(error.orig)}",
                where=where,
                mend="Is PostgreSQL running there, and are user and password right?",
            ) from error
        raise


def _unreachable(error: DBAPIError) -> bool:
    # A query that the server refused has an SQLSTATE outside the classes of lost connections and shutdowns.
    state = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or state is None or state[:2] in {"08", "57", "53", "28", "3D"}


def first_line(error: BaseException | None) -> str:
    """The first line of a driver's message, which never holds the password."""
    return str(error).strip().splitlines()[0] if error and str(error).strip() else "no reason given"
