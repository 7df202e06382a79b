"""The acts of the demo, in their order. Each one says what it does, does it, and claims something about it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from rich.table import Table

from distributor.access.roles import Role
from distributor.demo import beside, catalogue
from distributor.demo.audience import Audience
from distributor.demo.catalogue import DATASETS
from distributor.demo.estate import Estate
from distributor.demo.full_refresh import full_refresh
from distributor.demo.outcome import Claim, DemoOutcome, SystemLine
from distributor.demo.screen import Screen, matrix
from distributor.demo.servers import missing_servers
from distributor.demo.systems import ABSENT, COPIED, ENVIRONMENTS, PROD, REFERENCES, UAT, cast
from distributor.demo.watching import LedgerView, SettledWatch, settled, waits_for
from distributor.errors import NotConvergedError
from distributor.telemetry import clock

CHANGED, CHANGED_WITHOUT_ONE = 1000, 500
FIRST_LOAD_SECONDS, DELTA_SECONDS = 600.0, 120.0
QUIET_PAUSE, BUSY_PAUSE = 0.03, 0.5
"""Seconds between two reads of one reader: while flips are timed, and while the first load needs the machine."""
WHY_HELD = "regression tests of the spring catalogue"
TOGETHER_MS = 1000.0
"""Flips that lie further apart would be one after the other, on the slowest machine too."""
NOBODY_FLIPS_SECONDS = 1.5
NEWS_SECONDS = 5.0
"""Where no live matrix shows that something goes on, a line says so this often."""


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
            cast(missing_servers(screen.say)),
            datasets={dataset: dataset for dataset in DATASETS},
            references=REFERENCES,
            quiet_period="0s",
            broker_url=wishes.broker_url,
            announce=screen.say,
        )
        self.claims: list[Claim] = []
        self.key = ""

    def tell(self) -> DemoOutcome:
        """All acts. The estate still runs afterwards."""
        self._start()
        self.ledger = LedgerView(self.estate.ledger_url)
        watch = SettledWatch(LedgerView(self.estate.ledger_url), PROD, self.estate.places(PROD))
        self.audience = Audience(self.estate.places(), watch, BUSY_PAUSE)
        self.audience.begin()
        self.screen.show(self._matrix)
        try:
            self._first_release()
            first = self._delta()
            second, waited_for = self._one_system_down(first)
            self._test_team(first, second)
            copied = self._full_refresh()
        finally:
            self.screen.show(None)
            self.audience.end()
            self.ledger.close()
        return self._reckon(first, second, waited_for, copied)

    def _start(self) -> None:
        self.screen.act("Starting servers of its own, on private ports: PostgreSQL, RabbitMQ, MariaDB, Redis")
        self.estate.start_servers(meanwhile=self._fill_master)
        self.screen.act(f"Starting a coordinator, a publisher and {len(self.estate.places())} consumers")
        self.estate.start_roles()
        if self.wishes.keep:
            self._open_the_page()

    def _open_the_page(self) -> None:
        self.estate.start_role("web")
        made = self.estate.verb("key create", name="demo", role=Role.ADMIN, reason="to look at the demo", expires="7d")
        self.key = str(made["secret"])
        self.screen.say(f"its page is at http://{self.estate.listen}; log in with {self.key}")

    def _fill_master(self) -> None:
        with self._master() as master:
            catalogue.create(master, self.wishes.products, self.wishes.seed)
        self.screen.say(f"a catalogue of {self.wishes.products:,} products, their prices and categories")
        for verb in ("init", "capture install", "publish"):
            self.screen.command(*verb.split())
            self.estate.verb(verb)

    def _first_release(self) -> None:
        self.screen.act("Release 1: the first load of every system, in two environments at once")
        self.screen.command("deploy", UAT, "--no-wait")
        begun = time.monotonic()
        self.estate.verb("deploy", environment=UAT, no_wait=True)
        self._wait(FIRST_LOAD_SECONDS, f"{PROD} to show release 1", lambda: self.audience.all_see(PROD, 1))
        self.screen.say(f"{PROD} shows release 1, {time.monotonic() - begun:.1f} s after the consumers started")
        self._wait(FIRST_LOAD_SECONDS, f"{UAT} to show release 1", lambda: self.audience.all_see(UAT, 1))
        self._wait(FIRST_LOAD_SECONDS, "both slots of every system", lambda: self._settled(PROD) and self._settled(UAT))
        self.screen.say(f"and both slots of every system hold it, after {time.monotonic() - begun:.1f} s")
        self._claim("release 1 is online in both environments", self.audience.all_see(UAT, 1), self.audience.told())
        self.screen.command("hold", UAT, "--reason", WHY_HELD)
        self.estate.verb("hold", environment=UAT, reason=WHY_HELD)
        self.audience.set_pause(QUIET_PAUSE)

    def _delta(self) -> Carried:
        self.screen.act(f"Somebody changes {CHANGED:,} products on the master; nobody runs a command")
        carried = self._change(CHANGED, revision=1, release=2)
        self._wait(DELTA_SECONDS, f"{PROD} to show release 2", lambda: self.audience.all_see(PROD, 2))
        skew = self.audience.skew_ms(PROD, carried.release)
        self.screen.say(
            f"{carried.rows:,} rows are in all {len(self.estate.places(PROD))} systems "
            f"{self._everywhere_ms(carried):,.0f} ms after the commit, flipped within {skew:.1f} ms"
        )
        self._claim(
            "the change reaches every system by itself, all of them flipping together",
            skew < TOGETHER_MS,
            f"{self._everywhere_ms(carried):,.0f} ms after the commit, skew {skew:.1f} ms",
        )
        self._wait(DELTA_SECONDS, "the old slots to catch up", lambda: self._settled(PROD))
        return carried

    def _one_system_down(self, before: Carried) -> tuple[Carried, tuple[str, ...]]:
        self.screen.act(f"The consumer of {ABSENT} is stopped, and {CHANGED_WITHOUT_ONE:,} more products change")
        self.estate.stop_process(f"{PROD}.{ABSENT}")
        carried = self._change(CHANGED_WITHOUT_ONE, revision=2, release=3)
        self._wait(DELTA_SECONDS, "all others to be staged", lambda: self._waited_for() == (ABSENT,))
        waited_for = self._waited_for()
        others = len(self.estate.places(PROD)) - 1
        self.screen.say(f"{others} systems are staged and verified; nobody flips. Waited for: {', '.join(waited_for)}")
        earlier = self.audience.reads
        self._wait(DELTA_SECONDS, "some time to pass", _after(NOBODY_FLIPS_SECONDS))
        reads = self.audience.reads - earlier
        stayed = self.audience.all_see(PROD, before.release) and self._waited_for() == waited_for
        self._claim(
            f"while {ABSENT} is down nobody flips, and it is named",
            stayed,
            f"all show release {before.release} in {reads:,} reads, waited for {', '.join(waited_for)}",
        )
        self.screen.act(f"The consumer of {ABSENT} is started again")
        self.estate.start_member(PROD, ABSENT)
        self._wait(DELTA_SECONDS, f"{PROD} to show release 3", lambda: self.audience.all_see(PROD, 3))
        skew = self.audience.skew_ms(PROD, carried.release)
        self.screen.say(f"all show release {carried.release}, flipped within {skew:.1f} ms")
        self._claim("with it back all flip together", skew < TOGETHER_MS, f"skew {skew:.1f} ms")
        return carried, waited_for

    def _test_team(self, first: Carried, second: Carried) -> None:
        self.screen.act(f"The test team has finished with {UAT} and asks for the newest release")
        stayed = self.audience.ever_saw(UAT) <= {0, 1}
        for verb in ("release-hold", "refresh"):
            self.screen.command(verb, UAT)
            self.estate.verb(verb, environment=UAT)
        self._wait(DELTA_SECONDS, f"{UAT} to show release 3", lambda: self.audience.all_see(UAT, second.release))
        self._claim(
            f"{UAT} stays at its release while held, and follows its team's refresh",
            stayed and self.audience.all_see(UAT, second.release),
            f"release 1 through releases {first.release} and {second.release}, then {second.release}",
        )

    def _full_refresh(self) -> float:
        self.screen.act(f"For comparison, {COPIED} is copied whole, as a nightly job would")
        place = next(place for place in self.estate.places(PROD) if place.system == COPIED)
        took = full_refresh(self.estate.master_url, place.url, DATASETS)
        self.screen.say(f"{took:,.0f} ms for one system")
        return took

    def _reckon(self, first: Carried, second: Carried, waited_for: tuple[str, ...], copied: float) -> DemoOutcome:
        self.screen.act("Reading every system and comparing it with the master, row by row")
        lines = self._compare()
        prod = tuple(line for line in lines if line.environment == PROD)
        audience = self.audience
        everybody_read, errors, torn = audience.everybody_read, audience.errors, audience.torn
        of_all = f"of {self.audience.reads:,} reads"
        equal = sum(not line.differences and line.release == second.release for line in lines)
        self._claim(
            "every row of every system is the master's", equal == len(lines), f"{equal} of {len(lines)} systems"
        )
        self._claim("no reader ever failed", everybody_read and not errors, f"{errors} {of_all}")
        self._claim("no reader saw two releases in one snapshot", everybody_read and not torn, f"{torn} {of_all}")
        self._claim(
            "no look found systems settled on different releases",
            not audience.watch.mixed and audience.watch.settled_reads > 0,
            f"{len(audience.watch.mixed)} of {audience.watch.settled_reads:,} looks",
        )
        return DemoOutcome(
            ok=all(claim.held for claim in self.claims),
            systems=prod,
            uat=tuple(line for line in lines if line.environment == UAT),
            products=self.wishes.products,
            changed_rows=first.rows,
            change_to_everywhere_ms=round(self._everywhere_ms(first), 1),
            skew_ms=round(
                max(self.audience.skew_ms(PROD, first.release), self.audience.skew_ms(PROD, second.release)), 2
            ),
            full_refresh_ms=round(copied, 1),
            full_refresh_system=COPIED,
            reader_errors=errors,
            torn_reads=torn,
            waited_for=waited_for,
            mixed_seen=len(audience.watch.mixed),
            settled_reads=audience.watch.settled_reads,
            claims=tuple(self.claims),
            seconds=round(self.screen.seconds, 1),
        )

    def _compare(self) -> list[SystemLine]:
        found = []
        with self._master() as connection:
            master = beside.Master(connection)
            everything = [(reader, beside.compare(reader.place, master)) for reader in self.audience.readers]
        for reader, compared in everything:
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
        return Carried(batch, clock.now(), release)

    @contextlib.contextmanager
    def _master(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.estate.master_url, autocommit=True) as master:
            yield master

    def _matrix(self) -> Table:
        environments = [self.ledger.environment(plan.name) for plan in ENVIRONMENTS]
        return matrix(environments, self.audience.readers)

    def _settled(self, environment: str) -> bool:
        return settled(self.ledger.environment(environment))

    def _waited_for(self) -> tuple[str, ...]:
        return waits_for(self.ledger.environment(PROD))

    def _everywhere_ms(self, carried: Carried) -> float:
        return (self.audience.last_flip(PROD, carried.release) - carried.committed_at).total_seconds() * 1000

    def _claim(self, text: str, held: bool, found: str) -> None:
        self.claims.append(Claim(text=text, held=held, found=found))

    def _wait(self, seconds: float, what: str, condition: Callable[[], bool]) -> None:
        """Polls until it holds. Raises NotConvergedError that names what was waited for, and who died meanwhile."""
        deadline = time.monotonic() + seconds
        news = time.monotonic() + NEWS_SECONDS
        while not condition():
            if not self.screen.live and time.monotonic() > news:
                news += NEWS_SECONDS
                behind = ", ".join(self._waited_for())
                self.screen.say(f"waiting for {what}" + (f": {behind} to finish" if behind else ""))
            dead = self.estate.dead()
            if dead or time.monotonic() > deadline:
                behind = ", ".join(self._waited_for()) or "nobody"
                raise NotConvergedError(
                    f"waited for {what}, and it did not happen",
                    where="demo",
                    mend="; ".join(dead) or f"Seen: {self.audience.told()}; waited for: {behind}.",
                )
            time.sleep(0.05)


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until
