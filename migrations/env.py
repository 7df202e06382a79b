"""Alembic's environment: runs on the connection that distributor.ledger.migrate hands in, or on DISTRIBUTOR_LEDGER_URL.

The second way is for the `alembic` command in a checkout (`alembic -c migrations/alembic.ini revision -m ...`).
"""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection, text

from distributor.ledger.desk_tables import metadata
from distributor.ledger.engine import ledger_engine
from distributor.ledger.migrate import VERSION_TABLE
from distributor.ledger.tables import SCHEMA


def _run(connection: Connection) -> None:
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=lambda name, kind, _parents: kind != "schema" or name == SCHEMA,
        include_object=lambda _object, name, kind, _reflected, _other: not (kind == "table" and name == VERSION_TABLE),
    )
    with context.begin_transaction():
        context.run_migrations()


handed_in: Connection | None = context.config.attributes.get("connection")
if handed_in is not None:
    _run(handed_in)
else:
    with ledger_engine(os.environ["DISTRIBUTOR_LEDGER_URL"]).begin() as own:  # noqa: TID251
        _run(own)
