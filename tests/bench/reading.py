"""Open-loop readers: `python -m tests.bench.reading RATE URL…` reads until its stdin ends, then prints one object.

A read is due every 1/RATE seconds whether the last one has come back or not, and its latency counts from when it was
due: a stall makes everything behind it late, as it would for users.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import psycopg

READS_PER_SECOND = 20.0
_QUERY = (
    "SELECT p.name, p.attributes, r.list_price FROM products p JOIN prices r USING (product_id) WHERE p.product_id = %s"
)


@dataclass(frozen=True, slots=True)
class Latencies:
    """What the readers of all systems saw, latencies in milliseconds, sorted."""

    latencies: list[float]
    errors: list[str]


class Readers:
    """The readers of all systems in a process of their own, so that no other Python thread delays them."""

    def __init__(self, urls: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.reading", str(READS_PER_SECOND), *urls],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> Latencies:
        """Ends them and gives what they saw."""
        out, _ = self._process.communicate()
        return Latencies(**json.loads(out))


def _read(url: str, rate: float, stop: threading.Event, seen: list[float], errors: list[str]) -> None:
    chance = random.Random(url)
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT max(product_id) FROM products").fetchone()
        newest = int(row[0]) if row else 1
        due = time.perf_counter() + chance.random() / rate
        while not stop.wait(max(0.0, due - time.perf_counter())):
            try:
                connection.execute(_QUERY, [chance.randint(1, newest)]).fetchall()
            except psycopg.Error as error:
                errors.append(str(error))
            seen.append((time.perf_counter() - due) * 1000)
            due += 1 / rate


def main(rate: float, urls: list[str]) -> None:
    """Reads until stdin ends."""
    stop = threading.Event()
    seen: list[float] = []
    errors: list[str] = []
    threads = [threading.Thread(target=_read, args=(url, rate, stop, seen, errors)) for url in urls]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"latencies": sorted(seen), "errors": errors}))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
