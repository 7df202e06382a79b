"""The skew of many flips of a small delta, with idle systems and with readers on all of them.

Two clocks tell: the skew that the ledger measured from the members' reports, which is what users are told, and the
commit times that the systems' server itself keeps, which no member has a hand in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Distribution, Figure
from tests.bench.lab import ENVIRONMENT, Lab, running_lab
from tests.bench.reading import READS_PER_SECOND, Readers

PRODUCTS, CHANGED_ROWS = 20_000, 10
FLIPS, QUICK_FLIPS = 1_000, 20
IDLE_TARGET_MS, READERS_TARGET_MS = 20, 100
_WARM_UP, _TELL_EVERY = 5, 50
_COMMITTED = "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 * 1000 FROM distributor.release"


@dataclass(frozen=True, slots=True)
class Skews:
    """One load: the skew as the ledger measured it, by the server's commit times, and how sure the ledger was."""

    reported: Distribution
    committed: Distribution
    uncertainty_p99_ms: float


@dataclass(frozen=True, slots=True)
class Flips:
    """Both loads. `reads_per_second` of each system in the second one, `reads` and `reader_errors` of all together."""

    postgresql: str
    products: int
    systems: int
    changed_rows: int
    idle: Skews
    readers: Skews
    reads_per_second: float
    reads: int
    reader_errors: int

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        for what, skews, target in (
            ("idle", self.idle, IDLE_TARGET_MS),
            ("with readers", self.readers, READERS_TARGET_MS),
        ):
            told, seen = skews.reported, skews.committed
            name = f"skew over {told.count:,} flips of {self.changed_rows} rows, {what}, p99"
            yield Figure(name, f"{told.p99_ms} ms", f"< {target} ms", told.p99_ms < target)
            yield Figure("  p50, p90, max", f"{told.p50_ms}, {told.p90_ms}, {told.max_ms} ms")
            within = seen.p99_ms < target
            yield Figure("  by the server's commit times, p99", f"{seen.p99_ms} ms", f"< {target} ms", within)
        errors = f"reader errors in {self.reads:,} reads beside those flips"
        yield Figure(errors, str(self.reader_errors), "0", not self.reader_errors)


def measure(directory: Path, flips: int, seed: int, say: Callable[[str], None]) -> Flips:
    """Both loads on an estate of their own, one flip after the other as fast as it settles."""
    with running_lab(directory, PRODUCTS, seed, say=say, commit_times=True) as lab:
        _flip(lab, _WARM_UP, "warm-up", lambda _: None)
        idle = _flip(lab, flips, "idle", say)
        readers = Readers([place.url for place in lab.estate.places()])
        try:
            beside = _flip(lab, flips, "with readers", say)
        finally:
            seen = readers.finish()
        return Flips(
            postgresql=lab.master.info.parameter_status("server_version") or "",
            products=PRODUCTS,
            systems=len(lab.estate.places()),
            changed_rows=CHANGED_ROWS,
            idle=idle,
            readers=beside,
            reads_per_second=READS_PER_SECOND,
            reads=len(seen.latencies),
            reader_errors=len(seen.errors),
        )


def _flip(lab: Lab, flips: int, load: str, say: Callable[[str], None]) -> Skews:
    reported, committed, unsure = [], [], []
    for number in range(1, flips + 1):
        target = lab.shown() + 1
        lab.change(CHANGED_ROWS)
        _wait_for(lab, target)
        last = lab.ledger.environment(ENVIRONMENT).last
        if last is None or last.release != target or last.skew_ms is None:
            raise RuntimeError(f"release {target} is online and the ledger tells no skew: {last}")
        reported.append(last.skew_ms)
        unsure.append(last.skew_uncertainty_ms or 0.0)
        commits = [float(reader.ask(_COMMITTED)[0][0]) for reader in lab.readers]
        committed.append(max(commits) - min(commits))
        if number % _TELL_EVERY == 0 or number == flips:
            so_far = Distribution.of(reported)
            say(f"{number:,} of {flips:,} flips, {load}: skew p50 {so_far.p50_ms} ms, p99 {so_far.p99_ms} ms")
    return Skews(Distribution.of(reported), Distribution.of(committed), Distribution.of(unsure).p99_ms)


def _wait_for(lab: Lab, release: int) -> None:
    """Nobody but the ledger is asked: to look at the systems while they flip would be to read them."""
    lab.wait_until(lambda: lab.shown() == release, f"release {release}")
    lab.wait_settled()
