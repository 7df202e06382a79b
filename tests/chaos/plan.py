"""Which faults there are, and which of them one run tries."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from random import Random

from distributor.telemetry.faults import Point
from tests.chaos.cast import BROKER, COORDINATORS, LEDGER, MASTER, PROCESSES, PUBLISHER, REQUIRED, SYSTEMS, kind_of
from tests.chaos.faults import Fault
from tests.chaos.kills import REVERTS, Frozen, KillAtPoint, KillAtRandom, KillInRevert
from tests.chaos.outages import CutLine, FullDisk, RestartServer, SilentLine, WrongClock

CONSUMERS = tuple(system.name for system in SYSTEMS)
_OF = {"publisher": (PUBLISHER,), "coordinator": COORDINATORS, "consumer": CONSUMERS}
_ON_POSTGRESQL = tuple(name for name in CONSUMERS if kind_of(name) == "consumer, PostgreSQL")


def victims_of(point: Point) -> tuple[str, ...]:
    """The processes that pass a point. Raises KeyError for one that no process of the estate passes."""
    victims = _OF[point.value.partition(".")[0]]
    return tuple(name for name in victims if name in REQUIRED) if point in REVERTS else victims


def every_fault(chance: Random, *, disks: bool = True, broker: bool = True) -> list[Fault]:
    """One of each: a point with each kind of process that passes it, a server with each way to go, and so on.

    Which process of several alike it is, chance says. `disks`: small ones could be mounted; `broker`: it is ours to
    restart.
    """
    faults: list[Fault] = []
    for point in Point:
        for victim in _one_of_each_kind(victims_of(point), chance):
            faults.append(KillInRevert(point, victim) if point in REVERTS else KillAtPoint(point, victim))
    for victim in _one_of_each_kind(PROCESSES, chance):
        faults += [KillAtRandom((victim,), kind_of(victim)), Frozen(victim)]
    faults.append(KillAtRandom(COORDINATORS, "both coordinators"))
    faults.append(KillAtRandom(PROCESSES, "all processes at once"))
    for kill in (True, False):
        faults += [
            RestartServer(LEDGER, "PostgreSQL of the ledger", kill),
            RestartServer(MASTER, "PostgreSQL of the master", kill),
            RestartServer(chance.choice(_ON_POSTGRESQL), "PostgreSQL of a system", kill),
        ]
        if broker:
            faults.append(RestartServer(BROKER, "RabbitMQ", kill))
    faults += _on_lines(chance)
    if disks:
        faults += [
            FullDisk(PUBLISHER, "the store of chunks", "the store is full"),
            FullDisk("pos", "the system's own", "is full"),
        ]
    for victim, seconds in product(_one_of_each_kind(CONSUMERS, chance), (-5.0, 5.0)):
        faults.append(WrongClock(victim, seconds))
    return faults


def drawn(faults: Sequence[Fault], number: int, chance: Random) -> list[Fault]:
    """`number` faults in the order of chance: each once, as far as that goes, and then any."""
    shuffled = chance.sample(faults, len(faults))
    more = chance.choices(faults, k=max(0, number - len(faults)))
    return [*shuffled, *more][:number]


def _on_lines(chance: Random) -> list[Fault]:
    faults: list[Fault] = []
    coordinator, system = chance.choice(COORDINATORS), chance.choice(_ON_POSTGRESQL)
    for consumer in _one_of_each_kind(CONSUMERS, chance):
        where = "to the broker"
        faults += [CutLine(consumer, BROKER, where), SilentLine(consumer, BROKER, where, dropped=False)]
    faults += [
        CutLine(coordinator, BROKER, "to the broker"),
        SilentLine(coordinator, BROKER, "to the broker", dropped=False),
    ]
    for process, server, where in (
        (coordinator, LEDGER, "to the ledger"),
        (PUBLISHER, LEDGER, "to the ledger"),
        (PUBLISHER, MASTER, "to the master"),
        (system, system, "to its store"),
    ):
        faults += [CutLine(process, server, where), SilentLine(process, server, where, dropped=True)]
    return faults


def _one_of_each_kind(processes: Sequence[str], chance: Random) -> list[str]:
    kinds: dict[str, list[str]] = {}
    for process in processes:
        kinds.setdefault(kind_of(process), []).append(process)
    return [chance.choice(alike) for alike in kinds.values()]
