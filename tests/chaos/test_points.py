"""No point is forgotten: each is passed somewhere, and some process of the chaos runner dies at it. No servers."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from distributor.telemetry import faults
from distributor.telemetry.faults import KILLED, Point
from tests.chaos.cast import PROCESSES, REQUIRED, kind_of
from tests.chaos.kills import REVERTS, KillAtPoint, KillInRevert
from tests.chaos.plan import drawn, every_fault, victims_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("point", Point)
def test_a_point_has_a_process_that_passes_it(point: Point) -> None:
    assert set(victims_of(point)) <= set(PROCESSES)
    assert victims_of(point)


@pytest.mark.parametrize("point", Point)
def test_a_point_stands_in_the_code_of_its_process(point: Point) -> None:
    package = ROOT / ("consumers" if point.startswith("consumer.") else "distributor")
    sources = [path for path in package.rglob("*.py") if path.name != "faults.py"]
    assert [path for path in sources if re.search(rf"\bPoint\.{point.name}\b", path.read_text())]


def test_a_full_run_kills_every_kind_of_process_at_every_point_of_it() -> None:
    planned = every_fault(Random(1))
    killed = {(f.point, kind_of(f.victim)) for f in planned if isinstance(f, KillAtPoint | KillInRevert)}
    assert killed == {(point, kind_of(victim)) for point in Point for victim in victims_of(point)}
    assert {f.victim for f in planned if isinstance(f, KillInRevert)} <= REQUIRED
    assert {f.point for f in planned if isinstance(f, KillInRevert)} == set(REVERTS)


def test_a_run_tries_each_fault_before_it_tries_one_again() -> None:
    known = every_fault(Random(1))
    assert len(known) < 150, "the default run does not try all of them any more"
    assert set(drawn(known, 150, Random(2))) == set(known)
    assert max(Counter(drawn(known, len(known), Random(3))).values()) == 1
    assert drawn(known, 40, Random(4)) == drawn(known, 40, Random(4))


@pytest.mark.parametrize(("passing", "left"), [("", 1), (":3", 3)])
def test_a_process_dies_at_the_passing_that_was_armed(passing: str, left: int) -> None:
    done = _passing(f"{Point.RELAY_BEFORE_SEND}{passing}", "")
    assert (done.returncode, done.stdout) == (KILLED, "passed\n" * (left - 1))


def test_a_process_that_runs_is_armed_by_a_file_which_is_gone_when_it_has_died(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    arming = f"open({str(trap)!r}, 'w').write('{Point.RELAY_BEFORE_SEND}:2')"
    done = _passing(f"@{trap}", arming)
    assert (done.returncode, done.stdout) == (KILLED, "passed\n" * 3)
    assert not trap.exists()


def test_without_the_variable_nothing_is_asked() -> None:
    assert faults.armed_by("") is None
    assert _passing("", "").stdout == "passed\n" * 6


def test_a_point_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        faults.armed_by("nowhere.at_all")


def _passing(wanted: str, after_two: str) -> subprocess.CompletedProcess[str]:
    """Six passings in a process of its own; after two of them it does something."""
    program = f"""
from distributor.telemetry.faults import Point, point
for number in range(6):
    if number == 2:
        {after_two or "pass"}
    point(Point.RELAY_BEFORE_SEND)
    point(Point.RELAY_AFTER_SEND)
    print("passed", flush=True)
"""
    return subprocess.run(
        [sys.executable, "-c", program],
        env={"DISTRIBUTOR_FAULT": wanted},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
