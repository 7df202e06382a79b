"""The acts of the demo, in their order. Each one says what it does, does it, and claims something about it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from distributor.demo import catalogue, checks
from distributor.demo.catalogue import DATASETS
from distributor.demo.estate import Estate
from distributor.demo.full_refresh import full_refresh
from distributor.demo.outcome import Claim, DemoOutcome, SystemLine
from distributor.demo.readers import Reader
from distributor.demo.screen import Screen, matrix
from distributor.demo.systems import ABSENT, COPIED, ENVIRONMENTS, PROD, UAT
from distributor.demo.watching import LedgerView, SettledWatch, waits_for
from distributor.errors import NotConvergedError

CHANGED, CHANGED_WITHOUT_ONE = 1000, 500
FIRST_LOAD_SECONDS, DELTA_SECONDS = 600.0, 120.0
QUIET_PAUSE, BUSY_PAUSE = 0.03, 0.5
"""Seconds between two reads of one reader: while flips are timed, and while the first load needs the machine."""
WHY_HELD = "regression tests of the spring catalogue"
NOBODY_FLIPS_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for on the command line. `products` at least 1,500."""

    state: Path
    products: int = 100_000
    seed: int = 7
    keep: bool = False
    broker_url: str | None = None


@dataclass(frozen=True, slots=True)
class Carried:
    """One change on its way to everywhere: the batch, when it was committed, and its release."""

    batch: catalogue.Batch
    committed_at: datetime
    release: int

    @property
    def rows(self) -> int:
        """Changed rows: a product and its price each."""
        return 2 * self.batch.products


