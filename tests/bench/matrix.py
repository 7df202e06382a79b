"""How long the first page takes: 40 environments of 12 systems, some of which are rolling out, over a real ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from distributor.access.roles import Role
from distributor.ledger import environments, keys, migrate, progress
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.keys import Key
from distributor.ledger.progress import MemberProgress
from distributor.local.postgresql import LocalPostgreSQL
from distributor.rollout.state import (
    Answer,
    Cause,
    Environment,
    Hold,
    Member,
    Requirement,
    Rollout,
    RolloutState,
    Timing,
)
from distributor.settings import Settings, load_settings
from distributor.telemetry.clock import new_id, now
from distributor.views.status import look
from distributor.web.app import create_app
from tests.bench.figures import Figure, median, percentile

ENVIRONMENTS, SYSTEMS, RELEASES, ROLLOUTS = 40, 12, 800, 30
REPEATS = 40
TARGET_MS = 100
_CONFIG = """
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
"""
_SYSTEM = '[environments.{environment}.systems.{system}]\nadapter = "sqlite"\nurl = "sqlite:///{system}.db"\n'
_RELEASES = text(
    "INSERT INTO ledger.releases (number, manifest, created_at, rows, counts, schema_fingerprint)"
    " SELECT n, 'm' || n, now() - (:last - n) * interval '10 minutes', 1000, '{}', 's' FROM generate_series(1, :last) n"
)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Milliseconds: `look_ms` for the document, `page_ms` for the answer to a request, headers to the last octet."""

    environments: int
    systems: int
    kilobytes: int
    look_ms: float
    page_ms: float
    page_p99_ms: float

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        what = f"{self.environments} environments × {self.systems} systems"
        yield Figure(f"status of {what}: read", f"{self.look_ms:,.0f} ms")
        yield Figure(f"the first page for {what}: median", f"{self.page_ms:,.0f} ms", f"< {TARGET_MS} ms", self.kept)
        yield Figure(f"the same: p99 of {REPEATS}, {self.kilobytes:,} kB", f"{self.page_p99_ms:,.0f} ms")

    @property
    def kept(self) -> bool:
        """Whether the target is."""
        return self.page_ms < TARGET_MS


def measure(directory: Path, say: Callable[[str], None]) -> Matrix:
    """Over a ledger of its own, with somebody logged in by a key, in this process."""
    directory.mkdir(parents=True)
    with LocalPostgreSQL(directory / "postgresql", durable=False) as server:
        settings = configured(directory, server.create_database("ledger"))
        engine = ledger_engine(settings.ledger.url)
        try:
            secret = filled(engine, list(settings.environments))
            say(f"{ENVIRONMENTS} environments of {SYSTEMS} systems are in the ledger")
            return _measured(settings, engine, secret)
        finally:
            engine.dispose()


def _measured(settings: Settings, engine: Engine, secret: str) -> Matrix:
    client = TestClient(create_app(settings, engine=engine), headers={"Authorization": f"Bearer {secret}"})
    names = list(settings.environments)
    answer = client.get("/")
    assert answer.status_code == 200, answer.text
    assert answer.text.count("<td") >= ENVIRONMENTS * SYSTEMS

    def read() -> None:
        with transaction(engine) as conn:
            look(conn, settings, names)

    looks = _timed(read)
    pages = _timed(lambda: client.get("/"))
    return Matrix(
        environments=ENVIRONMENTS,
        systems=SYSTEMS,
        kilobytes=len(answer.content) // 1000,
        look_ms=round(median(looks), 1),
        page_ms=round(median(pages), 1),
        page_p99_ms=round(percentile(pages, 0.99), 1),
    )


def _timed(work: Callable[[], object]) -> list[float]:
    work()
    found = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        found.append((time.perf_counter() - begun) * 1000)
    return found


def configured(directory: Path, url: str) -> Settings:
    systems = [f"system{number}" for number in range(1, SYSTEMS + 1)]
    config = _CONFIG.format(ledger=url) + "".join(
        _SYSTEM.format(environment=f"test{number}", system=system)
        for number in range(1, ENVIRONMENTS + 1)
        for system in systems
    )
    file = directory / "distributor.toml"
    file.write_text(config)
    return load_settings(file, {})


def filled(engine: Engine, names: list[str]) -> str:
    """What a year leaves; returns a key of somebody who may see all of it."""
    migrate.upgrade(engine.url.render_as_string(hide_password=False))
    secret, at = keys.new_secret(), now()
    with transaction(engine) as conn:
        keys.put(conn, Key(new_id(), "bench", Role.ADMIN, (), at, "bench"), secret)
        conn.execute(_RELEASES, {"last": RELEASES})
    for number, name in enumerate(names):
        with transaction(engine) as conn:
            state = environments.lock(conn, name)
            for after in _history(name, number, at):
                environments.save(conn, state, after, at=at)
                state = after
            if state.active:
                for system in state.members:
                    load = MemberProgress(name, system, state.active.id, "load", 4_000, 12_000, 35_000.0, at)
                    progress.put(conn, load)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("ANALYZE"))
    return secret


def _history(name: str, number: int, at: datetime) -> Iterator[Environment]:
    """An environment after each of its rollouts; every third is held, every fourth is rolling out."""
    shown = RELEASES - number
    systems = [f"system{n}" for n in range(1, SYSTEMS + 1)]
    members = {s: Member(Requirement.REQUIRED, shows=shown, shadow=shown, floor=1, heard_at=at) for s in systems}
    state = Environment(name, epoch=1, shown=shown, members=members)
    for place in range(ROLLOUTS):
        ended = _ended(systems, shown - ROLLOUTS + place + 1, at - timedelta(hours=ROLLOUTS - place))
        yield (state := replace(state, epoch=state.epoch + 1, last=ended, ended=(ended,)))
    if number % 3 == 0:
        state = replace(state, holds=(Hold("tess", "regression of the autumn release", at),), ended=())
    if number % 4 == 0:
        begun = replace(_ended(systems, RELEASES, at), id=new_id(), state=RolloutState.STAGING, ended_at=None)
        active = replace(begun, converged_at=None, decided_at=None, answers={s: Answer() for s in systems})
        state = replace(state, active=active, ended=())
    yield state


def _ended(systems: list[str], release: int, at: datetime) -> Rollout:
    return Rollout(
        id=new_id(),
        release=release,
        cause=Cause.OPERATOR,
        by="olga",
        reason="weekly prices",
        requested_at=at,
        required=frozenset(systems),
        optional=frozenset(),
        expected={},
        timing=Timing(),
        state=RolloutState.ONLINE,
        from_release=release - 1,
        epoch=2,
        started_at=at,
        converged_at=at + timedelta(seconds=4),
        decided_at=at + timedelta(seconds=4),
        ended_at=at + timedelta(seconds=5),
        skew_ms=4.2,
        skew_uncertainty_ms=0.6,
        answers={system: Answer(staged=True, flipped_at=at + timedelta(seconds=4)) for system in systems},
    )
