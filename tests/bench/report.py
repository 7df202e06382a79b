"""The figures of one run: as an object for machines, as tables for people, each beside its target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console

from distributor.cli.layout import grid
from tests.bench import deltas
from tests.bench.api import Api
from tests.bench.deltas import Delta
from tests.bench.dirty import Dirty
from tests.bench.events import Events
from tests.bench.figures import BUCKETS_MS, Figure
from tests.bench.flips import Flips
from tests.bench.growth import Growth
from tests.bench.lab import FLIP_LEAD, KEEP_PREVIOUS, QUIET_PERIOD, SYSTEMS
from tests.bench.laggard import Laggard
from tests.bench.loaders import Loaders
from tests.bench.machine import load_average, machine
from tests.bench.mapping import Mapping
from tests.bench.matrix import Matrix
from tests.bench.proof import Proof
from tests.bench.rollback import Rollback
from tests.bench.skew import Skew
from tests.bench.triggers import Triggers
from tests.bench.weight import Weight


@dataclass
class Report:
    """What was measured; a part that was not asked for is None. `load_before` is the machine's when it began."""

    products: int
    load_before: float = field(default_factory=load_average)
    deltas: list[Delta] = field(default_factory=list)
    growth: Growth | None = None
    skew: Skew | None = None
    rollback: Rollback | None = None
    mapping: Mapping | None = None
    loaders: Loaders | None = None
    laggard: Laggard | None = None
    flips: Flips | None = None
    proof: Proof | None = None
    triggers: Triggers | None = None
    dirty: Dirty | None = None
    weight: Weight | None = None
    events: Events | None = None
    page: Matrix | None = None
    api: Api | None = None
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
            "rollback": self.rollback and asdict(self.rollback),
            "mapping": self.mapping and asdict(self.mapping),
            "loaders": self.loaders and self.loaders.as_json(),
            "laggard_ratio": self.laggard and self.laggard.ratio,
            "laggard": self.laggard and asdict(self.laggard),
            "flips": self.flips and {"histogram_bounds_ms": BUCKETS_MS, **asdict(self.flips)},
            "proof": self.proof and asdict(self.proof),
            "triggers": self.triggers and asdict(self.triggers),
            "dirty_ratio": self.dirty and self.dirty.ratio,
            "dirty": self.dirty and asdict(self.dirty),
            "weight": self.weight and asdict(self.weight),
            "events": self.events and asdict(self.events),
            "page": self.page and asdict(self.page),
            "api": self.api and asdict(self.api),
            "publisher_rss_mb": self.publisher_rss_mb,
            "consumer_rss_mb": self.consumer_rss_mb,
            "machine": machine(),
            "load_before": self.load_before,
            "seconds": self.seconds,
        }

    def show(self, console: Console) -> None:
        """All tables."""
        if self.consumer_rss_mb is not None:
            console.print(
                f"{self.products:,} products and as many prices, {len(SYSTEMS)} PostgreSQL systems in as many databases"
                f" of one server; quiet period {QUIET_PERIOD}, flip lead {FLIP_LEAD}, keep_previous {KEEP_PREVIOUS}"
            )
        if self.deltas:
            self._show_deltas(console)
        targets = grid("figure", ">measured", ">target", "")
        for figure in self.figures():
            said = "" if figure.kept is None else "kept" if figure.kept else "MISSED"
            targets.add_row(figure.name, figure.value, figure.target, said)
        console.print(targets)
        if self.flips:
            self._show_histograms(console, self.flips)
        console.print(f"on {machine()}; load before it {self.load_before}; the whole run took {self.seconds:.0f} s")

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

    def _show_histograms(self, console: Console, flips: Flips) -> None:
        for load, skews in (("idle", flips.idle), ("with readers", flips.readers)):
            console.print(f"skew of {skews.reported.count:,} flips, {load}:")
            for line in skews.reported.bars():
                console.print(f"  {line}")

    def figures(self) -> Iterator[Figure]:
        """Each figure beside its target."""
        yield from deltas.figures(self.deltas)
        for part in (
            self.growth,
            self.skew,
            self.rollback,
            self.mapping,
            self.loaders,
            self.laggard,
            self.flips,
            self.proof,
            self.triggers,
            self.dirty,
            self.events,
            self.page,
            self.api,
            self.weight,
        ):
            if part:
                yield from part.figures()
        if self.publisher_rss_mb is not None and self.consumer_rss_mb is not None:
            yield Figure("publisher's memory in the first full load", f"{self.publisher_rss_mb:,.0f} MB")
            yield Figure("a consumer's memory in the first full load", f"{self.consumer_rss_mb:,.0f} MB")