class Story:
    """One run. Raises DistributorError when a part of the estate cannot do its work."""

    def __init__(self, wishes: Wishes, screen: Screen) -> None:
        self.wishes = wishes
        self.screen = screen
        self.estate = Estate(
            wishes.state,
            ENVIRONMENTS,
            datasets={dataset: dataset for dataset in DATASETS},
            quiet_period="0s",
            broker_url=wishes.broker_url,
            announce=screen.say,
        )
        self.readers: list[Reader] = []
        self.claims: list[Claim] = []

    def tell(self) -> DemoOutcome:
        """All acts. The estate still runs afterwards."""
        self._start()
        self.ledger = LedgerView(self.estate.ledger_url)
        self.watch = SettledWatch(LedgerView(self.estate.ledger_url), PROD, self.estate.places(PROD), pause=BUSY_PAUSE)
        self._begin_reading()
        try:
            self._first_release()
            first = self._delta()
            second, waited_for = self._one_system_down(first)
            self._test_team(first, second)
            copied = self._full_refresh()
        finally:
            self._end_reading()
            self.ledger.close()
        return self._reckon(first, second, waited_for, copied)

    def _start(self) -> None:
        self.screen.act("Starting PostgreSQL and RabbitMQ of its own, on private ports")
        self.estate.start_servers(meanwhile=self._fill_master)
        self.screen.act(f"Starting a coordinator, a publisher and {len(self.estate.places())} consumers")
        self.estate.start_roles()

    def _fill_master(self) -> None:
        with self._master() as master:
            catalogue.create(master, self.wishes.products, self.wishes.seed)
        self.screen.say(f"a catalogue of {self.wishes.products:,} products, their prices and categories")
        for verb in ("init", "capture install", "publish"):
            self.screen.command(verb)
            self.estate.verb(verb)

    def _begin_reading(self) -> None:
        self.readers = [Reader(place, pause=BUSY_PAUSE) for place in self.estate.places()]
        for reader in self.readers:
            reader.start()
        self.watch.start()
        self.screen.show(lambda: matrix([self.ledger.environment(plan.name) for plan in ENVIRONMENTS], self.readers))

    def _end_reading(self) -> None:
        self.screen.show(None)
        for reader in self.readers:
            reader.stop()
        self.watch.stop()

    def _first_release(self) -> None:
        self.screen.act("Release 1: the first load of every system, in two environments at once")
        self.screen.command("deploy", UAT)
        begun = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            test_team = pool.submit(self.estate.verb, "deploy", environment=UAT)
            self._wait(FIRST_LOAD_SECONDS, f"{PROD} to show release 1", lambda: self._all_see(PROD, 1))
            self.screen.say(f"{PROD} shows release 1, {time.monotonic() - begun:.1f} s after the consumers started")
            test_team.result()
        self._wait(FIRST_LOAD_SECONDS, "both slots of every system", lambda: self._settled(PROD) and self._settled(UAT))
        self.screen.say(f"and both slots of every system hold it, after {time.monotonic() - begun:.1f} s")
        self._claim("release 1 is online in both environments", self._all_see(UAT, 1), self._seen())
        self.screen.command("hold", UAT, "--reason", WHY_HELD)
        self.estate.verb("hold", environment=UAT, reason=WHY_HELD)
        for reader in self.readers:
            reader.pause = QUIET_PAUSE
        self.watch.pause = QUIET_PAUSE

    def _delta(self) -> Carried:
        self.screen.act(f"Somebody changes {CHANGED:,} products on the master; nobody runs a command")
        carried = self._change(CHANGED, revision=1, release=2)
        self._wait(DELTA_SECONDS, f"{PROD} to show release 2", lambda: self._all_see(PROD, 2))
        self.screen.say(
            f"{carried.rows:,} rows are in all {len(self.estate.places(PROD))} systems "
            f"{self._everywhere_ms(carried):,.0f} ms after the commit, flipped within {self._skew_ms(2):.1f} ms"
        )
        self._claim(
            "the change reaches every system by itself, all of them flipping together",
            self._all_see(PROD, 2),
            f"{self._everywhere_ms(carried):,.0f} ms after the commit, skew {self._skew_ms(2):.1f} ms",
        )
        self._wait(DELTA_SECONDS, "the old slots to catch up", lambda: self._settled(PROD))
        return carried

    def _one_system_down(self, before: Carried) -> tuple[Carried, tuple[str, ...]]:
        self.screen.act(f"The consumer of {ABSENT} is stopped, and {CHANGED_WITHOUT_ONE:,} more products change")
        self.estate.stop_process(f"{PROD}.{ABSENT}")
        carried = self._change(CHANGED_WITHOUT_ONE, revision=2, release=3)
        self._wait(DELTA_SECONDS, "all others to be staged", lambda: self._waited_for() == (ABSENT,))
        waited_for = self._waited_for()
        self.screen.say(f"six systems are staged and verified; nobody flips. Waited for: {', '.join(waited_for)}")
        reads = self._reads()
        self._wait(DELTA_SECONDS, "some time to pass", _after(NOBODY_FLIPS_SECONDS))
        stayed = self._all_see(PROD, before.release) and self._waited_for() == waited_for
        self._claim(
            f"while {ABSENT} is down nobody flips, and it is named",
            stayed,
            f"all show release {before.release} in {self._reads() - reads:,} reads, waited for {', '.join(waited_for)}",
        )
        self.screen.act(f"The consumer of {ABSENT} is started again")
        self.estate.start_member(PROD, ABSENT)
        self._wait(DELTA_SECONDS, f"{PROD} to show release 3", lambda: self._all_see(PROD, 3))
        self.screen.say(f"all show release 3, flipped within {self._skew_ms(3):.1f} ms")
        self._claim("with it back all flip together", self._all_see(PROD, 3), f"skew {self._skew_ms(3):.1f} ms")
        return carried, waited_for

    def _test_team(self, first: Carried, second: Carried) -> None:
        self.screen.act(f"The test team has finished with {UAT} and asks for the newest release")
        stayed = self._all_see(UAT, 1) and all(len(reader.sightings) <= 2 for reader in self._of(UAT))
        for verb in ("release-hold", "refresh"):
            self.screen.command(verb, UAT)
            self.estate.verb(verb, environment=UAT)
        self._wait(DELTA_SECONDS, f"{UAT} to show release 3", lambda: self._all_see(UAT, second.release))
        self._claim(
            f"{UAT} stays at its release while held, and follows its team's refresh",
            stayed and self._all_see(UAT, second.release),
            f"release 1 through releases {first.release} and {second.release}, then {second.release}",
        )

    def _full_refresh(self) -> float:
        self.screen.act(f"For comparison, {COPIED} is copied whole, as a nightly job would")
        place = next(place for place in self.estate.places(PROD) if place.system == COPIED)
        took = full_refresh(self.estate.master_url, place.url, place.tables)
        self.screen.say(f"{took:,.0f} ms for one system")
        return took

    def _reckon(self, first: Carried, second: Carried, waited_for: tuple[str, ...], copied: float) -> DemoOutcome:
        self.screen.act("Reading every system and comparing it with the master, row by row")
        lines = self._compare(second.release)
        prod = tuple(line for line in lines if line.environment == PROD)
        errors = sum(len(reader.errors) for reader in self.readers)
        torn = sum(len(reader.torn) for reader in self.readers)
        of_all = f"of {self._reads():,} reads"
        everybody_read = all(reader.reads for reader in self.readers)
        equal = sum(not line.differences and line.release == second.release for line in lines)
        self._claim(
            "every row of every system is the master's", equal == len(lines), f"{equal} of {len(lines)} systems"
        )
        self._claim("no reader ever failed", everybody_read and not errors, f"{errors} {of_all}")
        self._claim("no reader saw two releases in one snapshot", everybody_read and not torn, f"{torn} {of_all}")
        self._claim(
            "no look found systems settled on different releases",
            not self.watch.mixed and self.watch.settled_reads > 0,
            f"{len(self.watch.mixed)} of {self.watch.settled_reads:,} looks",
        )
        return DemoOutcome(
            ok=all(claim.held for claim in self.claims),
            systems=prod,
            uat=tuple(line for line in lines if line.environment == UAT),
            products=self.wishes.products,
            changed_rows=first.rows,
            change_to_everywhere_ms=round(self._everywhere_ms(first), 1),
            skew_ms=round(max(self._skew_ms(first.release), self._skew_ms(second.release)), 2),
            full_refresh_ms=round(copied, 1),
            full_refresh_system=COPIED,
            reader_errors=errors,
            torn_reads=torn,
            waited_for=waited_for,
            mixed_seen=len(self.watch.mixed),
            settled_reads=self.watch.settled_reads,
            claims=tuple(self.claims),
            seconds=round(self.screen.seconds, 1),
        )

    def _compare(self, release: int) -> list[SystemLine]:
        with self._master() as master:
            expected = {dataset: checks.master_lines(master, dataset) for dataset in DATASETS}
        found = []
        for reader in self.readers:
            compared = checks.compare(reader.place, expected)
            found.append(
                SystemLine(
                    environment=reader.place.environment,
                    name=reader.place.system,
                    adapter=reader.place.adapter,
                    release=reader.shows or 0,
                    rows=sum(table.rows for table in compared),
                    differences=tuple(table.difference for table in compared if not table.equal),
                    reads=reader.reads,
                    reader_errors=len(reader.errors),
                    slowest_read_ms=round(reader.slowest_ms, 1),
                )
            )
        return found

    def _change(self, products: int, revision: int, release: int) -> Carried:
        with self._master() as master:
            batch = catalogue.change(master, products, revision, self.wishes.seed)
        return Carried(batch, datetime.now(UTC), release)  # noqa: TID251

    @contextlib.contextmanager
    def _master(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.estate.master_url, autocommit=True) as master:
            yield master

    def _of(self, environment: str) -> list[Reader]:
        return [reader for reader in self.readers if reader.place.environment == environment]

    def _reads(self) -> int:
        return sum(reader.reads for reader in self.readers)

    def _seen(self) -> str:
        return ", ".join(f"{reader.place.name} {reader.shows}" for reader in self.readers)

    def _all_see(self, environment: str, release: int) -> bool:
        return all(reader.shows == release for reader in self._of(environment))

    def _settled(self, environment: str) -> bool:
        state = self.ledger.environment(environment)
        return state.active is None and all(
            member.shows == member.shadow == state.shown for member in state.members.values()
        )

    def _waited_for(self) -> tuple[str, ...]:
        return waits_for(self.ledger.environment(PROD))

    def _flips(self, release: int) -> list[datetime]:
        """When each system of prod flipped to a release, as the systems themselves say."""
        sights = [reader.first_sight(release) for reader in self._of(PROD)]
        return [sight.flipped_at or sight.at for sight in sights if sight is not None]

    def _everywhere_ms(self, carried: Carried) -> float:
        return (max(self._flips(carried.release)) - carried.committed_at).total_seconds() * 1000

    def _skew_ms(self, release: int) -> float:
        flips = self._flips(release)
        return (max(flips) - min(flips)).total_seconds() * 1000

    def _claim(self, text: str, held: bool, found: str) -> None:
        self.claims.append(Claim(text=text, held=held, found=found))

    def _wait(self, seconds: float, what: str, condition: Callable[[], bool]) -> None:
        """Polls until it holds. Raises NotConvergedError that names what was waited for, and who died meanwhile."""
        deadline = time.monotonic() + seconds
        while not condition():
            dead = self.estate.dead()
            if dead or time.monotonic() > deadline:
                behind = ", ".join(self._waited_for()) or "nobody"
                raise NotConvergedError(
                    f"waited for {what}, and it did not happen",
                    where="demo",
                    mend="; ".join(dead) or f"Seen: {self._seen()}; waited for: {behind}.",
                )
            time.sleep(0.05)


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until
