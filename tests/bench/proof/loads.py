"""L2: what the read-back adds to the load of a delta: the same loads with it and without it, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from consumers.adapters.base import TableSpec
from consumers.loading import Phases, fill
from consumers.planning import Plan
from distributor.model.certificate import Certificate
from distributor.rollout.member_row import SlotName, other
from distributor.store.chain import Chain, walk
from distributor.store.chunks import read_manifest
from tests.bench.figures import Figure, median
from tests.bench.lab import ENVIRONMENT, Lab
from tests.bench.proof.measured import MeasuredAdapter, UnprovenAdapter, cpu_ms
from tests.bench.stored import Desk, specs

CHANGED_ROWS, REPEATS = 10_000, 9
TARGET = 0.35


@dataclass(frozen=True, slots=True)
class Loads:
    """Medians in milliseconds of one stage: from the plan to the commit, and its server process's time on a core.

    Shares are of the proven load's; those of processor time are None where the kernel does not tell it.
    """

    changed_rows: int
    proven_ms: float
    unproven_ms: float
    share: float
    proven_cpu_ms: float | None
    unproven_cpu_ms: float | None
    cpu_share: float | None

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        times = f"({self.unproven_ms:,.0f} ms without, {self.proven_ms:,.0f} ms with)"
        name = f"proof (L2) of a {self.changed_rows:,}-row stage, share of its time {times}"
        yield Figure(name, f"{self.share:.0%}", f"< {TARGET:.0%}", self.share < TARGET)
        if self.cpu_share is not None:
            name = f"  of the server's processor time ({self.unproven_cpu_ms:,.0f} and {self.proven_cpu_ms:,.0f} ms)"
            yield Figure(name, f"{self.cpu_share:.0%}", f"< {TARGET:.0%}", self.cpu_share < TARGET)


def measure(lab: Lab, desk: Desk, system: str, rows: int, say: Callable[[str], None]) -> Loads:
    """Publishes a delta, then loads it into the shadow again and again, and back. Ends the member's consumer."""
    lab.estate.stop_process(f"{ENVIRONMENT}.{system}")
    settings = desk.settings.environment(ENVIRONMENT).systems[system]
    adapter, bare = (kind(settings, desk.settings.directory) for kind in (MeasuredAdapter, UnprovenAdapter))
    with closing(adapter), closing(bare):
        way = _Way.published(lab, desk, system, adapter, rows)
        found: dict[bool, list[tuple[float, float | None]]] = {True: [], False: []}
        for number in range(REPEATS + 1):
            for one in (adapter, bare) if number % 2 else (bare, adapter):
                took = way.there(one)
                way.back(one)
                if number:  # the first time opens connections and makes staging tables
                    found[one.proves].append(took)
        proven, unproven = (median([wall for wall, _ in found[proves]]) for proves in (True, False))
        share = round(1 - unproven / proven, 3)
        cpu = [_median([cpu for _, cpu in found[proves]]) for proves in (True, False)]
        say(f"{way.rows:,} rows staged in {proven:,.0f} ms, without proof in {unproven:,.0f} ms: {share:.0%}")
    cpu_share = None if cpu[0] is None or cpu[1] is None else round(1 - cpu[1] / cpu[0], 3)
    return Loads(way.rows, proven, unproven, share, cpu[0], cpu[1], cpu_share)


@dataclass(frozen=True, slots=True)
class _Way:
    """From the release that the shadow holds to the next one, and back. The member's row is left as it is."""

    desk: Desk
    slot: SlotName
    tables: tuple[TableSpec, ...]
    forward: Chain
    reverse: Chain
    old: Certificate
    new: Certificate

    @classmethod
    def published(cls, lab: Lab, desk: Desk, system: str, adapter: MeasuredAdapter, rows: int) -> _Way:
        """Changes rows on the master and waits for their release."""
        with adapter.member() as member:
            shadow, slot = member.row.shadow, other(member.row.active)
        held = shadow.release
        assert held is not None
        assert shadow.manifest is not None
        lab.change(rows)
        lab.wait_until(lambda: desk.newest().number > held, f"the release after {held}")
        head = desk.newest()
        mapping = desk.settings.mapping(system)
        tables = specs(desk, system, head.manifest)
        adapter.prepare(ENVIRONMENT, system, tables)
        old, new = (mapping.expected(read_manifest(desk.store, sha)) for sha in (shadow.manifest, head.manifest))
        chain = partial(walk, desk.store)
        return cls(
            desk,
            slot,
            tables,
            chain(head.manifest, head.number, shadow.manifest, held),
            chain(shadow.manifest, held, head.manifest, head.number),
            old,
            new,
        )

    @property
    def rows(self) -> int:
        """Rows that a load writes or deletes."""
        return self.forward.rows

    def there(self, adapter: MeasuredAdapter) -> tuple[float, float | None]:
        """Loads the next release: milliseconds, and those of the server process on a core."""
        before, begun = cpu_ms(adapter.loading_pid), time.perf_counter()
        self._load(adapter, self.forward, self.old, self.new)
        wall, after = (time.perf_counter() - begun) * 1000, cpu_ms(adapter.loading_pid)
        return wall, None if before is None or after is None else after - before

    def back(self, adapter: MeasuredAdapter) -> None:
        """Loads the release that was there."""
        self._load(adapter, self.reverse, self.new, self.old)

    def _load(self, adapter: MeasuredAdapter, chain: Chain, base: Certificate, wanted: Certificate) -> None:
        with adapter.loading(self.slot) as loading:
            found = fill(loading, Plan(chain, base), self.tables, self.desk.store, Phases(), lambda: None)
            if adapter.proves and (wrong := found.difference(wanted)):
                raise RuntimeError("; ".join(wrong))
            loading.commit(lambda row: row)


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known and len(known) == len(values) else None
