"""A master, a ledger and a store, and an environment whose members say what the test has them say: no broker, no
stores. What the environment shows is worked out from manifests and chunks alone, by plain Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
from sqlalchemy import Engine

from distributor.coordination.step import step
from distributor.ledger import environments, migrate, quarantine, rollouts, variants
from distributor.ledger.engine import ledger_engine, transaction
from distributor.model.certificate import certify
from distributor.model.manifest import Manifest
from distributor.publishing.publish import Publisher
from distributor.requests import request_rollout
from distributor.rollout.events import Flipped, Staged, Tick
from distributor.rollout.state import Cause, Environment, Rollout, RolloutState
from distributor.settings import Settings, load_settings
from distributor.store.directory import DirectoryStore
from distributor.telemetry.clock import new_id, now
from tests.capture.master import install_capture
from tests.capture.master import run as sql

Row = tuple[str | None, ...]
Rows = dict[Row, Row]
HEAD = """
[master]
url = "{master}"
{datasets}
[ledger]
url = "{ledger}"
[broker]
url = "amqp://nowhere/"
[store]
path = "store"
"""


@dataclass
class Desk:
    """An environment `uat`."""

    settings: Settings
    engine: Engine
    store: DirectoryStore

    @property
    def state(self) -> Environment:
        with transaction(self.engine) as conn:
            return environments.read(conn, "uat") or Environment("uat")

    def release(self, *statements: str) -> int:
        """Changes the master and publishes."""
        sql(self.settings.master.url, *statements)
        with Publisher(self.settings, self.store) as publisher:
            return publisher.publish().release

    def ask(self, release: int | None = None, cause: Cause = Cause.OPERATOR) -> Rollout:
        asked = request_rollout(
            self.engine, self.settings, self.store, "uat", release=release, cause=cause, by="ann", reason="r"
        )
        return self.rollout(asked)

    def rollout(self, id_: str) -> Rollout:
        with transaction(self.engine) as conn:
            record = rollouts.rollout(conn, id_)
        assert record
        return record.rollout

    def begin(self) -> Rollout:
        """What waits begins."""
        self.feed(lambda _: Tick(now(), new_id()))
        active = self.state.active
        assert active
        return active

    def go_online(self) -> Rollout:
        """Every member stages what is expected of it, and flips."""
        active = self.state.active or self.begin()
        for member, expected in active.expected.items():
            self.feed(
                lambda state, m=member, e=expected: Staged(
                    **report(state, active, m), certificate=e.certificate, mapping=e.mapping
                )
            )
        self.feed(lambda _: Tick(now(), new_id()))
        assert self.rollout(active.id).state is RolloutState.FLIPPING, self.rollout(active.id)
        for member in active.expected:
            self.feed(
                lambda state, m=member: Flipped(
                    **{**report(state, active, m), "shows": active.release}, flipped_at=now()
                )
            )
        done = self.rollout(active.id)
        assert done.state is RolloutState.ONLINE, done
        return done

    def take(self, release: int | None = None) -> dict[str, Rows]:
        """A deploy that goes online; returns what is shown then."""
        self.ask(release)
        self.go_online()
        return self.shown

    def feed(self, event: Callable[[Environment], Any]) -> None:
        with transaction(self.engine) as conn:
            step(conn, "uat", event)

    def manifest_of(self, release: int) -> str | None:
        """What the environment takes for a release."""
        with transaction(self.engine) as conn:
            return variants.manifest(conn, "uat", release)

    @property
    def shown(self) -> dict[str, Rows]:
        return self.content(self.manifest_of(self.state.shown))

    @property
    def held(self) -> list[tuple[str, Row]]:
        with transaction(self.engine) as conn:
            return [(row.dataset, row.key) for row in quarantine.held(conn, "uat")]

    def content(self, sha256: str | None) -> dict[str, Rows]:
        """All rows of a manifest, by its chain from nothing, strictly; proven against its certificate."""
        if sha256 is None:
            return {}
        manifest = Manifest.model_validate_json(self.store.get(sha256))
        found = {name: dict(rows) for name, rows in self.content(manifest.parent).items()}
        for restarted in manifest.restarts:
            found[restarted] = {}
        for chunk in manifest.chunks:
            schema = manifest.schema_of(chunk.dataset)
            rows, width = found.setdefault(chunk.dataset, {}), len(schema.columns)
            table = pq.read_table(self.store.local_path(chunk.sha256))
            for op, *values in zip(*(column.to_pylist() for column in table.columns), strict=True):
                before, after = tuple(values[:width]), tuple(values[width:])
                key = tuple((after if op == "insert" else before)[at] for at in schema.key_positions)
                assert rows.pop(key, None) == (None if op == "insert" else before), (sha256, key)
                if op != "delete":
                    rows[key] = after
        for schema in manifest.schemas:
            rows = found.setdefault(schema.dataset, {})
            wanted = certify(schema.dataset, schema.key_positions, rows.values())
            assert manifest.certificate.tables[schema.dataset] == wanted, schema.dataset
        return found

    def master(self, query: str) -> Rows:
        """Rows of the master by their first column."""
        with psycopg.connect(self.settings.master.url) as connection:
            return {row[:1]: row for row in connection.execute(query.encode()).fetchall()}


def report(state: Environment, rollout: Rollout, member: str) -> dict[str, Any]:
    """What every report of a member tells, in the words of events."""
    known = state.members[member]
    return {
        "at": now(),
        "member": member,
        "epoch": rollout.epoch,
        "rollout_id": rollout.id,
        "floor": rollout.epoch,
        "shows": known.shows,
        "shadow": rollout.release,
        "clock": None,
        "fresh_id": new_id(),
    }


@contextmanager
def desk(database: Callable[[], str], path: Path, datasets: str, rest: str, *ddl: str) -> Iterator[Desk]:
    """`datasets` and `rest` are parts of the config, `ddl` makes the master's tables and rows."""
    master, ledger = database(), database()
    sql(master, *ddl)
    config = path / "distributor.toml"
    config.write_text(HEAD.format(master=master, ledger=ledger, datasets=datasets) + rest)
    settings = load_settings(config)
    migrate.upgrade(ledger)
    install_capture(master, settings.master.datasets)
    engine = ledger_engine(ledger)
    try:
        yield Desk(settings, engine, DirectoryStore(settings.resolve(settings.store.path)))
    finally:
        engine.dispose()


def reconfigured(one: Desk, path: Path, old: str, new: str) -> Desk:
    """The same under an edited config."""
    config = path / "distributor.toml"
    config.write_text(config.read_text().replace(old, new))
    return replace(one, settings=load_settings(config))
