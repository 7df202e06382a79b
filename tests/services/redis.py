"""A Redis server for a test run. Tests take a prefix of their own on it, as members that share a server do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from distributor.errors import UnreachableError
from distributor.local.redis import LocalRedis, get_redis_server
from tests.services.engine import REDIS_IMAGE, chosen_image


@dataclass(frozen=True)
class RedisServer:
    """Where the server is. `kind` says how it came to be."""

    kind: str
    url: str


@contextmanager
def running_redis(directory: Path) -> Iterator[RedisServer]:
    """The server of this test run: the one of DISTRIBUTOR_TEST_REDIS_URL, else a container, else a process."""
    if given := os.environ.get("DISTRIBUTOR_TEST_REDIS_URL"):
        yield RedisServer("given by DISTRIBUTOR_TEST_REDIS_URL", given)
    elif image := chosen_image("REDIS_IMAGE", REDIS_IMAGE):
        from testcontainers.community.redis import RedisContainer

        with RedisContainer(image, password="distributor") as container:
            host, port = container.get_container_host_ip(), container.get_exposed_port(6379)
            yield RedisServer(f"container {image}", f"redis://:distributor@{host}:{port}/0")
    else:
        try:
            get_redis_server(print, directory / "apt.log")
        except UnreachableError as error:
            pytest.skip(f"no Redis: no DISTRIBUTOR_TEST_REDIS_URL, no container asked for, and {error}")
        with LocalRedis(directory / "redis", durable=False) as server:
            yield RedisServer("private process", server.url())
