"""Faults of what processes lean on: servers, lines, disks and clocks."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.chaos.cast import MASTER, kind_of
from tests.chaos.faults import Struck
from tests.chaos.lab import Lab

_SEEN_SECONDS = 15.0


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
