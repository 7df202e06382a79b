"""A RabbitMQ broker for a test run, and fresh virtual hosts on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

from distributor.local.management import Management
from distributor.local.rabbitmq import LocalRabbitMQ, find_rabbitmq_server
from tests.services.engine import RABBITMQ_IMAGE, chosen_image

AMQP_PORT, MANAGEMENT_PORT = 5672, 15672


@dataclass(frozen=True)
class RabbitMQServer:
    """Where the broker is, and who may make virtual hosts there. `kind` says how it came to be."""

    kind: str
    authority: str
    management: Management

    def create(self, vhost: str) -> str:
        """Creates a virtual host. Returns its AMQP URL."""
        self.management.create_vhost(vhost)
        return f"amqp://{self.authority}/{quote(vhost, safe='')}"

    def delete(self, vhost: str) -> None:
        """Deletes a virtual host with all that is in it."""
        self.management.delete_vhost(vhost)


@contextmanager
def running_rabbitmq(directory: Path) -> Iterator[RabbitMQServer]:
    """The broker of this test run: the one of DISTRIBUTOR_TEST_AMQP_URL, else a container, else a process.

    A given broker needs the management API for the virtual hosts: on the same host, port 15672, or at
    DISTRIBUTOR_TEST_AMQP_MANAGEMENT (`host:port`).
    """
    if given := os.environ.get("DISTRIBUTOR_TEST_AMQP_URL"):
        yield _given(given)
    elif image := chosen_image("RABBITMQ_IMAGE", RABBITMQ_IMAGE):
        yield from _contained(image)
    elif find_rabbitmq_server() is None:
        pytest.skip("no broker: no DISTRIBUTOR_TEST_AMQP_URL, no container asked for, no rabbitmq-server installed")
    else:
        with LocalRabbitMQ(directory / "rabbitmq", durable=False) as broker:
            yield RabbitMQServer("private process", urlsplit(broker.url()).netloc, broker.management)


def _given(url: str) -> RabbitMQServer:
    parts = urlsplit(url)
    default = f"{parts.hostname}:{MANAGEMENT_PORT}"
    host, _, port = os.environ.get("DISTRIBUTOR_TEST_AMQP_MANAGEMENT", default).rpartition(":")
    management = Management(host, int(port), unquote(parts.username or "guest"), unquote(parts.password or "guest"))
    if not management.is_up():
        pytest.skip(f"the broker of DISTRIBUTOR_TEST_AMQP_URL has no management API at {host}:{port}")
    return RabbitMQServer("given by DISTRIBUTOR_TEST_AMQP_URL", parts.netloc, management)


def _contained(image: str) -> Iterator[RabbitMQServer]:
    # The library's own RabbitMqContainer waits by a decorator that the library itself calls deprecated.
    from testcontainers.core.container import DockerContainer

    from distributor.local.processes import wait_until

    user = "distributor"
    container = DockerContainer(image).with_exposed_ports(AMQP_PORT, MANAGEMENT_PORT)
    container.with_env("RABBITMQ_DEFAULT_USER", user).with_env("RABBITMQ_DEFAULT_PASS", user)
    with container:
        host = container.get_container_host_ip()
        port = container.get_exposed_port(AMQP_PORT)
        management = Management(host, int(container.get_exposed_port(MANAGEMENT_PORT)), user, user)
        container.exec(["rabbitmq-plugins", "enable", "rabbitmq_management"])
        wait_until(management.is_up, 60, "the start of the container's management API")
        authority = f"{user}:{user}@{host}:{port}"
        yield RabbitMQServer(f"container {image}", authority, management)
