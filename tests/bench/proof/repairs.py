"""`verify --repair` of rows dirtied behind everybody's back: from the verb's start until all of it is right online."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from distributor.rollout.member_row import SlotName
from tests.bench.figures import Figure, median
from tests.bench.lab import ENVIRONMENT, Lab

DIRTY_ROWS, REPEATS = 1_000, 3
TARGET = 3.0


@dataclass(frozen=True, slots=True)
class Repairs:
    """Medians in milliseconds. Of `repair_ms`, `rollout_ms` went from the request of the rollout that mends to its end.

    `verify_ms` is the verb without `--repair` where nothing differs any more.
    """

    dirty_rows: int
    products: int
    repair_ms: float
    rollout_ms: float
    verify_ms: float
    scan_ms: float
    ratio: float

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        times = f"({self.repair_ms:,.0f} ms beside {self.scan_ms:,.0f} ms)"
        name = f"repair of {self.dirty_rows:,} rows among {self.products:,} beside that scan {times}"
        yield Figure(name, f"{self.ratio}×", f"< {TARGET:g}×", self.ratio < TARGET)
        yield Figure("  of it the rollout that mends", f"{self.rollout_ms:,.0f} ms")
        yield Figure("  verify where nothing differs", f"{self.verify_ms:,.0f} ms")


def measure(lab: Lab, system: str, products: int, scan_ms: float, say: Callable[[str], None]) -> Repairs:
    """`scan_ms` is the bare scan's time. Raises RuntimeError when other rows are found than were dirtied."""
    rows = min(DIRTY_ROWS, products // 10)
    repairs, rollouts, verifies = [], [], []
    (place,) = (place for place in lab.estate.places() if place.system == system)
    with psycopg.connect(place.url, autocommit=True) as plain:
        for number in range(REPEATS):
            _dirty(plain, rows, number)
            begun = time.perf_counter()
            told = lab.estate.verb("verify", environment=ENVIRONMENT, repair=True, reason="measured")
            repairs.append((time.perf_counter() - begun) * 1000)
            rollouts.append(_rollout_ms(told, rows))
            lab.wait_settled()
            begun = time.perf_counter()
            lab.estate.verb("verify", environment=ENVIRONMENT)
            verifies.append((time.perf_counter() - begun) * 1000)
            times = f"{repairs[-1]:,.0f} ms, of them {rollouts[-1]:,.0f} ms in the rollout"
            say(f"repair {number + 1} of {REPEATS}: {rows:,} rows in {times}; to verify again {verifies[-1]:,.0f} ms")
    repair = median(repairs)
    ratio = round(repair / scan_ms, 2)
    return Repairs(rows, products, repair, median(rollouts), median(verifies), scan_ms, ratio)


def _dirty(plain: psycopg.Connection, rows: int, number: int) -> None:
    """Of the rows readers see: three fifths changed, a fifth deleted, a fifth more that should not be."""
    found = plain.execute("SELECT slot FROM distributor.active").fetchone()
    assert found is not None
    slot: SlotName = found[0]
    place = f"distributor_{slot}.products"
    with plain.transaction():
        keys = _scattered(plain, place, rows, number)
        changed, deleted, copied = keys[: rows * 3 // 5], keys[rows * 3 // 5 : rows * 4 // 5], keys[rows * 4 // 5 :]
        for statement, chosen in (
            (f"UPDATE {place} SET weight_kg = weight_kg + 1 WHERE product_id = ANY(%s)", changed),
            (f"DELETE FROM {place} WHERE product_id = ANY(%s)", deleted),
            (f"CREATE TEMP TABLE extra ON COMMIT DROP AS SELECT * FROM {place} WHERE product_id = ANY(%s)", copied),
        ):
            plain.execute(psycopg.sql.SQL(statement), [chosen])
        plain.execute("UPDATE extra SET product_id = -product_id")
        plain.execute(f"INSERT INTO {place} SELECT * FROM extra".encode())


def _scattered(plain: psycopg.Connection, place: str, rows: int, number: int) -> Sequence[int]:
    """As many keys, all over the table, others each time."""
    query = (
        f"SELECT product_id FROM (SELECT product_id, row_number() OVER (ORDER BY product_id) AS place,"
        f" count(*) OVER () AS all_rows FROM {place}) AS numbered WHERE place % (all_rows / {rows}) = {number}"
        f" ORDER BY hashint8(product_id) LIMIT {rows}"
    )
    return [int(row[0]) for row in plain.execute(query.encode())]


def _rollout_ms(told: dict[str, Any], rows: int) -> float:
    """How long the rollout took. Raises RuntimeError when it mended anything but what was dirtied."""
    (system,) = told["systems"]
    wrong = sum(table["rows_wrong"] or 0 for table in system["tables"])
    if not system["mended"] or wrong != rows:
        raise RuntimeError(f"{rows} rows were dirtied; {wrong} were found, {system['outcome']}: {system['remedy']}")
    rollout = told["repair"]["rollout"]
    begun, ended = (datetime.fromisoformat(rollout[name]) for name in ("requested_at", "ended_at"))
    return (ended - begun).total_seconds() * 1000
