"""Connections to the master under the settings that make `::text` the canonical text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as postgres
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from distributor.errors import BadInputError, ConfigError, DistributorError, SchemaError, UnreachableError
from distributor.settings import lines

CANONICAL_SETTINGS = {
    "DateStyle": "ISO, YMD",
    "TimeZone": "UTC",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    # The text of money follows it; C is the one locale that every master has.
    "lc_monetary": "C",
}
_SESSION_SETTINGS = {
    **CANONICAL_SETTINGS,
    # With it on, a policy would hide rows from the publisher, and they would read as deleted: off makes that an error.
    "row_security": "off",
    "statement_timeout": "0",
    # The master's transaction is idle while the ledger compares.
    "idle_in_transaction_session_timeout": "0",
    "jit": "off",
}


def connect(url: str, *, application: str = "distributor") -> psycopg.Connection:
    """A connection to the master, not in autocommit. Raises ConfigError, UnreachableError (never with the password)."""
    try:
        given = conninfo_to_dict(url.replace("postgresql+psycopg://", "postgresql://", 1))
    except psycopg.ProgrammingError as error:
        raise ConfigError(
            "this is no URL", where="master.url", mend="Write postgresql://user:password@host:port/database."
        ) from error
    fixed = " ".join(f"-c {name}={value.replace(' ', '')}" for name, value in _SESSION_SETTINGS.items())
    given["options"] = f"{given.get('options', '')} {lines.SERVER} {fixed}".strip()
    given["client_encoding"] = "UTF8"
    for name, value in {"connect_timeout": 5, **lines.CLIENT}.items():
        given.setdefault(name, value)
    given.setdefault("application_name", application)
    with clear_errors(where_of(url)):
        return psycopg.connect(make_conninfo("", **given))


def where_of(url: str) -> str:
    """The master's address for messages, without user and password."""
    try:
        given = conninfo_to_dict(url.replace("postgresql+psycopg://", "postgresql://", 1))
    except psycopg.ProgrammingError:
        return "master"
    return f"master {given.get('host', 'local socket')}:{given.get('port', 5432)}/{given.get('dbname', '')}"


@contextmanager
def clear_errors(where: str) -> Iterator[None]:
    """Turns the driver's failures into errors that say what to do."""
    try:
        yield
    except psycopg.Error as error:
        if clear := _clear(error, where):
            raise clear from error
        raise


def _clear(error: psycopg.Error, where: str) -> DistributorError | None:
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    match error:
        case postgres.LockNotAvailable():
            return UnreachableError(
                f"a table is locked by somebody else: {said}",
                where=where,
                mend="A load or a change of the table is probably running; try again when it has ended.",
            )
        case postgres.SerializationFailure() | postgres.DeadlockDetected():
            return UnreachableError(f"somebody else was at the same rows: {said}", where=where, mend="Try again.")
        case postgres.InsufficientPrivilege():
            return SchemaError(said, where=where, mend="Grant that right to the user of `master.url`.")
        case postgres.UndefinedTable() | postgres.InvalidSchemaName():
            return SchemaError(said, where=where, mend="Correct `table` in the config, or create the table.")
        case postgres.ReadOnlySqlTransaction():
            return ConfigError(
                "it is read-only, and capture writes there",
                where=where,
                mend="Name the primary server in `master.url`, not a standby.",
            )
        case postgres.DiskFull():
            return UnreachableError(f"its disk is full: {said}", where=where, mend="Make room; nothing is lost.")
        case postgres.ProgramLimitExceeded():
            return BadInputError(
                f"a row is beyond what can be kept: {said}", where=where, mend="Mend it in the master."
            )
        case postgres.DataError():
            return BadInputError(f"a value has no canonical text: {said}", where=where, mend="Mend it in the master.")
        case psycopg.OperationalError():
            return UnreachableError(
                f"it did not answer: {said}",
                where=where,
                mend="Is PostgreSQL running there, and are user and password right?",
            )
    return None
