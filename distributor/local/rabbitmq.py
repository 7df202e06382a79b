"""A RabbitMQ of one's own: the machine's `rabbitmq-server`, with everything that it would share kept private."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from distributor.errors import UnreachableError
from distributor.local.management import Management
from distributor.local.processes import (
    LOOPBACK,
    answers,
    machine_environment,
    owned,
    remembered_ports,
    wait_until,
)
from distributor.local.supervised import Supervised

USER = "distributor"
# /usr/sbin/rabbitmq-server of Debian changes to the system's rabbitmq user and directory: it comes last.
_LAUNCHERS = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
    "/opt/rabbitmq/sbin/rabbitmq-server",
)


def find_rabbitmq_server() -> Path | None:
    """The program that starts a broker on this machine, when there is one."""
    for launcher in _LAUNCHERS:
        if Path(launcher).exists():
            return Path(launcher)
    found = shutil.which("rabbitmq-server")
    return Path(found) if found else None


def find_epmd() -> Path | None:
    """Erlang's name server, which every broker needs."""
    if found := shutil.which("epmd"):
        return Path(found)
    return next(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"), None)


class LocalRabbitMQ:
    """A private broker whose state lies in `directory`; the same directory gives the same broker again.

    `durable=False`: nobody wants its state again, so `stop` does not wait for an orderly shutdown.
    """

    kind = "private process"

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self.directory = directory.resolve()
        self.port = 0
        self._management_port = 0
        self._durable = durable
        self._broker: Supervised | None = None
        self._epmd: Supervised | None = None
        self._holding = contextlib.ExitStack()

    def start(self) -> Self:
        """Starts the broker and waits until it takes connections (about 5 s).

        Raises UnreachableError when there is no `rabbitmq-server`, when it ends at once (with the last lines of its
        log), or when another process uses the directory.
        """
        launcher, epmd = find_rabbitmq_server(), find_epmd()
        if launcher is None or epmd is None:
            raise UnreachableError("there is no rabbitmq-server on this machine", mend="Install RabbitMQ.")
        with contextlib.ExitStack() as stack:
            stack.enter_context(owned(self.directory))
            ports = remembered_ports(self.directory / "ports", 4)
            self.port, self._management_port, distribution_port, epmd_port = ports
            self._write_files()
            environment = self._environment(distribution_port, epmd_port)
            self._broker = Supervised("rabbitmq", [str(launcher)], self.directory, environment=environment)
            # A leftover broker must be gone before its name server is.
            self._broker.stop_leftover()
            epmd_command = [str(epmd), "-port", str(epmd_port), "-address", LOOPBACK]
            self._epmd = Supervised("epmd", epmd_command, self.directory, environment=environment)
            self._epmd.start()
            stack.callback(self._epmd.stop)
            wait_until(lambda: answers(epmd_port), 10, "the start of epmd")
            self._broker.start()
            stack.callback(self._broker.stop)
            self._wait(self._broker)
            self._holding = stack.pop_all()
        return self

    def stop(self) -> None:
        """Stops the broker and its name server."""
        if not self._durable and self._broker is not None:
            self._broker.kill()
        self._holding.close()

    def kill(self) -> None:
        """Ends the broker as a power cut would; the next start recovers."""
        if self._broker is not None:
            self._broker.kill()
        self._holding.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the broker and of its name server, where they run."""
        return tuple(server.pid for server in (self._broker, self._epmd) if server is not None and server.running)

    @property
    def log(self) -> Path:
        """The broker's log file."""
        return self.directory / "rabbitmq.log"

    @property
    def management(self) -> Management:
        """The broker's management API."""
        return Management(LOOPBACK, self._management_port, USER, self._password)

    def url(self, vhost: str = "/") -> str:
        """The AMQP URL of a virtual host."""
        return f"amqp://{USER}:{self._password}@{LOOPBACK}:{self.port}/{quote(vhost, safe='')}"

    def create_vhost(self, name: str) -> str:
        """Creates a virtual host. Returns its AMQP URL."""
        self.management.create_vhost(name)
        return self.url(name)

    def delete_vhost(self, name: str) -> None:
        """Deletes a virtual host with all that is in it."""
        self.management.delete_vhost(name)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _password(self) -> str:
        return (self.directory / "password").read_text().strip()

    def _write_files(self) -> None:
        for name in ("home", "data", "logs", "conf.d"):
            (self.directory / name).mkdir(exist_ok=True)
        for name in ("password", "home/.erlang.cookie"):
            secret = self.directory / name
            if not secret.exists():
                secret.touch(mode=0o600)
                secret.write_text(secrets.token_hex(16))
                secret.chmod(0o400)
        (self.directory / "enabled_plugins").write_text("[rabbitmq_management].\n")
        (self.directory / "advanced.config").write_text("[].\n")
        config = self.directory / "rabbitmq.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"default_user = {USER}\n"
            f"default_pass = {self._password}\n"
            f"management.tcp.ip = {LOOPBACK}\n"
            f"management.tcp.port = {self._management_port}\n"
        )

    def _environment(self, distribution_port: int, epmd_port: int) -> dict[str, str]:
        own = self.directory
        return machine_environment(
            ("RABBITMQ_", "ERL_"),
            {
                "HOME": str(own / "home"),
                "ERL_EPMD_ADDRESS": LOOPBACK,
                "ERL_EPMD_PORT": str(epmd_port),
                "RABBITMQ_NODENAME": "distributor@localhost",
                "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
                "RABBITMQ_NODE_PORT": str(self.port),
                "RABBITMQ_DIST_PORT": str(distribution_port),
                "RABBITMQ_MNESIA_BASE": str(own / "data"),
                "RABBITMQ_LOG_BASE": str(own / "logs"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(own / "enabled_plugins"),
                "RABBITMQ_CONFIG_FILE": str(own / "rabbitmq.conf"),
                "RABBITMQ_CONFIG_FILES": str(own / "conf.d"),
                "RABBITMQ_ADVANCED_CONFIG_FILE": str(own / "advanced.config"),
                "RABBITMQ_CONF_ENV_FILE": "/dev/null",
                # The launcher then becomes the broker instead of waiting for it: one process, and the pid is its own.
                "RABBITMQ_ALLOW_INPUT": "1",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput -kernel inet_dist_use_interface {127,0,0,1}",
            },
        )

    def _wait(self, broker: Supervised) -> None:
        def settled() -> bool:
            return not broker.running or (answers(self.port) and self.management.is_up())

        wait_until(settled, 90, "the start of RabbitMQ")
        if not broker.running:
            raise broker.failure("RabbitMQ did not start")
