"""One fault after the other, and after each: is everybody on the newest release, whole, and without anybody's help?"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from distributor.errors import DistributorError
from distributor.local.rabbitmq import LocalRabbitMQ
from tests.chaos.cast import PUBLISHER
from tests.chaos.faults import Fault, Struck, WrongEnd
from tests.chaos.lab import Lab
from tests.chaos.plan import drawn, every_fault
from tests.chaos.report import Report

PRODUCTS = 1_500
BOUND_SECONDS = 120.0
REST_SECONDS = 20.0
_LAST_CHANGES, _LAST_SECONDS = 6, 20.0


def _named(fault: Fault) -> str:
    return " ".join(filter(None, (fault.name, fault.where, f"({fault.whom})")))


class Stuck(Exception):
    """Nothing goes on without an operator."""


class Runner:
    """A run over one estate. `say` hears of the progress."""

    def __init__(
        self,
        state: Path,
        seed: int,
        say: Callable[[str], None],
        *,
        products: int = PRODUCTS,
        only: str = "",
        keep_logs: Path | None = None,
    ) -> None:
        self.report = Report(seed)
        self._chance = Random(seed)
        self._say = say
        self._only, self._keep_logs = only, keep_logs
        self._lab = Lab(state, products, seed, say)
        self._began = time.monotonic()

    def run(self, number: int, choose: Callable[[list[Fault]], list[Fault]] | None = None) -> Report:
        """Draws and tries `number` faults, or those that `choose` picks. Whatever happens, nothing is left running."""
        lab = self._lab
        try:
            lab.start()
            self._say(f"release 1 is everywhere after {time.monotonic() - self._began:.1f} s")
            known = self._known()
            faults = choose(known) if choose else drawn(known, number, self._chance)
            self._try(faults)
            self._at_last()
        finally:
            self._finish()
            lab.close()
        return self.report

    def _known(self) -> list[Fault]:
        disks = self._lab.shelf(PUBLISHER) is not None and self._lab.shelf("pos") is not None
        broker = isinstance(self._lab.estate.broker, LocalRabbitMQ)
        if not disks:
            self.report.skipped.append("disk full: no small disk can be mounted here (that takes root)")
        if not broker:
            self.report.skipped.append("RabbitMQ restarted: it is not a process of this run")
        known = every_fault(self._chance, disks=disks, broker=broker)
        return [fault for fault in known if self._only in _named(fault)]

    def _try(self, faults: Sequence[Fault]) -> None:
        for number, fault in enumerate(faults, 1):
            began = time.monotonic()
            named = _named(fault)
            try:
                hit, recovery = self._one(fault, named)
            except Stuck as stuck:
                self._say(f"{number:4}  {named}: STUCK, {stuck}")
                self._help(f"{named}: {stuck}")
                hit, recovery = True, time.monotonic() - began
            self.report.add(fault, hit=hit, recovery_s=recovery)
            took = time.monotonic() - began
            told = f"{recovery:.1f} s to recover" if hit else "NOT HIT"
            self._say(f"{number:4}  {named}: {told}, {took:.1f} s in all")

    def _at_last(self) -> None:
        """Changes with nothing in their way: optional members, who may have lagged, catch up with one of the next."""
        lab = self._lab
        for _ in range(_LAST_CHANGES):
            lab.change()
            with suppress(TimeoutError):
                lab.wait(lambda: lab.everywhere(optional=True), _LAST_SECONDS, "the last change in all members")
                break
        else:
            self.report.lost.append(f"at last some member did not catch up: {self._why()}")
        self.report.lost += [f"at last: {wrong}" for wrong in lab.differences()]

    def _one(self, fault: Fault, named: str) -> tuple[bool, float]:
        """Whether it struck, and the seconds from when all was back until the newest was everywhere."""
        lab = self._lab
        try:
            struck = fault.strike(lab, self._chance)
        except WrongEnd as wrong:
            self.report.mixed.append(f"{named}: after the way back, {wrong}")
            struck = Struck(time.monotonic())
        except TimeoutError as late:
            raise Stuck(str(late)) from late
        except DistributorError as error:
            raise Stuck(f"a verb failed: {error}") from error
        try:
            recovery = max(0.0, self._until(lab.everywhere, BOUND_SECONDS, "the newest everywhere") - struck.back_at)
            self._rest(named)
        finally:
            if struck.undo:
                struck.undo()
        if differing := lab.differences():
            self.report.lost.append(f"{named}: {'; '.join(differing)}")
        return struck.hit, recovery

    def _until(self, condition: Callable[[], bool], seconds: float, what: str) -> float:
        stopped = ""

        def holds() -> bool:
            nonlocal stopped
            stopped = self._lab.noted().stopped
            return bool(stopped) or condition()

        try:
            moment = self._lab.wait(holds, seconds, what)
        except TimeoutError as late:
            raise Stuck(f"{late}; {self._why()}") from late
        if stopped:
            raise Stuck(stopped)
        return moment

    def _rest(self, named: str) -> None:
        """The old slots follow, or not: the next rollout bridges that by itself."""
        try:
            self._lab.wait(self._lab.at_rest, REST_SECONDS, "both slots")
        except TimeoutError as late:
            self.report.unsettled.append(f"{named}: {late}; {self._why()}")

    def _why(self) -> str:
        noted = self._lab.noted()
        slots = [f"{name} {m['shows']}/{m['shadow']}" for name, m in sorted(noted.state["members"].items())]
        active, settlement = noted.state["active"], noted.state["settlement"]
        return f"environment {noted.shown}, members {', '.join(slots)}; active {active}; settlement {settlement}"

    def _help(self, why: str) -> None:
        """What an operator would do, counted as such, so that the run can go on. Raises Stuck when that is no help."""
        self.report.manual_steps.append(why)
        with suppress(DistributorError):
            self._lab.estate.verb("deploy", environment="prod", reason="chaos: helped", timeout="60s")
        try:
            self._lab.wait(self._lab.everywhere, BOUND_SECONDS, "the newest everywhere, after an operator's deploy")
        except TimeoutError as late:
            raise Stuck(f"{why}; and a deploy does not help: {late}") from late

    def _finish(self) -> None:
        report, lab = self.report, self._lab
        report.seconds = round(time.monotonic() - self._began, 1)
        if self._keep_logs:
            shutil.copytree(lab.estate.state / "roles", self._keep_logs, dirs_exist_ok=True)
        if not hasattr(lab, "watch"):
            return
        lab.watch.stop()
        report.mixed += lab.watch.mixed
        report.torn += lab.watch.torn
        report.reader_errors += lab.watch.errors
        report.reads, report.at_rest = lab.watch.reads, lab.watch.at_rest
        report.crashes += [f"{one.name} ended by itself" for one in lab.keeper.restarts if not one.expected]
        report.releases = lab.ledger.head()
        report.lost += [f"no dead letter tells of {text}" for text in lab.swallowed()]
