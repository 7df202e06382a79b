"""The application in this process over a real ledger, and keys of every role."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from distributor.access.roles import Role
from distributor.ledger import keys, migrate
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.keys import Key
from distributor.settings import Settings, load_settings
from distributor.telemetry.clock import new_id, now
from distributor.web.app import create_app
from tests.services.postgresql import PostgreSQLServer

CONFIG = """
[master]
url = "postgresql://nobody@127.0.0.1:9/master"
[master.datasets.products]
table = "products"
[ledger]
url = "{ledger}"
[broker]
url = "amqp://nobody@127.0.0.1:9/"
[store]
path = "store"
{environments}
"""
ENVIRONMENT = """
[environments.{name}]
[environments.{name}.systems.crm]
adapter = "sqlite"
url = "sqlite:///{name}-crm.db"
[environments.{name}.systems.pos]
adapter = "sqlite"
url = "sqlite:///{name}-pos.db"
"""
NAMES = ("uat", "prod")
TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'ledger' AND table_type = 'BASE TABLE'"


@dataclass
class Desk:
    """An application and its ledger."""

    app: FastAPI
    settings: Settings
    ledger: Engine

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)

    def key(self, role: Role = Role.ADMIN, *environments: str, name: str | None = None, **more: object) -> str:
        """A fresh key."""
        secret = keys.new_secret()
        key = Key(new_id(), name or f"{role}-{next(self._numbers)}", role, environments, now(), "the test")
        with transaction(self.ledger) as conn:
            keys.put(conn, Key(**{**_fields(key), **more}), secret)
        return secret

    def client(self, secret: str | None = None) -> TestClient:
        """Whoever shows this key, or none."""
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return TestClient(self.app, headers=headers, raise_server_exceptions=False)

    def as_(self, role: Role, *environments: str, **more: object) -> TestClient:
        """A client with a fresh key."""
        return self.client(self.key(role, *environments, **more))  # type: ignore[arg-type]


def _fields(key: Key) -> dict[str, object]:
    return {name: getattr(key, name) for name in Key.__dataclass_fields__}


@pytest.fixture(scope="session")
def used_ledger(postgresql_server: PostgreSQLServer) -> Iterator[str]:
    """The URL of a ledger that all tests of this run use: emptying it is far faster than making one."""
    name = f"web_{new_id()[:12]}"
    url = postgresql_server.create(name)
    migrate.upgrade(url)
    yield url
    postgresql_server.drop(name)


@pytest.fixture
def ledger_url(used_ledger: str) -> str:
    """An empty ledger."""
    with psycopg.connect(used_ledger, autocommit=True) as conn:
        tables = [name for (name,) in conn.execute(f"{TABLES} AND table_name <> 'schema_version'")]
        # What guards the audit guards it against this, too.
        conn.execute("SET session_replication_role = replica")
        conn.execute(f"TRUNCATE {', '.join(f'ledger.{name}' for name in tables)} RESTART IDENTITY")
    return used_ledger


@pytest.fixture
def settings(ledger_url: str, tmp_path: Path) -> Settings:
    """A config of two environments over a fresh ledger."""
    file = tmp_path / "distributor.toml"
    environments = "".join(ENVIRONMENT.format(name=name) for name in NAMES)
    file.write_text(CONFIG.format(ledger=ledger_url, environments=environments))
    (tmp_path / "store").mkdir()
    return load_settings(file, {})


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    """The application."""
    engine = ledger_engine(settings.ledger.url)
    yield Desk(create_app(settings, engine=engine), settings, engine)
    engine.dispose()


def fingerprint(engine: Engine) -> dict[str, str]:
    """Table → what is in it, by plain SQL; when keys were used last does not count."""
    with engine.connect() as conn:
        names = sorted(conn.execute(text(TABLES)).scalars())
        return {
            name: conn.execute(
                text(
                    "SELECT md5(coalesce(string_agg(r, E'\\n' ORDER BY r), ''))"
                    f" FROM (SELECT (to_jsonb(t) - 'last_used_at')::text r FROM ledger.{name} t) x"
                )
            ).scalar_one()
            for name in names
        }
