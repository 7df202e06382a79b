"""L2: what the read-back adds to the load of a delta: the same loads with it and without it, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from consumers.adapters.base import TableSpec
from consumers.loading import Phases, fill
from consumers.planning import Plan
from distributor.mapping.compiled import expected_of
from distributor.model.certificate import Certificate
from distributor.rollout.member_row import SlotName, other
from distributor.store.base import Store
from distributor.store.chain import walk
from distributor.store.chunks import read_manifest
from tests.bench.figures import Figure, median
from tests.bench.lab import ENVIRONMENT, Lab
from tests.bench.proof.measured import MeasuredAdapter, UnprovenAdapter, cpu_ms
from tests.bench.stored import Desk, specs

CHANGED_ROWS, REPEATS = 10_000, 9
TARGET = 0.35


@dataclass(frozen=True, slots=True)
class Took:
    """One stage in milliseconds, from looking for the way to the commit; or the medians of many.

    Processor time is the server process's, and of that and the consumer's together; None where it is not told.
    """

    wall_ms: float
    server_cpu_ms: float | None
    cpu_ms: float | None


@dataclass(frozen=True, slots=True)
class Loads:
    """Medians with proof and without, and which share of the proven stage the proof is."""

    changed_rows: int
    proven: Took
    unproven: Took
    share: float
    server_cpu_share: float | None
    cpu_share: float | None

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets. The server's work is a part of the stage, so its share has no target."""
        for what, share, field, target in (
            ("of its time", self.share, "wall_ms", TARGET),
            ("of its processor time", self.cpu_share, "cpu_ms", TARGET),
            ("of the server's part of that", self.server_cpu_share, "server_cpu_ms", None),
        ):
            if share is not None:
                times = f"{getattr(self.unproven, field):,.0f} ms without, {getattr(self.proven, field):,.0f} ms with"
                name = f"proof (L2) of a {self.changed_rows:,}-row stage, share {what} ({times})"
                kept = None if target is None else share < target
                yield Figure(name, f"{share:.0%}", f"< {target:.0%}" if target else "", kept)


def measure(lab: Lab, desk: Desk, system: str, rows: int, say: Callable[[str], None]) -> Loads:
    """Publishes a delta, then loads it into the shadow again and again, and back. Ends the member's consumer."""
    lab.estate.stop_process(f"{ENVIRONMENT}.{system}")
    settings = desk.settings.environment(ENVIRONMENT).systems[system]
    adapter, bare = (kind(settings, desk.settings.directory) for kind in (MeasuredAdapter, UnprovenAdapter))
    found: dict[bool, list[Took]] = {True: [], False: []}
    with closing(adapter), closing(bare):
        way = _Way.published(lab, desk, system, adapter, rows)
        for number in range(REPEATS + 1):
            for one in (adapter, bare) if number % 2 else (bare, adapter):
                took = way.there(one)
                way.back(one)
                if number:  # the first time opens connections and makes staging tables
                    found[one.proves].append(took)
    loads = loads_of(way.rows, found[True], found[False])
    times = f"{loads.proven.wall_ms:,.0f} ms, without proof in {loads.unproven.wall_ms:,.0f} ms"
    say(f"{way.rows:,} rows staged in {times}: {loads.share:.0%}")
    return loads


def loads_of(rows: int, proven: Sequence[Took], unproven: Sequence[Took]) -> Loads:
    """Medians and shares."""
    with_proof, without = _median(proven), _median(unproven)
    server, both = (
        None if before is None or after is None else round(1 - before / after, 3)
        for before, after in ((without.server_cpu_ms, with_proof.server_cpu_ms), (without.cpu_ms, with_proof.cpu_ms))
    )
    share = round(1 - without.wall_ms / with_proof.wall_ms, 3)
    return Loads(rows, with_proof, without, share, server, both)


@dataclass(frozen=True, slots=True)
class _End:
    """A release as an end of the way: its manifest's sha256 and its certificate."""

    number: int
    manifest: str
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class _Way:
    """From the release that the shadow holds to the next one, and back. The member's row is left as it is."""

    store: Store
    slot: SlotName
    tables: tuple[TableSpec, ...]
    old: _End
    new: _End
    rows: int

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
        tables = specs(desk, system, head.manifest)
        adapter.prepare(ENVIRONMENT, system, tables)
        mapping = desk.settings.mapping(system)
        old, new = (
            _End(number, sha, expected_of(mapping, read_manifest(desk.store, sha)) or Certificate())
            for number, sha in ((held, shadow.manifest), (head.number, head.manifest))
        )
        return cls(
            desk.store, slot, tables, old, new, walk(desk.store, new.manifest, new.number, old.manifest, held).rows
        )

    def there(self, adapter: MeasuredAdapter) -> Took:
        """Loads the next release."""
        server, ours, begun = cpu_ms(adapter.loading_pid), time.process_time(), time.perf_counter()
        self._load(adapter, self.old, self.new)
        wall, used, after = time.perf_counter() - begun, time.process_time() - ours, cpu_ms(adapter.loading_pid)
        theirs = None if server is None or after is None else after - server
        return Took(wall * 1000, theirs, None if theirs is None else theirs + used * 1000)

    def back(self, adapter: MeasuredAdapter) -> None:
        """Loads the release that was there."""
        self._load(adapter, self.new, self.old)

    def _load(self, adapter: MeasuredAdapter, start: _End, end: _End) -> None:
        chain = walk(self.store, end.manifest, end.number, start.manifest, start.number)
        with adapter.loading(self.slot) as loading:
            plan = Plan(chain, start.certificate)
            found = fill(loading, plan, self.tables, self.store, Phases(), lambda: None)
            if adapter.proves and (wrong := found.difference(end.certificate)):
                raise RuntimeError("; ".join(wrong))
            loading.commit(lambda row: row)


def _median(all_took: Sequence[Took]) -> Took:
    server = [took.server_cpu_ms for took in all_took if took.server_cpu_ms is not None]
    both = [took.cpu_ms for took in all_took if took.cpu_ms is not None]
    told = len(server) == len(both) == len(all_took)
    wall = median([took.wall_ms for took in all_took])
    return Took(wall, median(server) if told else None, median(both) if told else None)
