"""A whole estate with its pages: two environments over real stores, and keys of every role."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg

from distributor.access.roles import Role
from distributor.demo import catalogue
from distributor.demo.catalogue import DATASETS
from distributor.demo.estate import Estate
from distributor.demo.estate_config import EnvironmentPlan, SystemPlan
from distributor.ledger import keys
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.keys import Key
from distributor.telemetry.clock import new_id, now
from tests.support import wait_for

TABLES = {dataset: dataset for dataset in DATASETS}
CRM, POS = SystemPlan("crm", "postgresql", TABLES), SystemPlan("pos", "sqlite", TABLES)
ENVIRONMENTS = (
    EnvironmentPlan("uat", "manual", (CRM, POS), keep_previous="1h"),
    EnvironmentPlan("prod", "manual", (CRM,), keep_previous="1h"),
)
MORE = """
[environments.prod.approvals]
needed = 1
of = ["deploy"]
"""


@dataclass
class World:
    """The estate, and where its pages are. `keys`: role → a key for all environments, `names` what they are called."""

    estate: Estate
    url: str
    keys: dict[Role, str] = field(default_factory=dict)

    def key(self, role: Role, *environments: str, name: str) -> str:
        """A fresh key."""
        secret = keys.new_secret()
        engine = ledger_engine(self.estate.ledger_url)
        with transaction(engine) as conn:
            keys.put(conn, Key(new_id(), name, role, environments, now(), "the test"), secret)
        engine.dispose()
        return secret

    def verb(self, name: str, **options: Any) -> dict[str, Any]:
        """Runs a verb; in a thread of its own, because a browser's loop runs in this one."""
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: self.estate.verb(name, **options)).result()

    def change(self, products: int = 30) -> int:
        """Changes the master and publishes; returns the release."""
        with psycopg.connect(self.estate.master_url, autocommit=True) as master:
            row = master.execute("SELECT max(revision) FROM products").fetchone()
            assert row is not None
            catalogue.change(master, products, int(row[0]) + 1, 7)
        found = self.verb("publish")["release"]
        assert isinstance(found, int)
        return found

    def status(self, environment: str) -> dict[str, Any]:
        """As the command line tells it."""
        return self.verb("status", environment=environment)

    def shown(self, environment: str) -> int:
        """What an environment shows, as the command line tells it."""
        [found] = self.status(environment)["environments"]
        return int(found["release"])

    def online(self, environment: str, release: int) -> None:
        """Waits until an environment shows a release and is idle."""

        def there() -> bool:
            [found] = self.status(environment)["environments"]
            return bool(found["release"] == release and found["state"] == "idle")

        wait_for(there, 60, f"release {release} in {environment}")

    def free(self) -> None:
        """Ends what a test that failed has left in the way of the next one."""
        for plan in ENVIRONMENTS:
            [found] = self.status(plan.name)["environments"]
            if found["holds"]:
                self.verb("release-hold", environment=plan.name)
            if found["rollout"]:
                self.verb("abort", environment=plan.name, reason="the test is over")


@contextmanager
def running_world(state: Path, broker_url: str | None, products: int = 400) -> Iterator[World]:
    """Release 1 is online everywhere. Leaving it deletes everything."""
    estate = Estate(state, ENVIRONMENTS, datasets=TABLES, broker_url=broker_url)
    try:
        estate.start_servers()
        estate.config.write_text(estate.config.read_text() + MORE)
        with psycopg.connect(estate.master_url, autocommit=True) as master:
            catalogue.create(master, products, 7)
        for verb in ("init", "capture install"):
            estate.verb(verb)
        estate.start_role("coordinator")
        estate.start_role("web")
        for place in estate.places():
            estate.start_member(place.environment, place.system)
        world = World(estate, f"http://{estate.listen}")
        for role in Role:
            world.keys[role] = world.key(role, name=role.value)
        estate.verb("publish")
        estate.verb("deploy", environment="uat")
        asked = estate.verb("deploy", environment="prod", no_wait=True)
        estate.verb("approve", rollout=asked["rollout"]["id"], by="somebody else", reason="the first")
        world.online("prod", 1)
        wait_for(lambda: _answers(world.url), 60, "the pages")
        yield world
    finally:
        estate.remove()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/login").status_code == 200
    except httpx.TransportError:
        return False
