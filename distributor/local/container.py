"""RabbitMQ in a container, for a machine that has a Docker engine and neither a broker nor apt."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from distributor.errors import UnreachableError
from distributor.local.processes import LOOPBACK, owned, remembered_ports, wait_until
from distributor.local.supervised import Supervised

IMAGE = "rabbitmq:4"
USER = "distributor"


def engine_answers() -> bool:
    """Whether a Docker engine answers within seconds."""
    return shutil.which("docker") is not None and _docker("version", seconds=10).returncode == 0


class ContainerRabbitMQ:
    """A broker in a container of its own; what it holds is gone when it stops."""

    kind = "container"

    def __init__(self, directory: Path, *, image: str = IMAGE) -> None:
        self.directory = directory.resolve()
        self.port = 0
        self._image = image
        self._password = secrets.token_hex(16)
        # One name per directory: a start removes what a killed predecessor left behind.
        self.name = f"distributor-rabbitmq-{hashlib.sha256(str(self.directory).encode()).hexdigest()[:12]}"
        self._holding = contextlib.ExitStack()

    def start(self) -> Self:
        """Pulls the image if it must, starts the container, and waits until the broker takes connections."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(owned(self.directory))
            self._remove()
            (self.port,) = remembered_ports(self.directory / "ports", 1)
            settings = self.directory / "container.env"
            settings.touch(mode=0o600)
            settings.write_text(f"RABBITMQ_DEFAULT_USER={USER}\nRABBITMQ_DEFAULT_PASS={self._password}\n")
            published = f"{LOOPBACK}:{self.port}:5672"
            command = ["docker", "run", "--rm", "--name", self.name, "--env-file", str(settings), "-p", published]
            client = Supervised("container", [*command, self._image], self.directory)
            client.start()
            stack.callback(self._remove)
            stack.callback(client.stop)

            def settled() -> bool:
                ping = ("exec", self.name, "rabbitmq-diagnostics", "-q", "check_port_connectivity")
                return not client.running or _docker(*ping).returncode == 0

            wait_until(settled, 300, "the start of RabbitMQ in a container")
            if not client.running:
                raise client.failure(f"a container of {self._image} did not start")
            self._holding = stack.pop_all()
        return self

    def stop(self) -> None:
        """Stops and removes the container."""
        self._holding.close()

    def url(self, vhost: str = "/") -> str:
        """The AMQP URL of a virtual host."""
        return f"amqp://{USER}:{self._password}@{LOOPBACK}:{self.port}/{quote(vhost, safe='')}"

    def create_vhost(self, name: str) -> str:
        """Creates a virtual host. Returns its AMQP URL."""
        self._control("add_vhost", name)
        self._control("set_permissions", "-p", name, USER, ".*", ".*", ".*")
        return self.url(name)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _control(self, *arguments: str) -> None:
        done = _docker("exec", self.name, "rabbitmqctl", "-q", *arguments)
        if done.returncode != 0:
            raise UnreachableError(f"rabbitmqctl {arguments[0]} failed: {done.stderr.strip()}", where=self.name)

    def _remove(self) -> None:
        _docker("rm", "--force", "--volumes", self.name)


def _docker(*arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    command = ["docker", *arguments]
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {seconds:g} s")
