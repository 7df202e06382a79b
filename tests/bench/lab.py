"""The measured estate, six PostgreSQL systems unless told otherwise, and how long a change takes to all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import psycopg

from distributor.demo import catalogue
from distributor.demo.catalogue import DATASETS, Batch
from distributor.demo.estate import Estate
from distributor.demo.estate_config import EnvironmentPlan, SystemPlan
from distributor.demo.readers import Line
from distributor.demo.watching import LedgerView, settled
from distributor.rollout.state import Rollout
from tests.bench.memory import peak_mb, publish_and_weigh
from tests.bench.peers.server import commit_at_once

ENVIRONMENT = "bench"
SYSTEMS = tuple(f"system{number}" for number in range(1, 7))
KEEP_PREVIOUS, FLIP_LEAD, QUIET_PERIOD = "0s", "30ms", "0s"
ALL_TABLES = {dataset: dataset for dataset in DATASETS}
SIX = tuple(SystemPlan(name, "postgresql", ALL_TABLES) for name in SYSTEMS)
FEW_ROWS = 20
"""So few changed rows are prices alone: a batch of the catalogue has more of them."""
_DEADLINE_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Carried:
    """One change on its way: milliseconds until every system showed it, and of each phase."""

    changed_rows: int
    everywhere_ms: float
    skew_ms: float
    phases: dict[str, float] = field(default_factory=dict)


class Lab:
    """A running estate with the catalogue online in six systems."""

    publisher_rss_mb = consumer_rss_mb = 0.0

    def __init__(self, estate: Estate, seed: int) -> None:
        self.estate = estate
        self.seed = seed
        self.ledger = LedgerView(estate.ledger_url)
        self.master = psycopg.connect(estate.master_url, autocommit=True)
        self.readers: list[Line] = []

    def open_readers(self) -> None:
        """One connection to each system, as its users have it; a system's store comes to be with its first load."""
        self.readers = [Line(place) for place in self.estate.places()]

    @property
    def revision(self) -> int:
        """The newest change batch."""
        row = self.master.execute("SELECT revision FROM prices WHERE product_id = 1").fetchone()
        return int(row[0]) if row else 0

    def change(self, rows: int) -> Batch:
        """Changes `rows` rows on the master and commits: products and prices in equal parts, few rows in prices."""
        revision = self.revision + 1
        if rows <= FEW_ROWS:
            self.master.execute("UPDATE prices SET revision = %s WHERE product_id <= %s", [revision, rows])
            return Batch(revision, list(range(1, rows + 1)), [], [])
        return catalogue.change(self.master, rows // 2, revision, self.seed)

    def carry(self, rows: int) -> Carried:
        """Commits a change and waits until every system shows it, then until the old slots have caught up."""
        target = self.shown() + 1
        batch = self.change(rows)
        committed, begun = datetime.now(UTC), time.perf_counter()
        everywhere = self.wait_for(target, begun)
        self.wait_settled()
        rollout = self.ledger.environment(ENVIRONMENT).last
        assert rollout is not None
        changed = rows if rows <= FEW_ROWS else 2 * batch.products
        return Carried(changed, everywhere, rollout.skew_ms or 0.0, self._phases(rollout, committed))

    def shown(self) -> int:
        """The release that the environment shows."""
        return self.ledger.environment(ENVIRONMENT).shown

    def wait_for(self, release: int, begun: float) -> float:
        """Milliseconds since `begun` (perf_counter) until every system itself says that it shows a release."""
        waiting = list(self.readers)
        while waiting:
            waiting = [reader for reader in waiting if _release(reader) != release]
            self._check(begun, f"release {release} in {len(waiting)} systems")
            time.sleep(0.002)
        return (time.perf_counter() - begun) * 1000

    def wait_settled(self) -> None:
        """Until no rollout goes on and both slots of every system hold the release that is shown."""
        self.wait_until(lambda: settled(self.ledger.environment(ENVIRONMENT)), "both slots of every system")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Polls a condition. Raises TimeoutError that names `what`, and RuntimeError when a role died."""
        begun = time.perf_counter()
        while not condition():
            self._check(begun, what)
            time.sleep(0.01)

    def close(self) -> None:
        """Gives connections back."""
        self.ledger.close()
        self.master.close()
        for reader in self.readers:
            reader.close()

    def _check(self, begun: float, what: str) -> None:
        if dead := self.estate.dead():
            raise RuntimeError("; ".join(dead))
        if time.perf_counter() - begun > _DEADLINE_SECONDS:
            raise TimeoutError(f"{what} did not come to pass")

    def _phases(self, rollout: Rollout, committed: datetime) -> dict[str, float]:
        """Where the time went, in milliseconds: the release's way, then the slowest member's load, phase by phase."""
        releases = self.estate.verb("releases", limit=1)["releases"]
        told = self.estate.verb("rollout", rollout_id=rollout.id)
        flips = [answer.flipped_at for answer in rollout.answers.values() if answer.flipped_at]
        marks = [
            ("publish", committed),
            ("announce", datetime.fromisoformat(releases[0]["created_at"])),
            ("stage", rollout.started_at),
            ("decide", rollout.converged_at),
            ("flip", rollout.decided_at),
            ("", max(flips)),
        ]
        found = {
            name: (after - at).total_seconds() * 1000
            for (name, at), (_, after) in pairwise(marks)
            if at is not None and after is not None
        }
        loads = [member["phases"] for member in told["members"] if member["phases"]]
        for phase in dict.fromkeys(name for load in loads for name in load):
            found[f"stage.{phase}"] = max(load.get(phase, 0.0) for load in loads) * 1000
        return found


@contextmanager
def running_lab(
    state: Path,
    products: int,
    seed: int,
    *,
    say: Callable[[str], None],
    systems: Sequence[SystemPlan] = SIX,
    keep_previous: str = KEEP_PREVIOUS,
    commit_times: bool = False,
    follow: str = "auto",
    quiet_period: str = QUIET_PERIOD,
    triggers: tuple[str, ...] = (),
) -> Iterator[Lab]:
    """Starts an estate and brings release 1 online everywhere, in both slots unless the previous release is kept.

    `commit_times`: the server remembers when each transaction committed. `triggers` are inline tables of the config.
    Leaving it deletes everything.
    """
    plan = EnvironmentPlan(
        ENVIRONMENT, follow, tuple(systems), keep_previous=keep_previous, flip_lead=FLIP_LEAD, triggers=triggers
    )
    estate = Estate(state, [plan], datasets=ALL_TABLES, quiet_period=quiet_period)
    try:
        estate.start_servers()
        with psycopg.connect(estate.postgresql.url(), autocommit=True) as admin:
            commit_at_once(admin)
            if commit_times:
                admin.execute("ALTER SYSTEM SET track_commit_timestamp = on")
        if commit_times:
            estate.postgresql.stop()
            estate.postgresql.start()
        with psycopg.connect(estate.master_url, autocommit=True) as master:
            catalogue.create(master, products, seed)
            master.execute("VACUUM ANALYZE")
        for verb in ("init", "capture install"):
            estate.verb(verb)
        estate.start_roles()
        begun = time.perf_counter()
        lab = Lab(estate, seed)
        lab.publisher_rss_mb = publish_and_weigh(estate.config)
        if follow != "auto":
            estate.verb("deploy", environment=ENVIRONMENT)
        lab.wait_until(lambda: lab.shown() == 1, "release 1 everywhere")
        lab.open_readers()
        lab.consumer_rss_mb = max(peak_mb(estate.pid(place.name)) for place in estate.places())
        say(f"release 1 of {products:,} products is everywhere after {time.perf_counter() - begun:.1f} s")
        if keep_previous == KEEP_PREVIOUS:
            lab.wait_settled()
            say(f"and in both slots after {time.perf_counter() - begun:.1f} s")
        yield lab
        lab.close()
    finally:
        estate.remove()


def _release(reader: Line) -> int:
    return int(reader.ask("SELECT max(release) FROM distributor_release")[0][0] or 0)
