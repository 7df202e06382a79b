"""An estate of two members with real servers, a release in the store, and coordinators that run in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from distributor.coordination.coordinator import serve_coordinator
from distributor.coordination.desk import Reset
from distributor.ledger import environments, migrate, releases
from distributor.ledger.engine import ledger_engine, transaction
from distributor.model.certificate import Certificate, certify
from distributor.model.dataset import Column, DatasetSchema
from distributor.model.manifest import Counts, Manifest
from distributor.rollout.state import Environment
from distributor.settings import Settings
from distributor.store.chunks import write_manifest
from distributor.store.directory import DirectoryStore
from distributor.verification.resetting import reset
from tests.coordination.fake_member import FakeMember

PRODUCTS = DatasetSchema(dataset="products", columns=(Column(name="sku", type="text", nullable=False),), key=("sku",))


@dataclass
class Estate:
    """One environment `prod` of crm and pos."""

    settings: Settings
    engine: Engine
    store: DirectoryStore
    stack: ExitStack
    manifests: list[str] = field(default_factory=list)

    def publish(self, *skus: str) -> Manifest:
        """The next release: exactly these products."""
        number = len(self.manifests) + 1
        manifest = Manifest(
            release=number,
            parent_release=number - 1,
            parent=self.manifests[-1] if self.manifests else None,
            created_at=datetime.now(UTC),
            schemas=(PRODUCTS,),
            chunks=(),
            counts={"products": Counts(inserts=len(skus))},
            certificate=Certificate(tables={"products": certify("products", [0], [[sku] for sku in skus])}),
        )
        self.manifests.append(write_manifest(self.store, manifest))
        with transaction(self.engine) as conn:
            releases.insert_release(conn, manifest, self.manifests[-1], rows=len(skus))
        return manifest

    def member(self, system: str, manifest: Manifest, **more: Any) -> FakeMember:
        """A running member that stores exactly what the release says."""
        mapping = self.settings.mapping(system)
        certificate = Certificate(tables={"products": manifest.certificate.tables["products"]}).digest
        return self.stack.enter_context(
            FakeMember(self.settings.broker.url, "prod", system, certificate, mapping.version, **more)
        )

    def coordinate(self, settings: Settings | None = None) -> Callable[[], None]:
        """Starts a coordinator and waits until it consumes; returns what stops it."""
        running = ExitStack()
        self.stack.push(running.__exit__)
        running.enter_context(coordinator(settings or self.settings))
        return running.close

    def state(self) -> Environment:
        """The environment as last committed."""
        with transaction(self.engine) as conn:
            return environments.read(conn, "prod") or Environment("prod")


@contextmanager
def coordinator(settings: Settings, reset: Reset | None = reset) -> Iterator[None]:
    ready, failed = threading.Event(), list[BaseException]()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    def run() -> None:
        try:
            loop.run_until_complete(serve_coordinator(settings, stop, ready=ready.set, reset=reset))
        except BaseException as error:
            failed.append(error)
            ready.set()
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(30), "the coordinator did not start"
    assert not failed, failed
    try:
        yield
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()
        assert not failed, failed


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(ledger_url: str, amqp_url: str, **environment: Any) -> Settings:
        return Settings.model_validate(
            {
                "master": {"url": "postgresql://nowhere/master", "datasets": {"products": {"table": "products"}}},
                "ledger": {"url": ledger_url},
                "broker": {"url": amqp_url},
                "store": {"path": str(tmp_path / "store")},
                "environments": {
                    "prod": {
                        "systems": {name: {"adapter": "sqlite", "url": "sqlite:///x"} for name in ("crm", "pos")},
                        "resend_after": "1s",
                        **environment,
                    }
                },
            }
        )

    return make


@pytest.fixture
def ledger_url(database: Callable[[], str]) -> str:
    url = database()
    migrate.upgrade(url)
    return url


@pytest.fixture
def make_estate(
    ledger_url: str, make_settings: Callable[..., Settings], amqp_url: str
) -> Iterator[Callable[..., Estate]]:
    engine = ledger_engine(ledger_url)
    with ExitStack() as stack:

        def make(**environment: Any) -> Estate:
            settings = make_settings(ledger_url, amqp_url, **environment)
            return Estate(settings, engine, DirectoryStore(settings.store.path), stack)

        yield make
    engine.dispose()


@pytest.fixture
def estate(make_estate: Callable[..., Estate]) -> Estate:
    return make_estate()
