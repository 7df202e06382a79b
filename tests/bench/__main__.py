"""`python -m tests.bench [--products N] [--json] [--quick] [--only PART,…]`: all figures in one run, on one machine."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console

from tests.bench import (
    api,
    deltas,
    dirty,
    events,
    flips,
    growth,
    laggard,
    loaders,
    mapping,
    matrix,
    proof,
    rollback,
    skew,
    triggers,
    weight,
)
from tests.bench.lab import Carried, running_lab
from tests.bench.machine import machine
from tests.bench.page import page
from tests.bench.report import Report

USUAL = ("deltas", "growth", "skew", "memory", "rollback")
PARTS = (
    *USUAL,
    "mapping",
    "loaders",
    "laggard",
    "flips",
    "proof",
    "triggers",
    "dirty",
    "events",
    "page",
    "api",
    "weight",
)
_ON_THE_SIX = {"deltas", "growth", "skew", "memory"}
FULL, QUICK = 1_000_000, 20_000
ROLLBACK_SHARE = 10
LOADERS_SHARE = 5
"""The estate of seven systems has a tenth of the products: what is measured there follows the change alone."""
SEED = 7


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured: products of each estate, flips of `skew` and of `flips`, releases of `laggard`, changes of
    `triggers`, products and altered rows of `dirty`, commits of `events`."""

    products: int
    rollback_products: int
    skew_flips: int
    flips: int
    releases: int
    changes: int
    dirty_products: int
    dirty_rows: int
    commits: int


