"""Peak resident memory of publisher and consumer over a small delta and over one of the whole catalogue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.lab import SIX, Lab, running_lab
from tests.bench.memory import peak_mb

SYSTEMS = SIX[:1]
FEW = 10_000
MOST_MB, MOST_SPREAD = 400.0, 1.2


@dataclass(frozen=True, slots=True)
class Weight:
    """MB at the peak of fresh processes, over `few` and over `many` updated rows."""

    few: int
    many: int
    publisher_few: float
    publisher_many: float
    consumer_few: float
    consumer_many: float

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        for name, few, many in (
            ("publisher", self.publisher_few, self.publisher_many),
            ("consumer", self.consumer_few, self.consumer_many),
        ):
            value = f"{few:,.0f} and {many:,.0f} MB"
            told = f"memory of a {name}, {self.few:,} and {self.many:,} rows"
            yield Figure(told, value, f"< {MOST_MB:g} MB", max(few, many) < MOST_MB)
            yield Figure(
                "  the larger beside the smaller", f"{many / few:.2f}×", f"≤ {MOST_SPREAD}×", many / few <= MOST_SPREAD
            )


def measure(directory: Path, products: int, seed: int, say: Callable[[str], None]) -> Weight:
    """Both deltas on one system of PostgreSQL, each carried by processes that have carried nothing before."""
    with running_lab(directory, products, seed, say=say, systems=SYSTEMS) as lab:
        few = _carried(lab, min(FEW, products), say)
        many = _carried(lab, products, say)
    return Weight(min(FEW, products), products, few[0], many[0], few[1], many[1])


def _carried(lab: Lab, rows: int, say: Callable[[str], None]) -> tuple[float, float]:
    """MB of publisher and consumer."""
    [place] = lab.estate.places()
    lab.estate.stop_process("publisher")
    lab.estate.stop_process(place.name)
    revision, target = lab.revision + 1, lab.shown() + 1
    lab.master.execute("UPDATE prices SET revision = %s WHERE product_id <= %s", [revision, rows])
    lab.estate.start_member(place.environment, place.system)
    lab.estate.start_role("publisher")
    lab.wait_for(target, time.perf_counter())
    lab.wait_settled()
    found = peak_mb(lab.estate.pid("publisher")), peak_mb(lab.estate.pid(place.name))
    say(f"{rows:,} rows: publisher {found[0]:,.0f} MB, consumer {found[1]:,.0f} MB")
    return found
