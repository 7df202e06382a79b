"""A PostgreSQL server for a test run, and fresh databases on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from distributor.local.postgresql import LocalPostgreSQL
from tests.services.engine import POSTGRES_IMAGE, chosen_image

OPTIONS = ("wal_level=logical", "max_connections=200", "max_prepared_transactions=20", "fsync=off")


@dataclass(frozen=True)
class PostgreSQLServer:
    """Where the server is. `kind` says how it came to be."""

    kind: str
    admin_url: str

    def url(self, database: str) -> str:
        """The URL of one database, for SQLAlchemy and psycopg alike."""
        return urlunsplit(urlsplit(self.admin_url)._replace(path=f"/{database}"))

    def create(self, database: str) -> str:
        """Creates an empty database. Returns its URL."""
        self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self.url(database)

    def drop(self, database: str) -> None:
        """Drops a database, ending the sessions that use it."""
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running_postgresql(directory: Path) -> Iterator[PostgreSQLServer]:
    """The server of this test run: the one of DISTRIBUTOR_TEST_POSTGRES_URL, else a container, else a process."""
    if given := os.environ.get("DISTRIBUTOR_TEST_POSTGRES_URL"):
        yield PostgreSQLServer("given by DISTRIBUTOR_TEST_POSTGRES_URL", given)
    elif image := chosen_image("POSTGRES_IMAGE", POSTGRES_IMAGE):
        from testcontainers.community.postgres import PostgresContainer

        container = PostgresContainer(image, driver=None)
        container.with_command(["postgres", *(part for option in OPTIONS for part in ("-c", option))])
        with container:
            yield PostgreSQLServer(f"container {image}", container.get_connection_url())
    else:
        with LocalPostgreSQL(directory / "postgresql", durable=False) as server:
            yield PostgreSQLServer("private process", server.url())
