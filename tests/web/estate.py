"""Environments with something of everything in the ledger, and an application whose every request can be undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Connection, Engine, text

from distributor.access.roles import Role
from distributor.ledger import deadletters, keys, quarantine
from distributor.ledger.deadletters import DeadLetter
from distributor.ledger.engine import JoinedEngine, transaction
from distributor.ledger.keys import Key
from distributor.ledger.quarantine import EVERYWHERE, HeldRow
from distributor.requests import freezes, interventions, refreshing
from distributor.requests import keys as key_requests
from distributor.requests.calls import call_trigger
from distributor.requests.rollouts import request_rollout
from distributor.requests.verifications import Asked, begin_verification
from distributor.rollout.state import Cause
from distributor.settings import Settings
from distributor.settings.desk import Approvals, Trigger
from distributor.store.base import Store
from distributor.telemetry.clock import new_id, now
from distributor.web.app import create_app
from distributor.web.verifying import Verifier
from tests.services.postgresql import PostgreSQLServer
from tests.views.world import World, made


class NotFollowed(Verifier):
    """What was begun is undone with its request: nobody waits for answers."""

    def go_on(self, settings: Settings, store: Store, asked: Asked) -> None:
        self.give_back()


@dataclass
class Lived:
    """An estate in which everything has been used. `ids`: what a path can name, by the path parameter."""

    world: World
    app: FastAPI
    conn: Connection
    ids: dict[str, str]
    databases: list[str] = field(default_factory=list)

    def key(self, role: Role, environments: tuple[str, ...] = (), **more: object) -> str:
        """A fresh key, used in this minute."""
        secret = keys.new_secret()
        values = {"created_at": now(), "created_by": "the test", "last_used_at": now() + timedelta(hours=1), **more}
        key = Key(id=new_id(), name=f"{role} {new_id()[:6]}", role=role, environments=environments, **values)  # type: ignore[arg-type]
        with transaction(self.world.engine) as conn:
            keys.put(conn, key, secret)
        return secret

    def client(self, secret: str | None) -> TestClient:
        """Whoever shows this key, or none."""
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return TestClient(self.app, headers=headers, raise_server_exceptions=False)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What is written in here is gone afterwards."""
        with self.conn.begin() as outer:
            yield
            outer.rollback()

    def wrote(self) -> bool:
        """Inside of `undone`: whether anything was written at all, be it undone already."""
        return self.conn.execute(text("SELECT pg_current_xact_id_if_assigned()")).scalar() is not None


@contextmanager
def lived(server: PostgreSQLServer, path: Path) -> Iterator[Lived]:
    """The estate of `tests.views.world`, used."""
    databases: list[str] = []

    def database() -> str:
        databases.append(f"web_{new_id()[:12]}")
        return server.create(databases[-1])

    world = made(database, path)
    try:
        _configure(world)
        world.release("UPDATE products SET price = price + 1 WHERE sku < 'P2'")
        world.take("uat", 2)
        world.take("prod", 1)
        ids = _use(world.engine, world)
        with world.engine.connect() as conn:
            app = create_app(world.estate.settings, engine=JoinedEngine(conn))
            conn.rollback()
            app.state.backstage.verifier = NotFollowed(world.engine)
            yield Lived(world, app, conn, ids)
    finally:
        world.engine.dispose()
        for name in databases:
            server.drop(name)


def _configure(world: World) -> None:
    settings = world.estate.settings
    more: dict[str, dict[str, object]] = {
        "uat": {"follow": "auto", "triggers": (Trigger(name="erp", on="message"),)},
        "prod": {"approvals": Approvals(needed=1)},
        "sit": {},
    }
    environments = {name: config.model_copy(update=more[name]) for name, config in settings.environments.items()}
    world.estate.settings = settings.model_copy(update={"environments": environments})


def _use(engine: Engine, world: World) -> dict[str, str]:
    settings, store = world.estate.settings, world.estate.store
    by = {"by": "ann", "reason": "a reason"}
    rollout = request_rollout(engine, settings, store, "prod", release=2, cause=Cause.OPERATOR, **by)
    request = refreshing.request(engine, settings, store, "uat", release=1, by="tess", reason="a clean start")
    interventions.hold(engine, settings, "uat", owner="tess", reason="tests go on")
    until = now() + timedelta(days=1)
    freeze = freezes.freeze(engine, settings, environment="uat", since=None, until=until, **by)
    call = call_trigger(engine, settings, "uat", "erp", **by)
    verification = begin_verification(engine, settings, "uat", **by).verification.id
    key, _ = key_requests.create_key(engine, settings, key_requests.WantedKey("spare", Role.VIEWER), **by)
    letter = DeadLetter(
        now(), "q", "pd.commands", "uat.crm", "pd.member.stage.v1", "no JSON", {}, "application/json", b"{", 1
    )
    held = HeldRow("uat", "products", ("P3",), 2, "till", "till", "label", "x", "is too long", now())
    everywhere = HeldRow(EVERYWHERE, "products", ("P4",), 2, "", "products", "price", "-1", "fails the rule", now())
    with transaction(engine) as conn:
        number = deadletters.put(conn, letter)
        quarantine.hold(conn, [held, everywhere])
    return {
        "rollout": rollout,
        "request": request,
        "freeze": freeze,
        "call": call,
        "verification": verification,
        "key": key.id,
        "letter": str(number),
        "owner": "tess",
        "name": "erp",
        "system": "crm",
        "release": "2",
    }
