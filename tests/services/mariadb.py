"""A MariaDB server for a test run, and fresh databases on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import pymysql
import pytest

from distributor.errors import UnreachableError
from distributor.local.mariadb import choose_mariadb
from tests.services.engine import chosen_image

MARIADB_IMAGE = "mariadb:11.8"
PORT = 3306


@dataclass(frozen=True)
class MariaDBServer:
    """Where the server is. `kind` says how it came to be."""

    kind: str
    admin_url: str

    def url(self, database: str) -> str:
        """The URL of one database."""
        return urlunsplit(urlsplit(self.admin_url)._replace(path=f"/{database}"))

    def create(self, database: str) -> str:
        """Creates an empty database. Returns its URL."""
        self._run(f"CREATE DATABASE `{database}`")
        return self.url(database)

    def drop(self, database: str) -> None:
        """Drops a database."""
        self._run(f"DROP DATABASE IF EXISTS `{database}`")

    def _run(self, statement: str) -> None:
        with connected(self.url("mysql")) as connection, connection.cursor() as cursor:
            cursor.execute(statement)


def connected(url: str, *, autocommit: bool = True, local_infile: bool = False) -> pymysql.Connection:
    """A connection to the database of a URL."""
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or PORT,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=parts.path[1:],
        autocommit=autocommit,
        local_infile=local_infile,
    )


@contextmanager
def running_mariadb(directory: Path) -> Iterator[MariaDBServer]:
    """The server of this test run: the one of DISTRIBUTOR_TEST_MARIADB_URL, else a container, else a process."""
    if given := os.environ.get("DISTRIBUTOR_TEST_MARIADB_URL"):
        yield MariaDBServer("given by DISTRIBUTOR_TEST_MARIADB_URL", given)
    elif image := chosen_image("MARIADB_IMAGE", MARIADB_IMAGE):
        yield from _contained(image)
    else:
        try:
            chosen = choose_mariadb(directory / "mariadb", announce=print, durable=False)
        except UnreachableError as error:
            pytest.skip(f"no MariaDB: no DISTRIBUTOR_TEST_MARIADB_URL, no container asked for, and {error}")
        with chosen as server:
            yield MariaDBServer("private process", server.url())


def _contained(image: str) -> Iterator[MariaDBServer]:
    from testcontainers.core.container import DockerContainer

    from distributor.local.processes import wait_until

    password = "distributor"
    container = DockerContainer(image).with_exposed_ports(PORT).with_env("MARIADB_ROOT_PASSWORD", password)
    with container:
        url = f"mariadb://root:{password}@{container.get_container_host_ip()}:{container.get_exposed_port(PORT)}/mysql"

        def answers() -> bool:
            try:
                connected(url).close()
            except pymysql.OperationalError:
                return False
            return True

        wait_until(answers, 120, "the start of the container's MariaDB")
        yield MariaDBServer(f"container {image}", url)
