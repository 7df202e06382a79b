"""The short form of the chaos run: one fault of each family over real processes, and proof that its eyes are open."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psycopg
import pytest

from distributor.telemetry.faults import Point
from tests.chaos.cast import BROKER, COORDINATORS, LEDGER
from tests.chaos.faults import Fault, Struck
from tests.chaos.kills import KillAtPoint, KillAtRandom
from tests.chaos.lab import Lab
from tests.chaos.outages import CutLine, RestartServer
from tests.chaos.report import Report
from tests.chaos.runner import Runner

pytestmark = pytest.mark.services

PRODUCTS = 300
SHORT: list[Fault] = [
    KillAtPoint(Point.BETWEEN_COMMITS, "publisher"),
    KillAtPoint(Point.FLIP_BEFORE_COMMIT, "crm"),
    KillAtPoint(Point.LOAD_AFTER_COMMIT, "pos"),
    KillAtRandom(COORDINATORS, "both coordinators"),
    CutLine("sales", BROKER, "to the broker"),
    RestartServer(LEDGER, "PostgreSQL of the ledger", kill=True),
]


@dataclass(frozen=True, slots=True)
class ByHand:
    """Somebody changes what the readers of crm see, behind everybody's back, until it is `noticed` or for good."""

    statement: str
    back: str = ""
    noticed: Callable[[Lab], bool] = lambda _: True
    name: str = "changed by hand"
    where: str = ""
    whom: str = "crm"

    def strike(self, lab: Lab, chance: Random) -> Struck:
        lab.change()
        moment = lab.wait(lambda: lab.everywhere() and lab.at_rest(), 60, "the change")
        place = lab.systems["crm"].place
        with psycopg.connect(place.url, autocommit=True) as crm:
            crm.execute(self.statement.encode())
            if self.back:
                lab.wait(lambda: self.noticed(lab), 20, "somebody to notice")
                crm.execute(self.back.encode())
        return Struck(moment)


ALTERED = """
UPDATE distributor_{0}.products SET name = 'another'
WHERE product_id = 1 AND (SELECT slot FROM distributor.active) = '{0}'
"""
BY_HAND: list[Fault] = [
    ByHand(
        "UPDATE distributor.release SET release = release + 1000",
        "UPDATE distributor.release SET release = release - 1000",
        lambda lab: bool(lab.watch.mixed),
    ),
    ByHand("; ".join(ALTERED.format(slot) for slot in "ab")),
]
FORGED = "crm 10"


@pytest.fixture(scope="module")
def report(services_directory: Path) -> Iterator[Report]:
    state = services_directory / "chaos"
    runner = Runner(state, seed=5, say=lambda text: print(text, file=sys.stderr), products=PRODUCTS)
    yield runner.run(len(SHORT), lambda _: [*SHORT, *BY_HAND])
    shutil.rmtree(state, ignore_errors=True)


def test_after_each_fault_everybody_shows_the_newest_release_whole_and_unaided(report: Report) -> None:
    assert not report.unhit
    assert len(report.points_hit) == sum(isinstance(fault, KillAtPoint) for fault in SHORT)
    assert not report.manual_steps + report.torn + report.reader_errors + report.crashes
    assert not [seen for seen in report.mixed if FORGED not in seen]
    assert not [found for found in report.lost if not found.startswith("changed by hand")]
    assert report.at_rest > 0


def test_a_mixture_and_a_wrong_row_are_seen(report: Report) -> None:
    assert [seen for seen in report.mixed if FORGED in seen]
    assert [found for found in report.lost if "prod.crm: products: stored 1 | " in found]
    assert not report.ok
