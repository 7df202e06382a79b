"""Servers for tests: started once per run and only on demand, with a fresh database and virtual host for each test."""

from __future__ import annotations

import logging
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from distributor.telemetry.logs import configure_logs
from tests.services.mariadb import MariaDBServer, running_mariadb
from tests.services.postgresql import PostgreSQLServer, running_postgresql
from tests.services.rabbitmq import RabbitMQServer, running_rabbitmq
from tests.services.redis import RedisServer, running_redis

SERVERS = {"mariadb_server", "postgresql_server", "rabbitmq_server", "redis_server"}
DATA = Path(__file__).parents[2] / "shared" / "data"
_used = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_used] = {}
    configure_logs("console", "info")
    # How long an example takes says something of the machine, and nothing of the code.
    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses a server is of the slower tier, without having to say so."""
    for item in items:
        if SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.services)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for server, kind in config.stash[_used].items():
        terminalreporter.write_line(f"{server}: {kind}")


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A verb that a test runs in this process says where logs go: to what was that test's stderr."""
    handlers, config = logging.getLogger().handlers[:], structlog.get_config()
    yield
    structlog.configure(**config)
    logging.getLogger().handlers[:] = handlers


@pytest.fixture(scope="session")
def services_directory() -> Iterator[Path]:
    """A directory that a server of another user can walk to, as pytest's own are not."""
    directory = Path(tempfile.mkdtemp(prefix="distributor-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_server(services_directory: Path, pytestconfig: pytest.Config) -> Iterator[PostgreSQLServer]:
    """The PostgreSQL server of this run."""
    with running_postgresql(services_directory) as server:
        pytestconfig.stash[_used]["PostgreSQL"] = server.kind
        yield server


@pytest.fixture(scope="session")
def rabbitmq_server(services_directory: Path, pytestconfig: pytest.Config) -> Iterator[RabbitMQServer]:
    """The broker of this run."""
    with running_rabbitmq(services_directory) as server:
        pytestconfig.stash[_used]["RabbitMQ"] = server.kind
        yield server


@pytest.fixture(scope="session")
def redis_server(services_directory: Path, pytestconfig: pytest.Config) -> Iterator[RedisServer]:
    """The Redis server of this run."""
    with running_redis(services_directory) as server:
        pytestconfig.stash[_used]["Redis"] = server.kind
        yield server


@pytest.fixture
def database(postgresql_server: PostgreSQLServer) -> Iterator[Callable[[], str]]:
    """Makes a fresh, empty database at every call and returns its URL; all are dropped after the test."""
    made: list[str] = []

    def make() -> str:
        made.append(f"test_{uuid.uuid4().hex[:12]}")
        return postgresql_server.create(made[-1])

    yield make
    for name in made:
        postgresql_server.drop(name)


@pytest.fixture(scope="session")
def mariadb_server(services_directory: Path, pytestconfig: pytest.Config) -> Iterator[MariaDBServer]:
    """The MariaDB server of this run."""
    with running_mariadb(services_directory) as server:
        pytestconfig.stash[_used]["MariaDB"] = server.kind
        yield server


@pytest.fixture
def mariadb_database(mariadb_server: MariaDBServer) -> Iterator[Callable[[], str]]:
    """As `database`, of MariaDB."""
    made: list[str] = []

    def make() -> str:
        made.append(f"test_{uuid.uuid4().hex[:12]}")
        return mariadb_server.create(made[-1])

    yield make
    for name in made:
        mariadb_server.drop(name)


@pytest.fixture
def amqp_url(rabbitmq_server: RabbitMQServer) -> Iterator[str]:
    """The URL of a fresh virtual host, deleted after the test."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield rabbitmq_server.create(name)
    rabbitmq_server.delete(name)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory with real catalogues beside the checkout; without it the test is skipped."""
    if not DATA.is_dir():
        pytest.skip(f"no data set: {DATA} is missing")
    return DATA
