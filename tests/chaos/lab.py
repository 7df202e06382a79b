"""The estate that faults are put into: real servers, one process per role and member, a proxy on every line between.

Each process has its own copy of the config, in which its lines go through proxies, and a file that arms a point in it.
The runner and its readers use the servers directly.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pika
import psycopg

from distributor.demo import catalogue
from distributor.demo.catalogue import DATASETS
from distributor.demo.checks import Compared, compare, master_lines
from distributor.demo.estate import Estate
from distributor.demo.estate_config import EnvironmentPlan
from distributor.demo.readers import Place
from distributor.local.postgresql import LocalPostgreSQL
from distributor.local.rabbitmq import LocalRabbitMQ
from distributor.telemetry.faults import Point
from tests.chaos.cast import (
    APART,
    BROKER,
    COORDINATORS,
    DEADLINES,
    ENVIRONMENT,
    LEDGER,
    MASTER,
    PROCESSES,
    PUBLISHER,
    REQUIRED,
    SYSTEMS,
    TABLES,
)
from tests.chaos.keeper import Keeper, Restart
from tests.chaos.lines import HOST, Line, Lines
from tests.chaos.sight import DRIVER_ERRORS, LedgerSight, Noted, SystemSight, Watch

CHANGED, SHELF_MB = 40, 48
_KEPT_REVISIONS = 20
_POLL = 0.03


class Lab:
    """A running estate with the catalogue online everywhere. `say` hears of what goes on."""

    def __init__(self, state: Path, products: int, seed: int, say: Callable[[str], None]) -> None:
        plan = EnvironmentPlan(ENVIRONMENT, "auto", SYSTEMS, keep_previous="200ms", flip_lead="30ms", more=DEADLINES)
        self.estate = Estate(state, [plan], datasets=TABLES, apart=APART, durable=True, announce=say)
        self.say = say
        self.revision = 0
        self.poison: list[bytes] = []
        self.variables: dict[str, dict[str, str]] = {name: {} for name in PROCESSES}
        self.lines: dict[tuple[str, str], Line] = {}
        self.net = Lines()
        self.keeper = Keeper(self._ended, self._launch, self._was_meant_to_die)
        self._products, self._seed = products, seed
        self._masters: dict[int, Mapping[str, bytes]] = {}
        self._doomed: set[str] = set()
        self._armed: set[str] = set()
        self._away: set[str] = set()
        self._shelves: list[Path] = []
        self._master: psycopg.Connection | None = None

    def start(self) -> None:
        """Everything, until release 1 is online in both slots of every member."""
        estate = self.estate
        estate.start_servers(meanwhile=self._fill_master)
        for verb in ("init", "capture install"):
            estate.verb(verb)
        self._build_shelves()
        self.net.start()
        self._write_configs()
        self.ledger = LedgerSight(lambda: estate.ledger_url, ENVIRONMENT)
        self.systems = {place.system: SystemSight(place) for place in estate.places()}
        for name in PROCESSES:
            self._launch(name)
        self.keeper.start()
        self.wait(self.everywhere, 120, "release 1 everywhere")
        self.wait(self.at_rest, 60, "both slots")
        self.watch = Watch(
            LedgerSight(lambda: estate.ledger_url, ENVIRONMENT),
            [SystemSight(place) for place in estate.places()],
            REQUIRED,
            self._away.__contains__,
        )
        self.watch.start()

    def close(self) -> None:
        """Ends and deletes everything."""
        if hasattr(self, "watch"):
            self.watch.stop()
        self.keeper.stop()
        if hasattr(self, "systems"):
            self.ledger.close()
            for system in self.systems.values():
                system.close()
        if self._master is not None:
            self._master.close()
        self.net.stop()
        for shelf in self._shelves:
            subprocess.run(["umount", "--lazy", shelf], check=False)
        self.estate.remove()

    # What the master does.

    def change(self) -> int:
        """One change batch, committed; its revision."""
        master = self._at_master()
        catalogue.change(master, CHANGED, self.revision + 1, self._seed)
        self.revision += 1
        self._remember(master)
        return self.revision

    def send_poison(self, to_member: str = "") -> None:
        """A message that nobody can understand, to the coordinators or to a member."""
        body = f"poison {len(self.poison)}".encode()
        exchange, key = ("pd.commands", f"{ENVIRONMENT}.{to_member}") if to_member else ("pd.reports", "report")
        self._publish(exchange, key, body, pika.BasicProperties(message_id=f"poison-{len(self.poison)}"))
        self.poison.append(body)

    def send_unfit(self) -> None:
        """A report that comes late: of a row that a member could not take once, and that is gone from the master."""
        row = {"table": "products", "dataset": "products", "key": ["gone"], "column": "name", "value": None, "why": "-"}
        told = {
            "environment": ENVIRONMENT,
            "system": "crm",
            "epoch": 1,
            "rollout_id": "of long ago",
            "release": 1,
            "manifest": None,
            "total": 1,
            "rows": [row],
            "reported_at": datetime.now(UTC).isoformat(),
        }
        headers = {
            "ce-specversion": "1.0",
            "ce-id": uuid.uuid4().hex,
            "ce-source": "/chaos",
            "ce-type": "pd.member.unfit.v1",
            "ce-time": datetime.now(UTC).isoformat(),
        }
        properties = pika.BasicProperties(headers=headers, content_type="application/json", delivery_mode=2)
        self._publish("pd.reports", "report", json.dumps(told).encode(), properties)

    # What is done to processes.

    def arm(self, process: str, point: Point, passing: int) -> None:
        """The process dies at that passing of the point, counted from now on."""
        draft = self._trap(process).with_suffix(".draft")
        draft.write_text(f"{point}:{passing}")
        self._armed.add(process)
        draft.rename(self._trap(process))

    def disarm(self, process: str) -> None:
        """It lives on, unless it has just died."""
        with contextlib.suppress(FileNotFoundError):
            self._trap(process).unlink()
            self._armed.discard(process)

    def sprung(self, process: str) -> bool:
        """Whether it has died at the point that was armed."""
        return not self._trap(process).exists()

    def kill(self, process: str) -> None:
        """kill -9."""
        self._doomed.add(process)
        self.estate.kill_process(self._name(process))

    def signal(self, process: str, number: signal.Signals) -> None:
        """Any signal."""
        os.kill(self.estate.pid(self._name(process)), number)

    def restarts(self, process: str) -> int:
        """How often it was started again."""
        return self.keeper.count(process)

    def back(self, process: str, after: int) -> Restart:
        """Waits until a process was restarted more than `after` times: the newest restart."""
        self.wait(lambda: self.keeper.count(process) > after, 30, f"the restart of {process}")
        return self.keeper.last(process)

    def log(self, process: str) -> Path:
        """Its log."""
        return self.estate.state / "roles" / f"{self._name(process)}.log"

    # What is done to servers and disks.

    def server(self, name: str) -> LocalPostgreSQL | LocalRabbitMQ:
        """`broker`, `ledger`, `master` or a PostgreSQL system."""
        if name == BROKER:
            assert isinstance(self.estate.broker, LocalRabbitMQ)
            return self.estate.broker
        return self.estate.server(name if name in (LEDGER, MASTER) else f"{ENVIRONMENT}_{name}")

    @contextlib.contextmanager
    def without(self, name: str, *, kill: bool) -> Iterator[None]:
        """A server is down, killed or stopped in good order, and starts again at the end."""
        server = self.server(name)
        self._away.add(name)
        server.kill() if kill else server.stop()
        yield
        port = server.port
        server.start()
        assert server.port == port, "somebody took the server's port"
        self._away.discard(name)

    def shelf(self, process: str) -> Path | None:
        """The small disk that this process writes to; None where this machine lets nobody mount one."""
        return next((shelf for shelf in self._shelves if shelf.name == process), None)

    # What is seen.

    def everywhere(self, *, optional: bool = False) -> bool:
        """Whether all required members show the newest release, that has the newest change, and the ledger says so.

        With `optional`, all members.
        """
        try:
            head = self.ledger.head()
            noted = self.ledger.environment()
            shown = [self.systems[name].shown() for name in self.systems if optional or name in REQUIRED]
        except DRIVER_ERRORS:
            return False
        wanted = (head, self.revision, self.revision)
        return noted.shown == head > 0 and all((s.release, s.lowest, s.highest) == wanted for s in shown)

    def at_rest(self) -> bool:
        """Whether nothing goes on any more."""
        return self.noted().settled(REQUIRED)

    def noted(self) -> Noted:
        """The environment; waits for the ledger."""
        for _ in range(200):
            with contextlib.suppress(psycopg.Error):
                return self.ledger.environment()
            time.sleep(0.05)
        return self.ledger.environment()

    def differences(self, revision: int | None = None) -> list[str]:
        """Where required members do not hold exactly what the master held at a revision (None: the newest), and where
        optional ones do not hold what it held at the one that they show."""
        wanted = self._masters[self.revision if revision is None else revision]
        found = []
        for place in self.estate.places():
            if place.system in REQUIRED:
                found += self._compared(place, wanted)
            else:
                shown = self.systems[place.system].shown().highest
                found += self._compared(place, self._masters[shown]) if shown in self._masters else []
        return [f"{one.system}: {one.difference}" for one in found if not one.equal]

    def swallowed(self) -> list[str]:
        """Messages that nobody understood, and that no dead letter tells of."""
        kept = [body for _, _, body in self.ledger.letters()]
        return [body.decode() for body in self.poison if body not in kept]

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> float:
        """Polls; returns the moment. Raises TimeoutError that names `what`."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds:g} s for {what}")
            time.sleep(_POLL)
        return time.monotonic()

    @staticmethod
    def _compared(place: Place, wanted: Mapping[str, bytes]) -> list[Compared]:
        return compare(place, dict(wanted))

    def _publish(self, exchange: str, key: str, body: bytes, properties: pika.BasicProperties) -> None:
        broker = self.estate.broker
        assert broker is not None
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(broker.url()))) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish(exchange, key, body, properties)

    def _at_master(self) -> psycopg.Connection:
        if self._master is not None:
            with contextlib.suppress(psycopg.OperationalError):
                self._master.execute("SELECT 1")
                return self._master
            self._master.close()
        self._master = psycopg.connect(self.estate.master_url, autocommit=True)
        return self._master

    def _remember(self, master: psycopg.Connection) -> None:
        self._masters[self.revision] = {dataset: master_lines(master, dataset) for dataset in DATASETS}
        self._masters.pop(self.revision - _KEPT_REVISIONS, None)

    def _fill_master(self) -> None:
        master = self._at_master()
        catalogue.create(master, self._products, self._seed)
        self._remember(master)

    def _build_shelves(self) -> None:
        """The publisher's store and the file of a SQLite system on small disks of their own, where one may mount."""
        for process, link in ((PUBLISHER, "store"), ("pos", f"{ENVIRONMENT}_pos.db")):
            shelf = self.estate.state / "shelves" / process
            shelf.mkdir(parents=True)
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={SHELF_MB}m", "chaos", shelf], capture_output=True, check=False
            )
            if done.returncode != 0:
                self.say(f"no small disk for {process}: {done.stderr.decode().strip()}")
                continue
            self._shelves.append(shelf)
            (self.estate.state / link).symlink_to(shelf / link)
            if process == PUBLISHER:
                (shelf / link).mkdir()

    def _write_configs(self) -> None:
        servers = {MASTER: self.server(MASTER), LEDGER: self.server(LEDGER), BROKER: self.estate.broker}
        servers |= {s.name: self.server(s.name) for s in SYSTEMS if s.adapter == "postgresql"}
        (self.estate.state / "traps").mkdir()
        for process in PROCESSES:
            text = self.estate.config.read_text()
            for name, server in servers.items():
                line = self.lines[process, name] = self.net.lay(lambda server=server: server.port)
                text = text.replace(f"@{HOST}:{server.port}/", f"@{HOST}:{line.port}/")
            config = self._config(process)
            config.touch(mode=0o600)
            config.write_text(text)

    def _launch(self, process: str) -> None:
        variables = {"DISTRIBUTOR_FAULT": f"@{self._trap(process)}", **self.variables[process]}
        config = self._config(process)
        if process in COORDINATORS:
            self.estate.start_role("coordinator", name=process, config=config, variables=variables)
        elif process == PUBLISHER:
            self.estate.start_role("publisher", config=config, variables=variables)
        else:
            self.estate.start_member(ENVIRONMENT, process, config=config, variables=variables)

    def _was_meant_to_die(self, process: str) -> bool:
        if process in self._doomed:
            self._doomed.discard(process)
            return True
        if process in self._armed and self.sprung(process):
            self._armed.discard(process)
            return True
        return False

    def _ended(self) -> list[str]:
        return [name.removeprefix(f"{ENVIRONMENT}.") for name in self.estate.ended()]

    def _name(self, process: str) -> str:
        return process if process in (*COORDINATORS, PUBLISHER) else f"{ENVIRONMENT}.{process}"

    def _config(self, process: str) -> Path:
        return self.estate.state / f"{process}.toml"

    def _trap(self, process: str) -> Path:
        return self.estate.state / "traps" / process