class Bench:
    """One run; the estates of a part are gone when the next one starts."""

    def __init__(self, directory: Path, sizes: Sizes, parts: Sequence[str]) -> None:
        self.directory = directory
        self.sizes, self.products, self.parts = sizes, sizes.products, parts
        self.report = Report(sizes.products)
        self._begun = time.monotonic()

    def say(self, text: str) -> None:
        """Progress, on stderr."""
        print(f"{time.monotonic() - self._begun:7.1f} s  {text}", file=sys.stderr, flush=True)

    def run(self) -> Report:
        """Every part that was asked for."""
        if _ON_THE_SIX.intersection(self.parts):
            self._run_on_the_six()
        if "rollback" in self.parts:
            products = self.sizes.rollback_products
            self.report.rollback = rollback.measure(self.directory / "seven", products, SEED, self.say)
        if "mapping" in self.parts:
            self.report.mapping = mapping.measure(self.products, self.say)
        if "loaders" in self.parts:
            self.report.loaders = loaders.measure(self.directory / "loaders", self.products // LOADERS_SHARE, self.say)
        if "laggard" in self.parts:
            releases = self.sizes.releases
            self.report.laggard = laggard.measure(self.directory / "laggard", self.products, releases, SEED, self.say)
        if "flips" in self.parts:
            self.report.flips = flips.measure(self.directory / "flips", self.sizes.flips, SEED, self.say)
        if "proof" in self.parts:
            self.report.proof = proof.measure(self.directory / "proof", self.products, SEED, self.say)
        if "triggers" in self.parts:
            self.report.triggers = triggers.measure(self.directory / "triggers", self.sizes.changes, SEED, self.say)
        if "dirty" in self.parts:
            products, rows = self.sizes.dirty_products, self.sizes.dirty_rows
            self.report.dirty = dirty.measure(self.directory / "dirty", products, rows, SEED, self.say)
        if "events" in self.parts:
            self.report.events = events.measure(self.directory / "events", self.sizes.commits, self.say)
        if "page" in self.parts:
            self.report.page = matrix.measure(self.directory / "page", self.say)
        if "api" in self.parts:
            self.report.api = api.measure(self.directory / "api", self.say)
        if "weight" in self.parts:
            self.report.weight = weight.measure(self.directory / "weight", self.products, SEED, self.say)
        self.report.seconds = round(time.monotonic() - self._begun, 1)
        return self.report

    def _run_on_the_six(self) -> None:
        small = self.products // 10
        rows = growth.rows_for(small)
        smaller = self._smaller(small, rows) if "growth" in self.parts else None
        wanted = deltas.sizes(self.products) if "deltas" in self.parts else []
        peers = self._peers(wanted) if wanted else None
        with running_lab(self.directory / "estate", self.products, SEED, say=self.say) as lab:
            self.report.publisher_rss_mb = round(lab.publisher_rss_mb, 1)
            self.report.consumer_rss_mb = round(lab.consumer_rss_mb, 1)
            if peers:
                carried = deltas.measure_ours(lab, wanted, self.say)
                self.report.deltas = [_delta(rows, carried[rows], *peers) for rows in wanted]
            if smaller:
                ours_small, bare_small, bare = smaller
                ours = growth.ours_ms(lab, rows)
                self.report.growth = growth.Growth(rows, small, self.products, ours_small, ours, bare_small, bare)
                self.say(f"growth {self.report.growth.ours}×, bare {self.report.growth.bare}×")
            if "skew" in self.parts:
                self.report.skew = skew.measure(lab, self.sizes.skew_flips, self.say)

    def _smaller(self, products: int, rows: int) -> tuple[float, float, float]:
        """Ours on the small catalogue, and the bare MERGE on both."""
        with running_lab(self.directory / "small", products, SEED, say=self.say) as lab:
            ours = growth.ours_ms(lab, rows)
        self.say(f"{rows:,} rows among {products:,} products: everywhere after {ours:,.0f} ms")
        small, large = (growth.bare_ms(self.directory / "bare", n, rows, SEED) for n in (products, self.products))
        self.say(f"bare MERGE of {rows:,} rows: {small:,.0f} and {large:,.0f} ms")
        return ours, small, large

    def _peers(self, wanted: list[int]) -> tuple[dict[int, float], dict[int, float], float]:
        return deltas.measure_peers(self.directory / "peers", self.products, SEED, wanted, self.say)


def _delta(
    rows: int, carried: list[Carried], threads: dict[int, float], replication: dict[int, float], full: float
) -> deltas.Delta:
    phases = {name: [one.phases.get(name, 0.0) for one in carried] for name in carried[0].phases}
    return deltas.Delta(
        changed_rows=carried[0].changed_rows,
        everywhere_ms=round(median(one.everywhere_ms for one in carried), 1),
        threads_ms=threads[rows],
        logical_replication_ms=replication[rows],
        full_refresh_ms=round(full, 1),
        skew_ms=round(median(one.skew_ms for one in carried), 2),
        phases={name: round(median(times), 1) for name, times in phases.items()},
    )


def main() -> int:
    """Parses the command line, runs, prints."""
    parser = argparse.ArgumentParser(prog="deploy/run bench", description=__doc__)
    parser.add_argument("--products", type=int, metavar="N", help=f"size of the catalogue (default {FULL:,})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} products and few flips")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    parser.add_argument(
        "--only",
        metavar="PARTS",
        default=",".join(USUAL),
        help=f"some of {', '.join(PARTS)} (default {','.join(USUAL)})",
    )
    parser.add_argument("--flips", type=int, metavar="N", help=f"of the part flips (default {flips.FLIPS:,})")
    parser.add_argument("--releases", type=int, metavar="N", help=f"of the part laggard (default {laggard.RELEASES:,})")
    parser.add_argument("--changes", type=int, metavar="N", help=f"of the part triggers (default {triggers.CHANGES:,})")
    parser.add_argument(
        "--dirty-products", type=int, metavar="N", help="of the part dirty (default: half of --products)"
    )
    parser.add_argument("--dirty-rows", type=int, metavar="N", help=f"of the part dirty (default {dirty.DIRTY_ROWS:,})")
    parser.add_argument(
        "--rollback-products", type=int, metavar="N", help="of the part rollback (default: a tenth of --products)"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page of skews there (part flips)")
    given = parser.parse_args()
    parts = given.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    if given.markdown and "flips" not in parts:
        parser.error("--markdown is for --only flips")
    with _termination_is_interruption(), tempfile.TemporaryDirectory(prefix="distributor-bench-") as directory:
        Path(directory).chmod(0o711)
        report = Bench(Path(directory), _sizes(given), parts).run()
    if given.markdown and report.flips:
        given.markdown.write_text(page(report.flips, machine()), encoding="utf-8")
    if given.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        report.show(Console(highlight=False, soft_wrap=not sys.stdout.isatty()))
    return 0


def _sizes(given: argparse.Namespace) -> Sizes:
    products = given.products or (QUICK if given.quick else FULL)
    return Sizes(
        products=products,
        rollback_products=given.rollback_products or products // ROLLBACK_SHARE,
        skew_flips=skew.QUICK_FLIPS if given.quick else skew.FLIPS,
        flips=given.flips or (flips.QUICK_FLIPS if given.quick else flips.FLIPS),
        releases=given.releases or (laggard.QUICK_RELEASES if given.quick else laggard.RELEASES),
        changes=given.changes or (triggers.QUICK_CHANGES if given.quick else triggers.CHANGES),
        dirty_products=given.dirty_products or products // 2,
        dirty_rows=given.dirty_rows or dirty.DIRTY_ROWS,
        commits=events.QUICK_COMMITS if given.quick else events.COMMITS,
    )


@contextlib.contextmanager
def _termination_is_interruption() -> Iterator[None]:
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    yield


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
