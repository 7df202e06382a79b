"""Brings the ledger's tables up to this program's version. Run by an explicit command only, never at import."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.tables import SCHEMA

VERSION_TABLE = "schema_version"
# Two `init` at once, or one per replica of a deployment, must not create the same table twice.
_MIGRATION_LOCK = 0x7064_6D69_6772


def scripts() -> Path:
    """Where the migrations lie: inside an installed wheel, else in the checkout."""
    packaged = Path(__file__).parent / "_migrations"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "migrations"


def alembic_config(conn: Connection | None = None) -> Config:
    """Alembic's configuration; with a connection, its environment runs on it."""
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    return config


def head_revision() -> str:
    """The newest revision. There is exactly one head, else this raises alembic's CommandError."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    return head or ""


def upgrade(url: str) -> str:
    """Creates or upgrades the ledger in one transaction; returns the revision. Raises UnreachableError."""
    engine = ledger_engine(url)
    try:
        with transaction(engine) as conn:
            conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            command.upgrade(alembic_config(conn), "head")
    finally:
        engine.dispose()
    return head_revision()


def current(url: str) -> str | None:
    """The ledger's revision; None when it was never created. Raises UnreachableError."""
    engine = ledger_engine(url)
    try:
        with transaction(engine) as conn:
            return current_on(conn)
    finally:
        engine.dispose()


def current_on(conn: Connection) -> str | None:
    """`current`, on a connection."""
    options = {"version_table": VERSION_TABLE, "version_table_schema": SCHEMA}
    return MigrationContext.configure(conn, opts=options).get_current_revision()


def is_current(url: str) -> bool:
    """Whether the ledger is at this program's revision."""
    return current(url) == head_revision()
