"""Change to everywhere, beside what users would pick instead; the peers take their turns size by size."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from distributor.demo import catalogue
from distributor.demo.catalogue import Batch
from tests.bench.figures import Figure, median
from tests.bench.lab import Carried, Lab
from tests.bench.peers import dump
from tests.bench.peers.replication import Replication
from tests.bench.peers.server import PeerServer
from tests.bench.peers.threads import Threads

REPEATS = {1: 7, 1_000: 5, 10_000: 5, 100_000: 1}


@dataclass(frozen=True, slots=True)
class Delta:
    """Medians in milliseconds for one size. `full_refresh_ms` is one run for all sizes."""

    changed_rows: int
    everywhere_ms: float
    threads_ms: float
    logical_replication_ms: float
    full_refresh_ms: float
    skew_ms: float
    phases: dict[str, float]


def figures(deltas: Sequence[Delta]) -> Iterator[Figure]:
    """Rows of the table of targets."""
    by_size = {delta.changed_rows: delta for delta in deltas}
    if one := by_size.get(1):
        yield Figure("1 row everywhere", f"{one.everywhere_ms:.0f} ms", "< 150 ms", one.everywhere_ms < 150)
    if ten := by_size.get(10_000):
        threads = ten.everywhere_ms / ten.threads_ms
        replication = ten.everywhere_ms / ten.logical_replication_ms
        full = ten.full_refresh_ms / ten.everywhere_ms
        yield Figure("10,000 rows beside (a) bare threads", f"{threads:.2f}×", "≤ 2×", threads <= 2)
        yield Figure("10,000 rows beside (b) logical replication", f"{replication:.2f}×", "< 1×", replication < 1)
        yield Figure("10,000 rows beside (c) a full refresh", f"{full:.0f}× faster", "≥ 30×", full >= 30)


def sizes(products: int) -> list[int]:
    """The sizes that a catalogue can bear: at most a quarter of its rows."""
    return [rows for rows in REPEATS if rows <= products // 2]


def measure_ours(lab: Lab, wanted: Sequence[int], say: Callable[[str], None]) -> dict[int, list[Carried]]:
    """Carries each size as often as REPEATS says, after one unmeasured round."""
    lab.carry(min(1_000, max(wanted)))
    found = {}
    for rows in wanted:
        found[rows] = [lab.carry(rows) for _ in range(REPEATS[rows])]
        say(f"{rows:>7,} rows: everywhere after {median([c.everywhere_ms for c in found[rows]]):,.0f} ms")
    return found


def measure_peers(
    directory: Path, products: int, seed: int, wanted: Sequence[int], say: Callable[[str], None]
) -> tuple[dict[int, float], dict[int, float], float]:
    """Medians of the threaded loop and of logical replication by size, and one full refresh, in milliseconds."""
    with PeerServer(directory, products, seed) as server:
        master, copies = server.databases("threads")
        threads = Threads(master, copies)
        by_threads = _each(wanted, master, seed, lambda batch, _begun: threads.carry(batch))
        threads.close()
        say("peer (a), bare threads: " + _told(by_threads))
        full = dump.full_refresh(server.binaries, master, copies)
        say(f"peer (c), pg_dump | psql: {full:,.0f} ms")
        server.drop("threads")
        master, copies = server.databases("replication")
        replication = Replication(master, copies)
        by_replication = _each(wanted, master, seed, lambda batch, begun: replication.arrived(batch.revision, begun))
        replication.close()
        say("peer (b), logical replication: " + _told(by_replication))
    return by_threads, by_replication, full


def _each(wanted: Sequence[int], master: str, seed: int, carry: Callable[[Batch, float], float]) -> dict[int, float]:
    found, revision = {}, 0
    with psycopg.connect(master, autocommit=True) as connection:
        for rows in [min(1_000, max(wanted)), *wanted]:
            times = []
            for _ in range(REPEATS[rows]):
                revision += 1
                if rows == 1:
                    connection.execute("UPDATE prices SET revision = %s WHERE product_id = 1", [revision])
                    batch = Batch(revision, [1], [], [])
                else:
                    batch = catalogue.change(connection, rows // 2, revision, seed)
                times.append(carry(batch, time.perf_counter()))
            found[rows] = median(times)
    return found


def _told(times: dict[int, float]) -> str:
    return ", ".join(f"{rows:,} rows {took:,.0f} ms" for rows, took in sorted(times.items()))
