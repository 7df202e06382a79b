"""A history of releases in a real ledger and a store, all of it older than anything is kept for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from distributor.ledger import environments, migrate
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.releases import insert_release
from distributor.rollout.state import Environment
from distributor.settings.models import StoreSettings
from distributor.store.bases import base_of
from distributor.store.chain import walk
from distributor.store.compose import net_delta
from distributor.store.directory import DirectoryStore
from distributor.store.ways import Ways
from distributor.upkeep.collection import Collected, collect
from tests.store.releases import Releases
from tests.store.rows import SCHEMA, State, as_changes, as_table, difference, state

NOW = datetime.now(UTC)
RELEASES = 8


@dataclass
class History:
    """Release n has the rows 0…n+2, and the value of each says when it changed last."""

    store: DirectoryStore
    engine: Engine
    settings: StoreSettings
    releases: Releases = field(init=False)
    states: list[State] = field(default_factory=lambda: [{}])

    def __post_init__(self) -> None:
        self.releases = Releases(self.store)

    def publish(self, content: State | None = None) -> int:
        """The next release, also in the ledger."""
        number = len(self.states)
        new = content or state([(str(max(number, n)), str(n), "k", None) for n in range(number + 3)])
        changes = difference(self.states[-1], new)
        manifest = self.releases.add(as_table(changes), new.values())
        with transaction(self.engine) as conn:
            insert_release(conn, manifest, self.manifest(number), rows=len(changes))
        self.states.append(new)
        return number

    def manifest(self, release: int) -> str:
        return str(self.releases.manifests[release])

    def base(self, release: int) -> None:
        base_of(self.store, release, self.manifest(release))

    def age(self) -> None:
        """Makes every object older than the grace period."""
        for kept in self.store.objects():
            self.age_one(kept.sha256)

    def age_one(self, sha256: str) -> None:
        ago = (NOW - 3 * self.settings.grace).timestamp()
        os.utime(self.store.path / "objects" / sha256[:2] / sha256[2:], (ago, ago))

    def stand(self, change: Callable[[Environment], Environment], name: str = "prod") -> None:
        """Changes how an environment stands."""
        with transaction(self.engine) as conn:
            before = environments.lock(conn, name)
            environments.save(conn, before, change(before), at=NOW)

    def shows(self, release: int, name: str = "prod") -> None:
        self.stand(lambda environment: replace(environment, shown=release), name)

    def collect(self, store: DirectoryStore | None = None, *, dry_run: bool = False) -> Collected:
        return collect(self.engine, store or self.store, self.settings, NOW, dry_run=dry_run)

    def there(self) -> set[str]:
        return {kept.sha256 for kept in self.store.objects()}

    def prove(self, releases: Sequence[int]) -> None:
        """Each release can be had from nothing and from each other one, with exactly its rows."""
        for release in releases:
            sha256 = self.manifest(release)
            anew = Ways(self.store, sha256, release).anew()
            assert as_changes(net_delta(self.store, anew, SCHEMA)) == difference({}, self.states[release])
            for other in releases:
                way = walk(self.store, sha256, release, self.manifest(other), other)
                wanted = difference(self.states[other], self.states[release])
                assert as_changes(net_delta(self.store, way, SCHEMA)) == wanted


@pytest.fixture
def history(tmp_path: Path, database: Callable[[], str]) -> Iterator[History]:
    """RELEASES releases; `prod` shows the sixth, and release 4 has a base."""
    url = database()
    migrate.upgrade(url)
    engine = ledger_engine(url)
    settings = StoreSettings(path=tmp_path / "store", keep=timedelta(days=10), grace=timedelta(hours=1))
    made = History(DirectoryStore(settings.path), engine, settings)
    for _ in range(RELEASES):
        made.publish()
    made.base(4)
    made.shows(6)
    made.age()
    yield made
    engine.dispose()
