"""What proof and repair cost, in the database of one PostgreSQL member."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from distributor.demo.estate_config import SystemPlan
from tests.bench.figures import Figure
from tests.bench.growth import rows_for
from tests.bench.lab import ALL_TABLES, running_lab
from tests.bench.proof import loads, repairs, scans
from tests.bench.stored import desk_of

_SYSTEM = SystemPlan("system1", "postgresql", ALL_TABLES)


@dataclass(frozen=True, slots=True)
class Proof:
    """L2 in a load, L3 beside a bare scan, and a repair beside the same scan."""

    loads: loads.Loads
    scans: scans.Scans
    repairs: repairs.Repairs

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        for part in (self.loads, self.scans, self.repairs):
            yield from part.figures()


def measure(directory: Path, products: int, seed: int, say: Callable[[str], None]) -> Proof:
    """All three on an estate of their own."""
    with running_lab(directory, products, seed, say=say, systems=[_SYSTEM]) as lab, desk_of(lab) as desk:
        scanned = scans.measure(lab, desk, _SYSTEM.name, say)
        repaired = repairs.measure(lab, _SYSTEM.name, products, scanned.usual.bare_ms, say)
        # The last: its consumer does not come back.
        loaded = loads.measure(lab, desk, _SYSTEM.name, rows_for(products), say)
        return Proof(loaded, scanned, repaired)
