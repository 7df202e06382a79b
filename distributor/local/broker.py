"""The RabbitMQ of a laptop, in the order in which one would look for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from distributor.errors import UnreachableError
from distributor.local import apt, container
from distributor.local.rabbitmq import LocalRabbitMQ, find_rabbitmq_server


class LocalBroker(Protocol):
    """A broker that this process may use, and stops if it started it."""

    @property
    def kind(self) -> str:
        """How the broker came to be."""
        ...

    def url(self, vhost: str = "/") -> str:
        """The AMQP URL of a virtual host."""
        ...

    def start(self) -> Self:
        """Starts the broker and waits until it takes connections."""
        ...

    def stop(self) -> None:
        """Stops what `start` started."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class GivenBroker:
    """A broker that somebody else runs, known by its URL; its virtual host is used as it is."""

    kind = "given"

    def __init__(self, url: str) -> None:
        self._url = url

    def url(self, vhost: str = "/") -> str:
        """The URL as it was given: its virtual host is the user's choice."""
        return self._url

    def start(self) -> Self:
        """Does nothing."""
        return self

    def stop(self) -> None:
        """Does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Does nothing."""


def choose_broker(
    directory: Path,
    *,
    given_url: str | None = None,
    announce: Callable[[str], None],
    durable: bool = True,
    image: str = container.IMAGE,
) -> LocalBroker:
    """The broker for this machine, not started yet; its state lies in `directory`.

    `given_url` (DISTRIBUTOR_AMQP_URL) comes first; then the machine's `rabbitmq-server` as a private process; then the
    same, installed through apt, which `announce` hears of; then a container. Raises UnreachableError when there is no
    way at all. `durable=False`: nobody wants the broker's state again, so a private process may end without ceremony.
    """
    if given_url:
        return GivenBroker(given_url)
    directory.mkdir(parents=True, exist_ok=True)
    failed_install = ""
    if find_rabbitmq_server() is None and apt.can_install():
        try:
            apt.install_rabbitmq(announce, directory / "apt.log")
        except UnreachableError as error:
            failed_install = f" ({error.what}, see {directory / 'apt.log'})"
            announce(str(error))
    if find_rabbitmq_server() is not None:
        return LocalRabbitMQ(directory, durable=durable)
    if container.engine_answers():
        announce(f"starting RabbitMQ in a container of {image}")
        return container.ContainerRabbitMQ(directory, image=image)
    raise UnreachableError(
        "there is no RabbitMQ: no rabbitmq-server on this machine, no apt-get that could install it"
        f"{failed_install}, and no Docker engine that answers",
        where="this machine",
        mend="Install rabbitmq-server, or set DISTRIBUTOR_AMQP_URL.",
    )
