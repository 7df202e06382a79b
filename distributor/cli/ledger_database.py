"""Creates the database of the ledger where it is missing and the role may."""

from __future__ import annotations

import psycopg
from psycopg import errors, sql
from sqlalchemy import make_url

from distributor.cli.desk import without_password
from distributor.errors import DistributorError, UnreachableError
from distributor.ledger.engine import first_line, parse_url

_MAINTENANCE = ("postgres", "template1")
CONNECT_SECONDS = 5


def ensure_database(url: str) -> bool:
    """Whether the database had to be created.

    Raises UnreachableError when the server does not answer; DistributorError when the database is missing and this
    role may not create it.
    """
    if database_exists(url):
        return False
    name = parse_url(url).database or ""
    for maintenance in _MAINTENANCE:
        if not _connects(url, maintenance):
            continue
        with psycopg.connect(_dsn(url, maintenance), autocommit=True, connect_timeout=CONNECT_SECONDS) as conn:
            try:
                conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            except errors.DuplicateDatabase:
                return False
            except errors.InsufficientPrivilege as error:
                raise _missing(url, name) from error
        return True
    raise _missing(url, name)


def database_exists(url: str) -> bool:
    """Whether the server has this database. Raises UnreachableError when it does not answer, ConfigError."""
    return _connects(url, parse_url(url).database)


def _connects(url: str, database: str | None) -> bool:
    """False when the server answers and has no such database."""
    try:
        psycopg.connect(_dsn(url, database), connect_timeout=CONNECT_SECONDS).close()
    except psycopg.OperationalError as error:
        # libpq gives no SQLSTATE for a refused connection, so the server's sentence has to be read.
        if f'database "{database}" does not exist' in str(error):
            return False
        raise UnreachableError(
            f"the ledger did not answer: {first_line(error)}",
            where=without_password(url),
            mend="Is PostgreSQL running there, and are user and password right?",
        ) from error
    return True


def _dsn(url: str, database: str | None) -> str:
    return make_url(url).set(drivername="postgresql", database=database).render_as_string(hide_password=False)


def _missing(url: str, name: str) -> DistributorError:
    return DistributorError(
        f"there is no database {name!r}, and this user may not create it",
        where=without_password(url),
        mend=f'Let somebody who may run: CREATE DATABASE "{name}"; then run `distributor init` again.',
    )
