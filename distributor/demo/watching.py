"""What the ledger says, and whether an estate that says it is settled shows one release everywhere."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from sqlalchemy import Engine

from distributor.demo.readers import Place
from distributor.demo.sights import Sight, errors, open_sight
from distributor.ledger import environments
from distributor.ledger.engine import ledger_engine, transaction
from distributor.rollout.state import Environment, RolloutState

_MOVING = (RolloutState.FLIPPING, RolloutState.REVERTING)


class LedgerView:
    """The ledger, read only."""

    def __init__(self, url: str) -> None:
        self._engine: Engine = ledger_engine(url)

    def environment(self, name: str) -> Environment:
        """An environment as last committed."""
        with transaction(self._engine) as conn:
            return environments.read(conn, name) or Environment(name)

    def close(self) -> None:
        """Gives the connections back."""
        self._engine.dispose()


def moment(environment: Environment) -> tuple[int, int] | None:
    """(epoch, release shown) while nothing moves between the slots; None while a rollout is flipping or reverting."""
    if environment.active is not None and environment.active.state in _MOVING:
        return None
    return environment.epoch, environment.shown


def settled(environment: Environment) -> bool:
    """Whether nothing goes on and both slots of every member hold the release that is shown."""
    return environment.active is None and all(
        member.shows == member.shadow == environment.shown for member in environment.members.values()
    )


def waits_for(environment: Environment) -> tuple[str, ...]:
    """The required members that the active rollout has not heard of yet: unstaged, or unflipped once decided."""
    rollout = environment.active
    if rollout is None:
        return ()
    done = {
        member
        for member, answer in rollout.answers.items()
        if (answer.flipped_at is not None if rollout.state in _MOVING else answer.staged)
    }
    return tuple(sorted(rollout.required - done))


@dataclass
class SettledWatch:
    """Reads all systems of one environment over and over; counts the reads that found them on different releases
    although the ledger called the environment settled before the read and after it, with nothing in between."""

    ledger: LedgerView
    environment: str
    places: list[Place]
    pause: float = 0.05
    settled_reads: int = 0
    mixed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"settled {self.environment}", daemon=True)

    def start(self) -> None:
        """Begins watching."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Looks no more once the present look is over."""
        self._stop.set()

    def stop(self) -> None:
        """Ends the watch and waits for its last read."""
        self.ask_to_stop()
        self._thread.join(timeout=15)

    def _run(self) -> None:
        lines: dict[str, Sight] = {}
        failures = errors()
        while not self._stop.wait(self.pause):
            before = moment(self.ledger.environment(self.environment))
            if before is None:
                continue
            try:
                for place in self.places:
                    if place.system not in lines:
                        lines[place.system] = open_sight(place)
                shown = {system: line.release() for system, line in lines.items()}
            except failures:
                # Readers count errors; before the first release there is nothing to read here.
                _close(lines)
                continue
            if moment(self.ledger.environment(self.environment)) == before:
                self.settled_reads += 1
                if len(set(shown.values())) > 1:
                    self.mixed.append(", ".join(f"{system} {release}" for system, release in shown.items()))
        _close(lines)
        self.ledger.close()


def _close(lines: dict[str, Sight]) -> None:
    for line in lines.values():
        line.close()
    lines.clear()
