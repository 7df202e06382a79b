"""The local Redis: private, with a password, recoverable, and gone with its owner."""

from __future__ import annotations

import signal
import stat
from pathlib import Path

import pytest
import redis

from distributor.errors import UnreachableError
from distributor.local.processes import is_free
from distributor.local.redis import LocalRedis, find_redis_server, get_redis_server
from tests.local.watching import alive, family, owner, ports
from tests.support import wait_for

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(find_redis_server() is None, reason="no redis-server on this machine"),
]


def test_what_was_answered_survives_a_kill_and_stopping_leaves_nothing(state: Path) -> None:
    with LocalRedis(state / "one") as server:
        url = server.url()
        with redis.Redis.from_url(url) as client:
            client.set("kept", "42")
        server.kill()

    with LocalRedis(state / "one") as server:
        assert server.url() == url
        with redis.Redis.from_url(url) as client:
            assert client.get("kept") == b"42"
            client.set("kept", "43")
        processes, listening = family(server.pid), ports(server.pid)
        assert {address for address, _ in listening} == {"127.0.0.1"}
    assert alive(processes) == []
    assert all(is_free(port) for _, port in listening)

    with LocalRedis(state / "one") as server, redis.Redis.from_url(server.url()) as client:
        assert client.get("kept") == b"43"


def test_nobody_comes_in_without_its_password(state: Path) -> None:
    with LocalRedis(state / "one", durable=False) as server:
        with redis.Redis(port=server.port) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        for name in ("password", "redis.conf"):
            assert stat.S_IMODE((server.directory / name).stat().st_mode) == 0o600


def test_a_second_one_stands_beside_the_first_and_not_in_its_directory(state: Path) -> None:
    with LocalRedis(state / "one", durable=False) as one, LocalRedis(state / "two", durable=False) as two:
        assert one.port != two.port
        with pytest.raises(UnreachableError, match="another process runs"):
            LocalRedis(state / "one").start()


def test_one_that_cannot_start_says_why(state: Path) -> None:
    with LocalRedis(state / "one") as server:
        pass
    log = next((server.directory / "data" / "appendonlydir").glob("*.manifest"))
    log.write_text("not a manifest\n")
    with pytest.raises(UnreachableError, match="Redis did not start") as failed:
        LocalRedis(state / "one").start()
    assert "manifest" in str(failed.value)


def test_the_server_ends_with_its_owner(state: Path) -> None:
    with owner("redis", state / "one") as (process, pids):
        processes = family(*pids)
        process.send_signal(signal.SIGKILL)
        wait_for(lambda: not alive(processes), timeout=60, what="the server's end")


def test_where_one_is_found_nothing_is_installed(state: Path) -> None:
    def announce(text: str) -> None:
        raise AssertionError(text)

    assert get_redis_server(announce, state / "apt.log") == find_redis_server()
