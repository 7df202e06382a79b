"""Faults of processes: they die at a point, at a random moment or on the way back, or they stand still for a while."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from distributor.telemetry.faults import Point
from tests.chaos.cast import COORDINATORS, ENVIRONMENT, PROCESSES, REQUIRED, kind_of
from tests.chaos.faults import Struck, WrongEnd
from tests.chaos.lab import Lab

_HIT_SECONDS = 8.0
_TRIES = 6
_LETTERS = (Point.LETTER_BEFORE_COMMIT, Point.LETTER_AFTER_COMMIT)
_UNFIT = (Point.UNFIT_BEFORE_COMMIT, Point.UNFIT_AFTER_COMMIT)
_RESETS = (Point.RESET_BEFORE_COMMIT, Point.RESET_AFTER_COMMIT)
_REQUESTS = (Point.REQUEST_BEFORE_COMMIT, Point.REQUEST_AFTER_COMMIT, *_RESETS)
REVERTS = (Point.REVERT_BEFORE_COMMIT, Point.REVERT_AFTER_COMMIT)


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
            if self.point in _UNFIT:
                for _ in range(4):
                    lab.send_unfit()
            if self.point in _REQUESTS:
                reset = self.point in _RESETS
                lab.estate.verb("refresh", environment=ENVIRONMENT, reset=reset, reason="chaos", no_wait=True)
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
