"""L3: a full audit of a slot beside a bare md5 scan of the same tables in the same database.

The bare scan is what anybody would write: one md5 of each row's own text, both halves summed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import make_conninfo

from consumers.adapters.base import TableSpec
from consumers.adapters.postgresql_layout import slot_table
from distributor.rollout.member_row import SlotName
from tests.bench.figures import Figure, median
from tests.bench.lab import ENVIRONMENT, Lab
from tests.bench.proof.measured import MeasuredAdapter, cpu_ms
from tests.bench.stored import Desk, specs

REPEATS = 3
TARGET = 1.5
_SERIAL = "-c max_parallel_workers_per_gather=0"


@dataclass(frozen=True, slots=True)
class Scan:
    """Medians in milliseconds; processor time is that of the one server process, None where it is not told."""

    bare_ms: float
    audit_ms: float
    ratio: float
    bare_cpu_ms: float | None = None
    audit_cpu_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Scans:
    """All tables of one slot. `usual`: as the adapter does it, on as many workers as the server gives either."""

    rows: int
    usual: Scan
    serial: Scan

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        for what, scan in (("", self.usual), (", one process each", self.serial)):
            times = f"({scan.audit_ms:,.0f} ms beside {scan.bare_ms:,.0f} ms)"
            name = f"audit (L3) of {self.rows:,} rows beside a bare md5 scan{what} {times}"
            yield Figure(name, f"{scan.ratio}×", f"≤ {TARGET}×", scan.ratio <= TARGET)


def measure(lab: Lab, desk: Desk, system: str, say: Callable[[str], None]) -> Scans:
    """Both ways, in turns, after one unmeasured round of each."""
    (place,) = (place for place in lab.estate.places() if place.system == system)
    usual = _Beside(desk, system, place.url)
    serial = _Beside(desk, system, make_conninfo(place.url, options=_SERIAL))
    with closing(usual), closing(serial):
        usual.vacuum()
        rows = usual.bare()
        for _ in range(REPEATS):
            for one in (serial, usual):
                one.once()
        say(
            f"audit of {rows:,} rows: {median(usual.audits):,.0f} ms, bare scan {median(usual.bares):,.0f} ms;"
            f" one process each: {median(serial.audits):,.0f} and {median(serial.bares):,.0f} ms"
        )
        return Scans(rows, usual.scan(), serial.scan(cpu=True))


class _Beside:
    """One way to scan: audits and bare scans through the same connection string."""

    def __init__(self, desk: Desk, system: str, url: str) -> None:
        settings = desk.settings.environment(ENVIRONMENT).systems[system]
        self.adapter = MeasuredAdapter(settings.model_copy(update={"url": url}), desk.settings.directory)
        self.plain = psycopg.connect(url, autocommit=True)
        self.slot, self.tables = self._online(desk, system)
        self.audits: list[float] = []
        self.bares: list[float] = []
        self._cpu: dict[str, list[float | None]] = {"bare": [], "audit": []}
        self.audit()

    def once(self) -> None:
        """One bare scan and one audit."""
        self.bares.append(self._timed("bare", self.plain.info.backend_pid, self.bare))
        self.audits.append(self._timed("audit", self.adapter.auditing_pid, self.audit))

    def bare(self) -> int:
        """The bare scan; gives the rows."""
        return sum(bare_scan(self.plain, self.slot, self.tables))

    def audit(self) -> None:
        """The audit."""
        with self.adapter.auditing() as snapshot:
            for table in self.tables:
                snapshot.buckets(self.slot, table)

    def vacuum(self) -> None:
        """What a first load leaves to autovacuum would else fall upon one of the scans."""
        for table in self.tables:
            self.plain.execute(f"VACUUM ANALYZE {slot_table(self.slot, table)}".encode())

    def scan(self, *, cpu: bool = False) -> Scan:
        """What was found. With several workers, the processor time of one of them says nothing."""
        bare, audit = median(self.bares), median(self.audits)
        times = {name: [ms for ms in found if ms is not None] for name, found in self._cpu.items()}
        known = cpu and len(times["bare"]) == len(times["audit"]) == len(self.bares)
        bare_cpu, audit_cpu = (median(times[name]) if known else None for name in ("bare", "audit"))
        return Scan(bare, audit, round(audit / bare, 2), bare_cpu, audit_cpu)

    def close(self) -> None:
        """Gives connections back."""
        self.plain.close()
        self.adapter.close()

    def _timed(self, name: str, pid: int | None, work: Callable[[], object]) -> float:
        before, begun = cpu_ms(pid), time.perf_counter()
        work()
        wall, after = (time.perf_counter() - begun) * 1000, cpu_ms(pid)
        self._cpu[name].append(None if before is None or after is None else after - before)
        return wall

    def _online(self, desk: Desk, system: str) -> tuple[SlotName, tuple[TableSpec, ...]]:
        with self.adapter.auditing() as snapshot:
            row = snapshot.row
        assert row.online.manifest is not None
        return row.active, specs(desk, system, row.online.manifest)


def bare_scan(connection: psycopg.Connection, slot: SlotName, tables: Sequence[TableSpec]) -> Iterator[int]:
    """Scans table by table; gives the rows of each."""
    for table in tables:
        # The volatile column keeps the planner from writing md5 out twice, and costs nothing.
        query = (
            "SELECT count(*), sum(('x' || substr(hash, 1, 16))::bit(64)::bigint),"
            " sum(('x' || substr(hash, 17, 16))::bit(64)::bigint)"
            f" FROM (SELECT md5(t::text) AS hash, pg_is_in_recovery() FROM {slot_table(slot, table)} AS t) AS hashes"
        )
        row = connection.execute(query.encode()).fetchone()
        yield int(row[0]) if row else 0
