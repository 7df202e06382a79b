"""What a run found: one object, and the matrix fault × point × member as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from distributor.telemetry.faults import Point
from tests.chaos.faults import Fault

LONGEST_RECOVERY = 60.0
"""Seconds; a single recovery beyond this fails the run."""
SHARE = 0.99


@dataclass(frozen=True, slots=True)
class Tried:
    """One fault, and what came of it. `recovery_s`: from when everything was back until the newest was everywhere."""

    name: str
    where: str
    whom: str
    hit: bool
    recovery_s: float


@dataclass
class Report:
    """One run. Lists hold a sentence for each finding."""

    seed: int
    tried: list[Tried] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    manual_steps: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    reader_errors: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    reads: int = 0
    at_rest: int = 0
    releases: int = 0
    seconds: float = 0.0

    def add(self, fault: Fault, *, hit: bool, recovery_s: float) -> None:
        """Notes what came of a fault."""
        self.tried.append(Tried(fault.name, fault.where, fault.whom, hit, round(recovery_s, 2)))

    @property
    def points_hit(self) -> set[str]:
        """The points at which a process died."""
        return {one.where for one in self.tried if one.hit} & {point.value for point in Point}

    @property
    def unhit(self) -> list[str]:
        """Faults that were planned and did not come to pass."""
        return [f"{one.name} {one.where} ({one.whom})" for one in self.tried if not one.hit]

    @property
    def recoveries(self) -> list[float]:
        """Seconds, ascending."""
        return sorted(one.recovery_s for one in self.tried if one.hit)

    @property
    def p99(self) -> float:
        """The recovery below which 99 of 100 lie."""
        found = self.recoveries
        return found[min(len(found) - 1, int(len(found) * SHARE))] if found else 0.0

    @property
    def ok(self) -> bool:
        """Whether every promise held."""
        broken = self.mixed or self.lost or self.manual_steps or self.torn
        return bool(self.tried) and not broken and max(self.recoveries, default=0.0) <= LONGEST_RECOVERY

    def rows(self) -> Iterator[tuple[str, str, str, int, float, float]]:
        """Fault, point or place, whom it struck; how often; median and worst recovery in seconds."""
        found: dict[tuple[str, str, str], list[float]] = {}
        for one in self.tried:
            times = found.setdefault((one.name, one.where, one.whom), [])
            if one.hit:
                times.append(one.recovery_s)
        order = [point.value for point in Point]
        places = sorted(found, key=lambda k: (k[0], order.index(k[1]) if k[1] in order else -1, k[1], k[2]))
        for place in places:
            times = found[place]
            yield (*place, len(times), round(median(times), 2) if times else 0.0, max(times, default=0.0))

    def as_json(self) -> dict[str, Any]:
        """The documented object."""
        names = ("fault", "point", "member", "count", "median_s", "worst_s")
        return {
            "ok": self.ok,
            "faults": len(self.recoveries),
            "points": len(Point),
            "points_hit": len(self.points_hit),
            "mixed": len(self.mixed),
            "lost": len(self.lost),
            "manual_steps": len(self.manual_steps),
            "torn": len(self.torn),
            "reader_errors": len(self.reader_errors),
            "crashes": len(self.crashes),
            "unsettled": len(self.unsettled),
            "recovery_p99_s": self.p99,
            "recovery_worst_s": max(self.recoveries, default=0.0),
            "recovery_median_s": round(median(self.recoveries), 2) if self.recoveries else 0.0,
            "seed": self.seed,
            "seconds": self.seconds,
            "releases": self.releases,
            "reads": self.reads,
            "reads_at_rest": self.at_rest,
            "not_hit": self.unhit,
            "skipped": self.skipped,
            "findings": {
                "mixed": self.mixed,
                "lost": self.lost,
                "manual_steps": self.manual_steps,
                "torn": self.torn,
                "reader_errors": self.reader_errors,
                "crashes": self.crashes,
                "unsettled": self.unsettled,
            },
            "matrix": [dict(zip(names, row, strict=True)) for row in self.rows()],
        }

    def show(self, console: Console) -> None:
        """For eyes."""
        table = Table(box=box.SIMPLE, pad_edge=False)
        for name in ("fault", "point or place", "whom"):
            table.add_column(name)
        for name in ("times", "median s", "worst s"):
            table.add_column(name, justify="right")
        for fault, where, whom, count, middle, worst in self.rows():
            table.add_row(fault, where, whom, str(count), f"{middle:.1f}", f"{worst:.1f}")
        console.print(table)
        told = self.as_json()
        for name, text in self._summary():
            console.print(f"{name:<24} {text}")
        for findings in told["findings"].values():
            for finding in findings:
                console.print(finding)

    def markdown(self) -> str:
        """The figures and the matrix, for a page of the docs."""
        lines = ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in self._summary()), ""]
        lines += ["| fault | point or place | whom | times | median s | worst s |", "|---|---|---|--:|--:|--:|"]
        for fault, where, whom, count, middle, worst in self.rows():
            place = f"`{where}`" if where in list(Point) else where
            lines.append(f"| {fault} | {place} | {whom} | {count} | {middle:.1f} | {worst:.1f} |")
        return "\n".join(lines) + "\n"

    def _summary(self) -> list[tuple[str, str]]:
        told = self.as_json()
        return [
            ("faults", f"{told['faults']} (seed {self.seed}, {self.seconds:.0f} s, {self.releases} releases)"),
            ("points hit", f"{told['points_hit']} of {told['points']}"),
            ("mixed", f"{told['mixed']} in {self.at_rest} looks at an environment at rest"),
            ("lost", str(told["lost"])),
            ("manual steps", str(told["manual_steps"])),
            ("torn reads", f"{told['torn']} in {self.reads}"),
            ("reader errors", f"{told['reader_errors']} while the server was there"),
            ("crashes of our own", str(told["crashes"])),
            ("recovery", f"median {told['recovery_median_s']} s, p99 {self.p99} s, worst {told['recovery_worst_s']} s"),
            ("not hit", ", ".join(self.unhit) or "none"),
            ("skipped", ", ".join(self.skipped) or "none"),
        ]
