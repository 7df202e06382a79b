"""What is done to a running estate. Each fault makes its own changes on the master, strikes at a moment that chance
gives, and returns when whatever it took away is back. Nothing here mends what the product should.
"""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from distributor.telemetry.faults import Point
from tests.chaos.lab import COORDINATORS, ENVIRONMENT, MASTER, PROCESSES, REQUIRED, Lab, kind_of

_HIT_SECONDS = 8.0
_TRIES = 6
_SEEN_SECONDS = 15.0
_LETTERS = (Point.LETTER_BEFORE_COMMIT, Point.LETTER_AFTER_COMMIT)
REVERTS = (Point.REVERT_BEFORE_COMMIT, Point.REVERT_AFTER_COMMIT)


@dataclass(frozen=True, slots=True)
class Struck:
    """`back_at`: the moment (monotonic clock) from which nothing was missing any more. `hit`: whether it came to pass.

    `undo`: what is to be set right once everything was looked at.
    """

    back_at: float
    hit: bool = True
    undo: Callable[[], object] | None = None


class WrongEnd(Exception):
    """What members hold after a way back is not what they held before."""


class Fault(Protocol):
    """One fault. `name`, `where` and `whom` are its row in the matrix."""

    @property
    def name(self) -> str: ...

    @property
    def where(self) -> str: ...

    @property
    def whom(self) -> str: ...

    def strike(self, lab: Lab, chance: Random) -> Struck:
        """Does it."""


@dataclass(frozen=True, slots=True)
class KillAtPoint:
    """A process dies at a point, at one of the first passings after the change."""

    point: Point
    victim: str
    name: str = "kill -9 at a point"

    @property
    def where(self) -> str:
        return self.point.value

    @property
    def whom(self) -> str:
        return kind_of(self.victim)

    def strike(self, lab: Lab, chance: Random) -> Struck:
        before = {name: lab.restarts(name) for name in PROCESSES}
        armed = {self.victim}
        lab.arm(self.victim, self.point, chance.choice((1, 1, 2, 3)))
        for number in range(_TRIES):
            if number == _TRIES // 2 and self.victim in COORDINATORS:
                # Two coordinators share the work, and one of them may be the quicker one every time.
                armed |= set(COORDINATORS)
                for coordinator in COORDINATORS:
                    lab.arm(coordinator, self.point, 1)
            if self.point in _LETTERS:
                # The coordinators share the queue: one of them gets the second.
                for to in ("", chance.choice(("pos", "crm"))) * 2:
                    lab.send_poison(to)
            lab.change()
            if died := self._deaths(lab, armed):
                return Struck(max(lab.back(name, before[name]).back_at for name in died))
        for name in armed:
            lab.disarm(name)
        return Struck(time.monotonic(), hit=False)

    def _deaths(self, lab: Lab, armed: set[str]) -> list[str]:
        """Waits for one: who died. Nobody else shall die of it."""
        with suppress(TimeoutError):
            lab.wait(lambda: any(map(lab.sprung, armed)), _HIT_SECONDS, f"the death at {self.point}")
        died = [name for name in armed if lab.sprung(name)]
        if died:
            for name in armed.difference(died):
                lab.disarm(name)
        return died


@dataclass(frozen=True, slots=True)
class KillInRevert:
    """A rollout is called off while it flips, and a member dies on its way back.

    The operator's two acts are the story, not a repair: the call that makes everybody go back, which by the protocol
    stops the environment, and the deploy that ends this.
    """

    point: Point
    victim: str
    name: str = "kill -9 at a point"

    @property
    def where(self) -> str:
        return self.point.value

    @property
    def whom(self) -> str:
        return kind_of(self.victim)

    def strike(self, lab: Lab, chance: Random) -> Struck:
        frozen = chance.choice(sorted(REQUIRED - {self.victim}))
        before, old = lab.restarts(self.victim), lab.revision
        lab.estate.verb("hold", environment=ENVIRONMENT, reason="chaos: a rollout to call off", owner="chaos")
        lab.change()
        lab.wait(lambda: lab.noted().rollout == "converged", 60, "a rollout that waits for its hold")
        lab.arm(self.victim, self.point, 1)
        lab.signal(frozen, signal.SIGSTOP)
        try:
            lab.estate.verb("release-hold", environment=ENVIRONMENT, owner="chaos")
            lab.wait(lambda: lab.systems[self.victim].shown().highest == lab.revision, 30, "the first flip")
            lab.estate.verb("abort", environment=ENVIRONMENT, reason="chaos: called off in mid-flip")
            lab.wait(lambda: lab.sprung(self.victim), 30, f"the death at {self.point}")
        finally:
            lab.signal(frozen, signal.SIGCONT)
        back_at = lab.back(self.victim, before).back_at
        lab.wait(lambda: not lab.noted().rollout, 90, "the end of the way back")
        if wrong := lab.differences(old):
            raise WrongEnd("; ".join(wrong))
        took = time.monotonic() - back_at
        on_again_at = time.monotonic()
        lab.estate.verb("deploy", environment=ENVIRONMENT, reason="chaos: on again", no_wait=True)
        lab.wait(lambda: not lab.noted().stopped, 60, "the end of the deploy that was asked for")
        return Struck(on_again_at - took)


@dataclass(frozen=True, slots=True)
class KillAtRandom:
    """Processes die together, at any moment after the change."""

    victims: tuple[str, ...]
    whom: str
    name: str = "kill -9 at a random moment"
    where: str = ""

    def strike(self, lab: Lab, chance: Random) -> Struck:
        lab.change()
        time.sleep(chance.uniform(0, 1.2))
        before = {victim: lab.restarts(victim) for victim in self.victims}
        for victim in self.victims:
            lab.kill(victim)
        return Struck(max(lab.back(victim, count).back_at for victim, count in before.items()))


