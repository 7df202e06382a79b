"""How long an environment takes to catch up over many small releases, beside one release of the same net change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from distributor.requests import request_rollout
from distributor.rollout.state import Cause
from tests.bench.figures import Figure, median
from tests.bench.lab import ENVIRONMENT, Lab, running_lab
from tests.bench.stored import Desk, desk_of

RELEASES, QUICK_RELEASES = 1_000, 100
CHANGES = 100
"""Prices that each of the releases changes."""
REPEATS = 3
MOST = 3.0


@dataclass(frozen=True, slots=True)
class Laggard:
    """Medians in milliseconds from the request until every system showed the newest release.

    `rows` is what the largest load wrote: of the chain's net, and of the one release, which changes the same rows.
    """

    releases: int
    changes: int
    products: int
    chain_ms: float
    chain_rows: int
    single_ms: float
    single_rows: int

    @property
    def ratio(self) -> float:
        """How much longer the chain takes."""
        return round(self.chain_ms / self.single_ms, 2)

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        name = f"catching up over {self.releases:,} releases of {self.changes} changes each"
        yield Figure(name, f"{self.chain_ms:,.0f} ms ({self.chain_rows:,} rows)")
        yield Figure("one release of the same net change", f"{self.single_ms:,.0f} ms ({self.single_rows:,} rows)")
        yield Figure("  the chain beside the one release", f"{self.ratio}×", f"≤ {MOST:g}×", self.ratio <= MOST)


@dataclass(frozen=True, slots=True)
class _Took:
    ms: float
    rows: int


def measure(directory: Path, products: int, releases: int, seed: int, say: Callable[[str], None]) -> Laggard:
    """Both in turns, on an estate of six systems that does not follow by itself."""
    chain, single = [], []
    with running_lab(directory, products, seed, say=say, follow="manual") as lab, desk_of(lab) as desk:
        for number in range(REPEATS):
            begun = time.perf_counter()
            for turn in range(releases):
                _publish(lab, desk, turn * CHANGES % products, CHANGES)
            say(f"{releases:,} releases after {time.perf_counter() - begun:.1f} s")
            chain.append(_catch_up(lab, desk))
            _publish(lab, desk, 0, min(releases * CHANGES, products))
            single.append(_catch_up(lab, desk))
            say(
                f"catching up {number + 1} of {REPEATS}: {chain[-1].rows:,} rows over {releases:,} releases"
                f" {chain[-1].ms:,.0f} ms, {single[-1].rows:,} rows in one {single[-1].ms:,.0f} ms"
            )
    return Laggard(
        releases=releases,
        changes=CHANGES,
        products=products,
        chain_ms=median([took.ms for took in chain]),
        chain_rows=max(took.rows for took in chain),
        single_ms=median([took.ms for took in single]),
        single_rows=max(took.rows for took in single),
    )


def _publish(lab: Lab, desk: Desk, first: int, count: int) -> None:
    """Changes prices from one on (and from the beginning again, at the end), and waits for their release."""
    target = desk.newest().number + 1
    lab.master.execute(
        "UPDATE prices SET revision = %s WHERE product_id > %s AND product_id <= %s"
        " OR product_id <= %s - (SELECT max(product_id) FROM prices)",
        [target, first, first + count, first + count],
    )
    lab.wait_until(lambda: desk.newest().number >= target, f"release {target}")


def _catch_up(lab: Lab, desk: Desk) -> _Took:
    newest = desk.newest()
    begun = time.perf_counter()
    rollout_id = request_rollout(
        desk.engine, desk.settings, desk.store, ENVIRONMENT, cause=Cause.OPERATOR, by="bench", reason="measured"
    )
    took = lab.wait_for(newest.number, begun)
    lab.wait_settled()
    told = lab.estate.verb("rollout", rollout_id=rollout_id)
    return _Took(took, max(member["rows"] or 0 for member in told["members"]))
