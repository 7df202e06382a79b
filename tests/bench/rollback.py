"""How long the whole estate takes to go back: while shadows keep the previous release, and by reverse changesets.

Seven systems, two of them SQLite files. Every time all of them are audited afterwards: each must store, to the last
row, what it reported when that release was online.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from distributor.demo.systems import ENVIRONMENTS
from distributor.ledger import timeline
from distributor.ledger.engine import transaction
from distributor.requests import rollback
from distributor.rollout.state import Rollout
from tests.bench.figures import Figure, median
from tests.bench.growth import rows_for
from tests.bench.lab import ENVIRONMENT, Lab, running_lab
from tests.bench.stored import Desk, audited_digest, desk_of

SYSTEMS = ENVIRONMENTS[0].systems
REPEATS = 3
TARGET_MS = 5_000
_KEEP_PREVIOUS = "1h"
_WHO = "bench"


@dataclass(frozen=True, slots=True)
class Way:
    """One way back: milliseconds from the request until every system showed the release, the median and the longest.

    `rows` is what the largest load wrote. Of `audits`, one per system and time, `equal` found the certificate that the
    system had reported when that release was online.
    """

    times: int
    median_ms: float
    max_ms: float
    rows: int
    audits: int
    equal: int


@dataclass(frozen=True, slots=True)
class Rollback:
    """`kept`: one flip, the shadows still have the previous release. `reverse`: two releases back."""

    systems: int
    products: int
    changed_rows: int
    kept: Way
    reverse: Way

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        what = f"{self.changed_rows:,} rows among {self.products:,} products, {self.systems} systems"
        reverse = f"rollback by reverse changesets, loads of {self.reverse.rows:,} rows"
        for name, way in ((f"rollback of {what}, kept", self.kept), (reverse, self.reverse)):
            value = f"{way.median_ms:,.0f} ms (longest {way.max_ms:,.0f} ms)"
            yield Figure(name, value, f"< {TARGET_MS // 1000} s", way.max_ms < TARGET_MS)
            equal = way.equal == way.audits
            yield Figure("  audits that equal the recorded certificate", f"{way.equal} of {way.audits}", "all", equal)


@dataclass(frozen=True, slots=True)
class _Took:
    ms: float
    rows: int
    equal: int


def measure(directory: Path, products: int, seed: int, say: Callable[[str], None]) -> Rollback:
    """Both ways, in turns, on an estate of their own."""
    kept, reverse = [], []
    with (
        running_lab(directory, products, seed, say=say, systems=SYSTEMS, keep_previous=_KEEP_PREVIOUS) as lab,
        desk_of(lab) as desk,
    ):
        rows = changed = rows_for(products)
        for number in range(REPEATS):
            before = _recorded(lab, desk)
            changed = _forward(lab, rows)
            kept.append(_back(lab, desk, before, to=None))
            lab.estate.verb("deploy", environment=ENVIRONMENT)
            _forward(lab, rows)
            reverse.append(_back(lab, desk, before, to=before.release))
            lab.estate.verb("deploy", environment=ENVIRONMENT)
            ways = f"one flip {kept[-1].ms:,.0f} ms, {reverse[-1].rows:,} rows reversed {reverse[-1].ms:,.0f} ms"
            say(
                f"rollback {number + 1} of {REPEATS}: {ways}; audits as recorded: {kept[-1].equal}, {reverse[-1].equal}"
            )
    return Rollback(len(SYSTEMS), products, changed, _way(kept), _way(reverse))


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What every member reported when a release went online: digests of certificates."""

    release: int
    digests: dict[str, str]


def _recorded(lab: Lab, desk: Desk) -> _Recorded:
    rollout = _last(lab)
    with transaction(desk.engine) as conn:
        found = timeline.entries(conn, rollout_id=rollout.id)
    digests = {
        entry.member: str(entry.detail["certificate"])
        for entry in found
        if entry.kind == "member-staged" and entry.member and entry.detail
    }
    if missing := {system.name for system in SYSTEMS} - digests.keys():
        raise RuntimeError(f"no certificate of {', '.join(missing)} was recorded for release {rollout.release}")
    return _Recorded(rollout.release, digests)


def _forward(lab: Lab, rows: int) -> int:
    """The next release goes online; gives its changed rows."""
    target = lab.revision + 2
    batch = lab.change(rows)
    lab.wait_for(target, time.perf_counter())
    _wait_idle(lab)
    return 2 * batch.products


def _back(lab: Lab, desk: Desk, before: _Recorded, *, to: int | None) -> _Took:
    begun = time.perf_counter()
    rollback(desk.engine, desk.settings, desk.store, ENVIRONMENT, to=to, by=_WHO, reason="measured")
    took = lab.wait_for(before.release, begun)
    _wait_idle(lab)
    told = lab.estate.verb("rollout", rollout_id=_last(lab).id)
    equal = sum(audited_digest(desk, system) == digest for system, digest in before.digests.items())
    return _Took(took, max(member["rows"] or 0 for member in told["members"]), equal)


def _last(lab: Lab) -> Rollout:
    last = lab.ledger.environment(ENVIRONMENT).last
    assert last is not None
    return last


def _wait_idle(lab: Lab) -> None:
    lab.wait_until(lambda: lab.ledger.environment(ENVIRONMENT).active is None, "the end of the rollout")


def _way(all_took: list[_Took]) -> Way:
    times = [took.ms for took in all_took]
    return Way(
        times=len(times),
        median_ms=median(times),
        max_ms=round(max(times), 1),
        rows=max(took.rows for took in all_took),
        audits=len(SYSTEMS) * len(all_took),
        equal=sum(took.equal for took in all_took),
    )