@dataclass(frozen=True, slots=True)
class Frozen:
    """A process stands still for longer or shorter than its line to the broker bears, and then goes on."""

    victim: str
    name: str = "frozen for 1 to 14 s"
    where: str = ""

    @property
    def whom(self) -> str:
        return kind_of(self.victim)

    def strike(self, lab: Lab, chance: Random) -> Struck:
        lab.change()
        time.sleep(chance.uniform(0, 1.0))
        lab.signal(self.victim, signal.SIGSTOP)
        try:
            time.sleep(chance.uniform(1, 14))
        finally:
            lab.signal(self.victim, signal.SIGCONT)
        return Struck(time.monotonic())


@dataclass(frozen=True, slots=True)
class RestartServer:
    """A server goes away for some seconds, killed or stopped in good order; the master goes on changing meanwhile."""

    server: str
    whom: str
    kill: bool
    where: str = ""

    @property
    def name(self) -> str:
        return "server killed and started again" if self.kill else "server stopped and started again"

    def strike(self, lab: Lab, chance: Random) -> Struck:
        lab.change()
        time.sleep(chance.uniform(0, 1.0))
        with lab.without(self.server, kill=self.kill):
            time.sleep(chance.uniform(0, 2))
            if self.server != MASTER and chance.random() < 0.5:
                lab.change()
        return Struck(time.monotonic())


@dataclass(frozen=True, slots=True)
class CutLine:
    """Every connection of a process to a server drops at once, and for some seconds no new one is taken."""

    process: str
    server: str
    where: str
    name: str = "line cut"

    @property
    def whom(self) -> str:
        return kind_of(self.process)

    def strike(self, lab: Lab, chance: Random) -> Struck:
        line = lab.lines[self.process, self.server]
        lab.change()
        time.sleep(chance.uniform(0, 1.0))
        lab.net.cut(line, refuse=True)
        time.sleep(chance.choice((0, chance.uniform(0, 3))))
        lab.net.mend(line)
        return Struck(time.monotonic())


@dataclass(frozen=True, slots=True)
class SilentLine:
    """What is connected stays so, and nothing passes any more; new connections are heard.

    `dropped`: after 3 to 6 s both ends are told, as TCP does when a peer is gone; else they must find out.
    """

    process: str
    server: str
    where: str
    dropped: bool
    name: str = "line half-open"

    @property
    def whom(self) -> str:
        return kind_of(self.process)

    def strike(self, lab: Lab, chance: Random) -> Struck:
        line = lab.lines[self.process, self.server]
        lab.change()
        time.sleep(chance.uniform(0, 1.0))
        lab.net.silence(line)
        if self.dropped:
            time.sleep(chance.uniform(3, 6))
            lab.net.cut(line)
        return Struck(time.monotonic())


@dataclass(frozen=True, slots=True)
class FullDisk:
    """Not a byte is left on the disk that a process writes to, until it has noticed and a while longer."""

    victim: str
    where: str
    says: str
    name: str = "disk full"

    @property
    def whom(self) -> str:
        return kind_of(self.victim)

    def strike(self, lab: Lab, chance: Random) -> Struck:
        shelf = lab.shelf(self.victim)
        assert shelf is not None
        noticed = _grown(lab.log(self.victim), self.says)
        filler = shelf / "filler"
        hit = True
        if kind_of(self.victim).startswith("consumer"):
            _let_go(lab.systems[self.victim].place.sqlite_path)
        try:
            _fill(filler)
            lab.change()
            try:
                lab.wait(noticed, _SEEN_SECONDS, "the full disk to be noticed")
            except TimeoutError:
                hit = False
            time.sleep(chance.uniform(0, 2))
        finally:
            filler.unlink()
        return Struck(time.monotonic(), hit)


@dataclass(frozen=True, slots=True)
class WrongClock:
    """The clock of a member is off from its start on, while a change goes through."""

    victim: str
    seconds: float

    @property
    def name(self) -> str:
        return f"clock off by {self.seconds:+g} s"

    @property
    def where(self) -> str:
        return ""

    @property
    def whom(self) -> str:
        return kind_of(self.victim)

    def strike(self, lab: Lab, chance: Random) -> Struck:
        self._start_with(lab, {"DISTRIBUTOR_CLOCK_OFFSET": str(self.seconds)})
        lab.change()
        return Struck(time.monotonic(), undo=lambda: self._start_with(lab, {}))

    def _start_with(self, lab: Lab, variables: dict[str, str]) -> None:
        before = lab.restarts(self.victim)
        lab.variables[self.victim] = variables
        lab.kill(self.victim)
        lab.back(self.victim, before)


def _fill(file: Path) -> None:
    with suppress(OSError), file.open("wb", buffering=0) as target:
        size = 1 << 20
        while size:
            try:
                while target.write(bytes(size)) == size:
                    pass
            except OSError:
                pass
            size //= 2


def _let_go(file: str) -> None:
    """SQLite writes into what its log once was: a full disk is felt when that is given back."""
    with closing(sqlite3.connect(file, timeout=10)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _grown(log: Path, says: str) -> Callable[[], bool]:
    start = log.stat().st_size

    def said() -> bool:
        with log.open("rb") as text:
            text.seek(start)
            return says.encode() in text.read()

    return said
