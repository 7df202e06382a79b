"""A whole estate on this machine: servers, databases, one config file, and one process for each role and member."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from distributor.cli.desk import Desk
from distributor.demo.estate_config import EnvironmentPlan, SystemPlan, config_text
from distributor.demo.readers import Place
from distributor.errors import DistributorError, UsageError
from distributor.local.broker import LocalBroker, choose_broker
from distributor.local.mariadb import LocalMariaDB
from distributor.local.postgresql import LocalPostgreSQL
from distributor.local.processes import free_port, machine_environment, owned
from distributor.local.redis import LocalRedis
from distributor.local.supervised import Supervised

_NO_BROKER_YET = "amqp://127.0.0.1:1/"


class Estate:
    """Everything lies under `state`. `remove` ends and deletes all of it, also after a failed start.

    All databases are on one server, but those of `apart`, which get one each. `durable`: servers keep what they
    committed when they are killed.
    """

    def __init__(
        self,
        state: Path,
        environments: Sequence[EnvironmentPlan],
        *,
        datasets: Mapping[str, str],
        references: Mapping[str, Mapping[str, str]] | None = None,
        quiet_period: str = "0s",
        broker_url: str | None = None,
        apart: Collection[str] = (),
        durable: bool = False,
        announce: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.state = state.resolve()
        self.environments = tuple(environments)
        self.config = self.state / "distributor.toml"
        self.master_url = ""
        self.ledger_url = ""
        self.listen = f"127.0.0.1:{free_port()}"
        self.postgresql = LocalPostgreSQL(self.state / "postgresql", durable=durable)
        self.apart = {name: LocalPostgreSQL(self.state / f"postgresql_{name}", durable=durable) for name in apart}
        self.broker: LocalBroker | None = None
        self._datasets = dict(datasets)
        self._references = references or {}
        adapters = {system.adapter for plan in self.environments for system in plan.systems}
        self.mariadb = LocalMariaDB(self.state / "mariadb", durable=durable) if "mariadb" in adapters else None
        self.redis = LocalRedis(self.state / "redis", durable=durable) if "redis" in adapters else None
        self._quiet_period = quiet_period
        self._processes: dict[str, Supervised] = {}
        self._servers: list[Callable[[], None]] = []
        self._broker_url = broker_url
        self._durable = durable
        self._announce = announce
        self._exit = ExitStack()
        self._ours = False
        self._made: list[Path] = []

    def start_servers(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Starts the servers side by side, creates the databases and writes the config.

        `meanwhile` runs once the databases and the config are there, while the broker may still be starting. Raises
        UnreachableError.
        """
        self._made = [parent for parent in self.state.parents if not parent.exists()]
        self._exit.enter_context(owned(self.state))
        self._clear_leftovers()
        self._ours = True
        self.broker = broker = choose_broker(
            self.state / "rabbitmq", given_url=self._broker_url, announce=self._announce, durable=self._durable
        )
        others = [server for server in (self.mariadb, self.redis) if server is not None]
        with ThreadPoolExecutor(3) as pool:
            starting = [pool.submit(server.start) for server in (broker, *others)]
            self._servers += [broker.stop, *(server.stop for server in others)]
            for server in (self.postgresql, *self.apart.values()):
                self._servers.append(server.stop)
                server.start()
            self._create_databases()
            self._write_config(_NO_BROKER_YET)
            meanwhile()
            for start in starting:
                start.result()
        if self.mariadb:
            for place in self.places():
                if place.adapter == "mariadb":
                    self.mariadb.create_database(place.name.replace(".", "_"))
        self._write_config(broker.url())

    def start_roles(self) -> None:
        """Starts coordinator, publisher and every consumer, each as a process of its own."""
        self.start_role("coordinator")
        self.start_role("publisher")
        for place in self.places():
            self.start_member(place.environment, place.system)

    def start_role(
        self,
        role: str,
        *options: str,
        name: str = "",
        config: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Starts one role, `serve ROLE`: under a name of its own, with another config, with environment variables."""
        self._spawn(name or role, ["serve", role, *options], config, variables)

    def start_member(
        self,
        environment: str,
        system: str,
        *,
        config: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Starts the consumer of one member."""
        name, options = f"{environment}.{system}", ("--env", environment, "--system", system)
        self.start_role("consumer", *options, name=name, config=config, variables=variables)

    def stop_process(self, name: str) -> None:
        """Stops `coordinator`, `publisher` or the consumer `ENV.SYSTEM`."""
        self._processes.pop(name).stop()

    def kill_process(self, name: str) -> None:
        """kill -9; it stays among the dead until it is started again."""
        process = self._processes[name]
        if process.running:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def ended(self) -> list[str]:
        """The names of roles and members that do not run any more."""
        return [name for name, process in list(self._processes.items()) if not process.running]

    def pid(self, name: str) -> int:
        """The process id of a role or member."""
        return self._processes[name].pid

    def dead(self) -> list[str]:
        """Roles and members that ended by themselves, with the end of their logs."""
        return [str(process.failure("it ended")) for process in self._processes.values() if not process.running]

    def verb(self, name: str, /, **options: Any) -> dict[str, Any]:
        """Runs a verb in this process, as `distributor NAME … --json` would, and gives its object.

        Raises DistributorError, also when the verb ends with anything but 0.
        """
        from distributor.cli.main import VERBS

        outcome = VERBS[name][1](Desk(self.config, as_json=True, notes=Console(quiet=True)), **options)
        found: dict[str, Any] = outcome.model_dump(mode="json")
        if outcome.exit_code:
            raise DistributorError(f"`{name}` ended with {outcome.exit_code}", where="this estate", mend=str(found))
        return found

    def places(self, environment: str | None = None) -> list[Place]:
        """Where the systems of one or of all environments are read."""
        return [
            Place(plan.name, system.name, system.adapter, self._member_url(plan, system), system.tables, system.facts)
            for plan in self.environments
            if environment in (None, plan.name)
            for system in plan.systems
        ]

    def server(self, database: str) -> LocalPostgreSQL:
        """The server that a database is on."""
        return self.apart.get(database, self.postgresql)

    def remove(self) -> None:
        """Ends all and deletes the state directory, unless it turned out to be somebody else's."""
        # Nobody wants its state again: no role needs the time to end in good order.
        endings = [*(process.kill for process in self._processes.values()), *self._servers]
        with ThreadPoolExecutor(len(endings) or 1) as pool:
            list(pool.map(lambda end: end(), endings))
        self._processes.clear()
        self._servers.clear()
        self._exit.close()
        if self._ours:
            for server in (self.postgresql, *self.apart.values()):
                server.remove()
            shutil.rmtree(self.state, ignore_errors=True)
            for parent in self._made:
                with suppress(OSError):  # somebody else has put something there
                    parent.rmdir()

    def _clear_leftovers(self) -> None:
        """Deletes what a killed run left. Raises UsageError for a directory that never was an estate's."""
        left = {path.name for path in self.state.iterdir()} - {"owner"}
        if left and not left & {"postgresql", self.config.name}:
            raise UsageError(
                "this directory holds something else", where=str(self.state), mend="Name an empty or new one."
            )
        if left:
            for server in (self.postgresql, *self.apart.values()):
                server.remove()
        for path in self.state.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != "owner":
                path.unlink()

    def _create_databases(self) -> None:
        self.master_url = self.server("master").create_database("master")
        self.ledger_url = self.server("ledger").create_database("ledger")
        for place in self.places():
            if place.adapter == "postgresql":
                database = place.name.replace(".", "_")
                self.server(database).create_database(database)

    def _write_config(self, broker_url: str) -> None:
        self.config.touch(mode=0o600)
        self.config.write_text(
            config_text(
                self.environments,
                master=self.master_url,
                ledger=self.ledger_url,
                broker=broker_url,
                quiet_period=self._quiet_period,
                datasets=self._datasets,
                references=self._references,
                member_url=self._member_url,
                listen=self.listen,
            )
        )

    def _spawn(
        self, name: str, words: list[str], config: Path | None = None, variables: Mapping[str, str] | None = None
    ) -> None:
        if name in self._processes:
            self._processes[name].stop()
        command = [sys.executable, "-m", "distributor", *words, "--config", str(config or self.config)]
        logs = self.state / "roles"
        logs.mkdir(exist_ok=True)
        process = Supervised(
            name,
            command,
            logs,
            stop_signal=signal.SIGTERM,
            patience=10,
            environment=machine_environment(("DISTRIBUTOR_",), variables or {}),
        )
        # Before it starts: an interrupt may come at any moment, and must find it.
        self._processes[name] = process
        process.start()

    def _member_url(self, plan: EnvironmentPlan, system: SystemPlan) -> str:
        database = f"{plan.name}_{system.name}"
        match system.adapter:
            case "sqlite":
                return f"sqlite:///{self.state / f'{database}.db'}"
            case "files" | "parquet":
                return f"{system.adapter}:///{self.state / database}"
            case "mariadb":
                return self.mariadb.url(database) if self.mariadb and self.mariadb.port else "mariadb://nowhere/none"
            case "redis":
                return self.redis.url() if self.redis and self.redis.port else "redis://nowhere"
        return self.server(database).url(database)
