"""How soon clients of the event stream read what was committed, beside a bare LISTEN on the ledger.

One clock tells when a transaction was committed: the ledger's server, which remembers it. The clients are on the same
machine and look at the same clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import Engine

from distributor.access.roles import Role
from distributor.ledger import keys, migrate, timeline
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.keys import Key
from distributor.local.postgresql import LocalPostgreSQL
from distributor.telemetry.clock import new_id, now
from tests.bench.events.watchers import Watcher, arrivals, listening, serving, streaming
from tests.bench.figures import Distribution, Figure

CLIENTS = 200
COMMITS, QUICK_COMMITS = 300, 50
TARGET_MS = 1_000
_PER_SECOND = 10
_WARM_UP = 10
_PATIENCE_SECONDS = 60.0
_COMMITTED = "SELECT seq, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM ledger.events WHERE seq > %s"
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
[web]
listen = "127.0.0.1:0"
[environments.bench.systems.crm]
adapter = "sqlite"
url = "sqlite:///crm.db"
"""


@dataclass(frozen=True, slots=True)
class Events:
    """From a commit to its being read: by every client of the stream, and by one bare LISTEN and SELECT."""

    clients: int
    commits: int
    commits_per_second: int
    streamed: Distribution
    listened: Distribution

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        told, bare = self.streamed, self.listened
        name = f"{self.commits:,} commits, each read by {self.clients} clients of one process, p99"
        yield Figure(name, f"{told.p99_ms} ms", f"< {TARGET_MS:,} ms", told.p99_ms < TARGET_MS)
        yield Figure("  p50, max", f"{told.p50_ms}, {told.max_ms} ms")
        yield Figure("  a bare LISTEN beside them, p50, p99, max", f"{bare.p50_ms}, {bare.p99_ms}, {bare.max_ms} ms")


def measure(directory: Path, commits: int, say: Callable[[str], None]) -> Events:
    """A ledger, a web role with CLIENTS streams, and a listener, each in a process of its own."""
    directory.mkdir(parents=True)
    with LocalPostgreSQL(directory / "postgresql", durable=False) as server:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET track_commit_timestamp = on")
        server.stop()
        server.start()
        url = server.create_database("ledger")
        migrate.upgrade(url)
        (directory / "distributor.toml").write_text(_CONFIG.format(ledger=url))
        engine = ledger_engine(url)
        try:
            with serving(directory) as address, streaming(address, _key(engine), CLIENTS) as streams:
                say(f"{CLIENTS} clients follow {address}")
                with listening(url) as listener:
                    _commit(engine, _WARM_UP, streams)
                    _commit(engine, commits, streams)
                    return _figures(url, commits, arrivals(streams), arrivals(listener))
        finally:
            engine.dispose()


def _figures(url: str, commits: int, streamed: dict[int, list[float]], listened: dict[int, list[float]]) -> Events:
    with psycopg.connect(url) as conn:
        committed = dict(conn.execute(_COMMITTED, [_WARM_UP]).fetchall())
    for name, read, each in (("streams", streamed, CLIENTS), ("listener", listened, 1)):
        if short := [seq for seq in committed if len(read.get(seq, ())) != each]:
            raise RuntimeError(f"the {name} have not read event {short[0]} exactly once each")
    return Events(
        clients=CLIENTS,
        commits=commits,
        commits_per_second=_PER_SECOND,
        streamed=_took(committed, streamed),
        listened=_took(committed, listened),
    )


def _took(committed: dict[int, float], read: dict[int, list[float]]) -> Distribution:
    return Distribution.of([(at - committed[seq]) * 1000 for seq in committed for at in read[seq]])


def _commit(engine: Engine, count: int, streams: Watcher) -> None:
    """So many transactions, evenly; waits until every client has read the last."""
    begun = time.monotonic()
    for number in range(count):
        with transaction(engine) as conn:
            timeline.write(conn, "bench", now(), [timeline.Entry("member-staged", f"entry {number}", new_id(), "crm")])
        time.sleep(max(0.0, begun + (number + 1) / _PER_SECOND - time.monotonic()))
    streams.wait(count, _PATIENCE_SECONDS)


def _key(engine: Engine) -> str:
    secret = keys.new_secret()
    with transaction(engine) as conn:
        keys.put(conn, Key(new_id(), "bench", Role.VIEWER, (), now(), "bench"), secret)
    return secret
