"""The pure parts of the bench: what it makes of the figures that it has measured."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.console import Console

from tests.bench.figures import BAR, BUCKETS_MS, Distribution, percentile
from tests.bench.flips import Flips, Skews
from tests.bench.laggard import Laggard
from tests.bench.page import page
from tests.bench.proof import Proof
from tests.bench.proof.loads import Took, loads_of
from tests.bench.proof.repairs import Repairs
from tests.bench.proof.scans import Scan, Scans
from tests.bench.report import Report
from tests.bench.rollback import Rollback, Way
from tests.bench.triggers import Latencies, Triggers

QUICK = Skews(Distribution.of([0.4, 3.0, 12.5]), Distribution.of([0.5, 3.1, 12.0]), 1.5)
SLOW = Skews(Distribution.of([30.0] * 98 + [150.0] * 2), Distribution.of([30.0] * 100), 2.5)
FLIPS = Flips("18.4", 20_000, 6, 10, QUICK, SLOW, 20.0, 4_000, 0)
KEPT = Way(times=3, median_ms=200.0, max_ms=300.0, rows=0, audits=21, equal=21)
ROLLBACK = Rollback(7, 100_000, 10_000, KEPT, replace(KEPT, rows=10_000, equal=20))
LAGGARD = Laggard(1_000, 100, 1_000_000, 4_500.0, 100_000, 3_000.0, 100_000)
PROOF = Proof(
    loads_of(10_000, [Took(300.0, 150.0, 280.0)] * 3, [Took(210.0, 90.0, 168.0)] * 3),
    Scans(2_000_045, Scan(4_000.0, 5_600.0, 1.4), Scan(6_000.0, 9_600.0, 1.6, 5_900.0, 9_500.0)),
    Repairs(1_000, 1_000_000, 11_000.0, 3_000.0, 5_000.0, 4_000.0, 2.75),
)


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1_000, 0, -1)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 501.0, 991.0, 1_000.0]
    assert percentile([7.0], 0.99) == 7.0


def test_a_bucket_holds_its_upper_bound() -> None:
    found = Distribution.of([1.0, 1.01, 2.0, 200.0, 200.1])
    assert found.histogram == (1, 2, 0, 0, 0, 0, 0, 1, 1)
    assert (found.count, found.p50_ms, found.max_ms) == (5, 2.0, 200.1)
    assert sum(found.histogram) == found.count
    assert len(found.histogram) == len(BUCKETS_MS) + 1


def test_no_values_have_no_distribution() -> None:
    with pytest.raises(ValueError, match="no values"):
        Distribution.of([])


def test_bars_are_as_long_as_their_share_and_never_hide_one() -> None:
    bars = Distribution.of([0.5] * 4_000 + [1.5] * 2_000 + [8.0]).bars()
    assert bars == [
        f"≤   1 ms │{'█' * BAR} 4,000",
        f"≤   2 ms │{'█' * (BAR // 2)} 2,000",
        "≤   5 ms │ 0",
        "≤  10 ms │▏ 1",
    ]
    assert Distribution.of([999.0]).bars()[-1] == f"> 200 ms │{'█' * BAR} 1"


def test_each_figure_stands_beside_its_target() -> None:
    report = Report(1_000_000, rollback=ROLLBACK, laggard=LAGGARD, flips=FLIPS, proof=PROOF)
    told = [(figure.value, figure.target, figure.kept) for figure in report.figures() if figure.target]
    assert told == [
        ("200 ms (longest 300 ms)", "< 5 s", True),
        ("21 of 21", "all", True),
        ("200 ms (longest 300 ms)", "< 5 s", True),
        ("20 of 21", "all", False),
        ("1.5×", "≤ 3×", True),
        ("12.5 ms", "< 20 ms", True),
        ("12.0 ms", "< 20 ms", True),
        ("150.0 ms", "< 100 ms", False),
        ("30.0 ms", "< 100 ms", True),
        ("0", "0", True),
        ("30%", "< 35%", True),
        ("40%", "< 35%", False),
        ("1.4×", "≤ 1.5×", True),
        ("1.6×", "≤ 1.5×", False),
        ("2.75×", "< 3×", True),
    ]


def test_processor_time_that_is_not_told_of_every_load_is_told_of_none() -> None:
    loads = loads_of(10_000, [Took(2.0, 1.0, 2.0), Took(4.0, None, None), Took(4.0, 1.0, 2.0)], [Took(1.0, 1.0, 1.0)])
    assert (loads.share, loads.server_cpu_share, loads.cpu_share) == (0.75, None, None)
    assert [figure.value for figure in loads.figures()] == ["75%"]


def test_the_report_is_an_object_and_a_table() -> None:
    report = Report(1_000_000, rollback=ROLLBACK, laggard=LAGGARD, flips=FLIPS, proof=PROOF)
    told = json.loads(json.dumps(report.as_json()))
    assert told["flips"]["readers"]["reported"]["p99_ms"] == 150.0
    assert len(told["flips"]["idle"]["committed"]["histogram"]) == len(told["flips"]["histogram_bounds_ms"]) + 1
    assert told["rollback"]["reverse"]["equal"] == 20
    assert (told["laggard_ratio"], told["laggard"]["releases"]) == (1.5, 1_000)
    assert told["proof"]["scans"]["usual"]["ratio"] == 1.4
    assert (told["deltas"], told["growth"], told["skew"]) == ([], None, None)
    console = Console(width=200, highlight=False, color_system=None)
    with console.capture() as shown:
        report.show(console)
    assert "MISSED" in shown.get()
    assert all(bar in shown.get() for bar in SLOW.reported.bars())


def test_the_page_tells_command_machine_and_histograms() -> None:
    text = page(FLIPS, "a machine with 2 cores")
    assert "deploy/run bench --only flips --flips 3 --markdown docs/skew.md" in text
    assert "a machine with 2 cores" in text
    assert "PostgreSQL 18.4" in text.replace("\n", " ")
    assert "| idle | the ledger | 3.0 ms | 12.5 ms | 12.5 ms | 12.5 ms | < 20 ms |" in text
    for bar in (*QUICK.reported.bars(), *SLOW.reported.bars(), *SLOW.committed.bars()):
        assert f"\n{bar}\n" in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_triggers_are_judged_by_the_time_over_their_quiet_periods() -> None:
    few, many = Distribution.of([20.0] * 99 + [60.0]), Distribution.of([150.0] * 50 + [350.0] * 50)
    at_once = Latencies(release=few, rollout=few, together=few, notify=few)
    figures = list(Triggers(100, 3, 300, 200, at_once, replace(at_once, together=many)).figures())
    assert [(figure.value, figure.kept) for figure in figures if figure.target] == [
        ("60.0 ms", True),
        ("350.0 ms", False),
    ]
    assert any("300 ms" in figure.name for figure in figures)
