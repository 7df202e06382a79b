"""Skew over many flips, and what flips cost readers: the same staging load with and without them.

With flips every release is loaded twice (staged, then into the old slot once it is free), so the load without flips
stages two releases where the other stages one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Engine

from distributor.ledger import releases
from distributor.ledger.engine import ledger_engine, transaction
from distributor.requests import hold, release_hold, request_rollout
from distributor.rollout.state import Cause, RolloutState
from distributor.settings import Settings, load_settings
from distributor.store.directory import DirectoryStore
from tests.bench.figures import Figure, median, percentile
from tests.bench.lab import ENVIRONMENT, Lab
from tests.bench.reading import Latencies, Readers

FLIPS, QUICK_FLIPS = 100, 10
CHANGED_ROWS = 1_000
PERIOD_SECONDS = 1.2
WHO = "bench"


@dataclass(frozen=True, slots=True)
class Skew:
    """Milliseconds; `ratio` is the readers' p99 with flips beside that without."""

    flips: int
    p50_ms: float
    p99_ms: float
    reader_errors: int
    reads: int
    reader_p99_ms: float
    reader_p99_withheld_ms: float
    ratio: float

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        yield Figure(f"skew over {self.flips} flips, p99", f"{self.p99_ms} ms", "< 50 ms", self.p99_ms < 50)
        yield Figure(f"reader errors in {self.reads:,} reads", str(self.reader_errors), "0", not self.reader_errors)
        p99 = f"({self.reader_p99_ms} ms beside {self.reader_p99_withheld_ms} ms)"
        yield Figure(f"readers' p99, flips beside none {p99}", f"{self.ratio}×", "≤ 1.3×", self.ratio <= 1.3)


def measure(lab: Lab, flips: int, say: Callable[[str], None]) -> Skew:
    """Both loads, one after the other, with the same readers."""
    urls = [place.url for place in lab.estate.places()]
    say(f"{flips} deltas staged and not flipped, then {flips} flipped, at most one in {PERIOD_SECONDS:g} s")
    withheld = _with_readers(urls, lambda: _withheld(lab, flips))
    say(f"readers under staging alone: p99 {percentile(withheld.latencies, 0.99):.1f} ms")
    skews: list[float] = []
    flipping = _with_readers(urls, lambda: skews.extend(_flips(lab, flips)))
    with_flips, without = percentile(flipping.latencies, 0.99), percentile(withheld.latencies, 0.99)
    return Skew(
        flips=len(skews),
        p50_ms=median(skews),
        p99_ms=round(percentile(skews, 0.99), 1),
        reader_errors=len(flipping.errors) + len(withheld.errors),
        reads=len(flipping.latencies) + len(withheld.latencies),
        reader_p99_ms=round(with_flips, 2),
        reader_p99_withheld_ms=round(without, 2),
        ratio=round(with_flips / without, 2),
    )


def _with_readers(urls: list[str], work: Callable[[], None]) -> Latencies:
    readers = Readers(urls)
    try:
        work()
    finally:
        seen = readers.finish()
    return seen


def _flips(lab: Lab, flips: int) -> list[float]:
    """A release each period, flipped and settled; gives the skew of each as the ledger measured it."""
    skews = []
    for _ in range(flips):
        due = time.perf_counter() + PERIOD_SECONDS
        target = lab.shown() + 1
        lab.change(CHANGED_ROWS)
        lab.wait_for(target, time.perf_counter())
        lab.wait_settled()
        last = lab.ledger.environment(ENVIRONMENT).last
        assert last is not None
        assert last.skew_ms is not None
        skews.append(last.skew_ms)
        time.sleep(max(0.0, due - time.perf_counter()))
    return skews


def _withheld(lab: Lab, flips: int) -> None:
    """Two releases each period, staged under a hold: each takes the place of the one before, and none flips."""
    settings = load_settings(lab.estate.config)
    engine = ledger_engine(settings.ledger.url)
    hold(engine, settings, ENVIRONMENT, owner=WHO, reason="flips withheld")
    for _ in range(2 * flips):
        due = time.perf_counter() + PERIOD_SECONDS / 2
        lab.change(CHANGED_ROWS)
        _stage_newest(lab, engine, settings, lab.revision + 1)
        time.sleep(max(0.0, due - time.perf_counter()))
    release_hold(engine, settings, ENVIRONMENT, by=WHO)
    lab.wait_for(lab.revision + 1, time.perf_counter())
    lab.wait_settled()
    engine.dispose()


def _stage_newest(lab: Lab, engine: Engine, settings: Settings, release: int) -> None:
    lab.wait_until(lambda: _newest(engine) == release, f"release {release}")
    state = lab.ledger.environment(ENVIRONMENT)
    if state.active is not None and state.active.release < release:
        store = DirectoryStore(settings.resolve(settings.store.path))
        request_rollout(engine, settings, store, ENVIRONMENT, cause=Cause.OPERATOR, by=WHO, reason="newer")

    def staged() -> bool:
        active = lab.ledger.environment(ENVIRONMENT).active
        return active is not None and active.release == release and active.state is RolloutState.CONVERGED

    lab.wait_until(staged, f"release {release} to be staged everywhere")


def _newest(engine: Engine) -> int:
    with transaction(engine) as conn:
        head = releases.head(conn)
    return head.number if head else 0
