"""The same delta on a catalogue of a tenth of the size and on the whole one, beside what a bare MERGE grows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Figure, median
from tests.bench.lab import Lab
from tests.bench.peers.bare_merge import merge_ms
from tests.bench.peers.server import PeerServer

CHANGED_ROWS, REPEATS = 10_000, 5


@dataclass(frozen=True, slots=True)
class Growth:
    """Milliseconds on the small and the large catalogue, ours and the bare MERGE's."""

    changed_rows: int
    small_products: int
    products: int
    ours_small_ms: float
    ours_ms: float
    bare_small_ms: float
    bare_ms: float

    @property
    def ours(self) -> float:
        """How much dearer the delta is on the large catalogue."""
        return round(self.ours_ms / self.ours_small_ms, 2)

    @property
    def bare(self) -> float:
        """How much dearer the bare MERGE is."""
        return round(self.bare_ms / self.bare_small_ms, 2)

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        name = f"growth of a {self.changed_rows:,}-row delta, {self.small_products:,} → {self.products:,} products"
        most = round(self.bare * 1.3, 2)
        yield Figure(name, f"{self.ours}×", f"≤ {most}×", self.ours <= most)
        yield Figure("growth of a bare MERGE of the same rows", f"{self.bare}×")


def rows_for(small_products: int) -> int:
    """10,000 rows, or what a smaller catalogue can bear."""
    return min(CHANGED_ROWS, small_products // 5)


def ours_ms(lab: Lab, rows: int) -> float:
    """The median of carrying `rows` rows everywhere."""
    lab.carry(rows)
    return median([lab.carry(rows).everywhere_ms for _ in range(REPEATS)])


def bare_ms(directory: Path, products: int, rows: int, seed: int) -> float:
    """The median of the bare MERGE of the same rows into one copy."""
    with PeerServer(directory, products, seed) as server:
        _, copies = server.databases("bare", copies=1)
        _warm_up, *times = merge_ms(copies[0], rows // 2, range(1, REPEATS + 2), seed)
    return median(times)
