"""The figures of one run: as an object for machines, as tables for people, each beside its target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console

from distributor.cli.layout import grid
from tests.bench.deltas import Delta
from tests.bench.growth import Growth
from tests.bench.lab import FLIP_LEAD, KEEP_PREVIOUS, QUIET_PERIOD, SYSTEMS
from tests.bench.skew import Skew


@dataclass
class Report:
    """What was measured; a part that was not asked for is None."""

    products: int
    deltas: list[Delta] = field(default_factory=list)
    growth: Growth | None = None
    skew: Skew | None = None
    publisher_rss_mb: float | None = None
    consumer_rss_mb: float | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The object of `--json`."""
        return {
            "products": self.products,
            "systems": len(SYSTEMS),
            "quiet_period": QUIET_PERIOD,
            "flip_lead": FLIP_LEAD,
            "keep_previous": KEEP_PREVIOUS,
            "deltas": [asdict(delta) for delta in self.deltas],
            "growth_10k_100k_to_1m": self.growth and self.growth.ours,
            "growth_bare": self.growth and self.growth.bare,
            "growth": self.growth and asdict(self.growth),
            "skew_p99_ms": self.skew and self.skew.p99_ms,
            "reader_errors": self.skew and self.skew.reader_errors,
            "reader_p99_ratio": self.skew and self.skew.ratio,
            "skew": self.skew and asdict(self.skew),
            "publisher_rss_mb": self.publisher_rss_mb,
            "consumer_rss_mb": self.consumer_rss_mb,
            "seconds": self.seconds,
        }

    def show(self, console: Console) -> None:
        """All tables."""
        console.print(
            f"{self.products:,} products and as many prices, {len(SYSTEMS)} PostgreSQL systems in as many databases"
            f" of one server; quiet period {QUIET_PERIOD}, flip lead {FLIP_LEAD}, keep_previous {KEEP_PREVIOUS}"
        )
        if self.deltas:
            self._show_deltas(console)
        targets = grid("figure", ">measured", ">target", "")
        for name, value, target, kept in self._targets():
            targets.add_row(name, value, target, "" if kept is None else "kept" if kept else "MISSED")
        console.print(targets)
        console.print(f"the whole run took {self.seconds:.0f} s")

    def _show_deltas(self, console: Console) -> None:
        table = grid(">changed rows", ">everywhere", ">(a) threads", ">(b) replication", ">(c) pg_dump", ">skew")
        for delta in self.deltas:
            times = (delta.everywhere_ms, delta.threads_ms, delta.logical_replication_ms, delta.full_refresh_ms)
            table.add_row(f"{delta.changed_rows:,}", *(f"{ms:,.0f} ms" for ms in times), f"{delta.skew_ms:.1f} ms")
        console.print(table)
        phases = grid("phase (median)", *(f">{delta.changed_rows:,} rows" for delta in self.deltas))
        for name in dict.fromkeys(name for delta in self.deltas for name in delta.phases):
            phases.add_row(name, *(f"{delta.phases.get(name, 0):,.1f} ms" for delta in self.deltas))
        console.print(phases)

    def _targets(self) -> Iterator[tuple[str, str, str, bool | None]]:
        by_size = {delta.changed_rows: delta for delta in self.deltas}
        if one := by_size.get(1):
            yield "1 row everywhere", f"{one.everywhere_ms:.0f} ms", "< 150 ms", one.everywhere_ms < 150
        if ten := by_size.get(10_000):
            yield from _beside(ten)
        if growth := self.growth:
            sizes = f"{growth.small_products:,} → {growth.products:,} products"
            most = round(growth.bare * 1.3, 2)
            yield (
                f"growth of a {growth.changed_rows:,}-row delta, {sizes}",
                f"{growth.ours}×",
                f"≤ {most}×",
                (growth.ours <= most),
            )
            yield "growth of a bare MERGE of the same rows", f"{growth.bare}×", "", None
        if skew := self.skew:
            yield f"skew over {skew.flips} flips, p99", f"{skew.p99_ms} ms", "< 50 ms", skew.p99_ms < 50
            yield f"reader errors in {skew.reads:,} reads", str(skew.reader_errors), "0", not skew.reader_errors
            p99 = f"({skew.reader_p99_ms} ms beside {skew.reader_p99_withheld_ms} ms)"
            yield f"readers' p99, flips beside none {p99}", f"{skew.ratio}×", "≤ 1.3×", skew.ratio <= 1.3
        if self.publisher_rss_mb is not None and self.consumer_rss_mb is not None:
            yield "publisher's memory in the first full load", f"{self.publisher_rss_mb:,.0f} MB", "", None
            yield "a consumer's memory in the first full load", f"{self.consumer_rss_mb:,.0f} MB", "", None


def _beside(ten: Delta) -> Iterator[tuple[str, str, str, bool | None]]:
    threads = ten.everywhere_ms / ten.threads_ms
    replication = ten.everywhere_ms / ten.logical_replication_ms
    full = ten.full_refresh_ms / ten.everywhere_ms
    yield "10,000 rows beside (a) bare threads", f"{threads:.2f}×", "≤ 2×", threads <= 2
    yield "10,000 rows beside (b) logical replication", f"{replication:.2f}×", "< 1×", replication < 1
    yield "10,000 rows beside (c) a full refresh", f"{full:.0f}× faster", "≥ 30×", full >= 30
