"""The role `web`: on a socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from distributor.cli.serve import plan
from distributor.errors import ConfigError, UnreachableError
from distributor.settings import Settings
from distributor.web.serve import serve_web


def listening(settings: Settings, listen: str) -> Settings:
    return settings.model_copy(update={"web": settings.web.model_copy(update={"listen": listen})})


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Its address."""
    loop, stop, answers = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    addresses: list[str] = []

    def ready(address: str) -> None:
        addresses.append(address)
        answers.set()

    def run() -> None:
        loop.run_until_complete(serve_web(settings, stop, ready=ready))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert answers.wait(30)
    try:
        yield addresses[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()


def test_it_answers_and_says_nothing_of_itself(settings: Settings) -> None:
    with served(listening(settings, "127.0.0.1:0")) as address, httpx2.Client(base_url=address) as client:
        answer = client.get("/v1/me")
        assert answer.status_code == 401
        assert "server" not in answer.headers
        assert client.get("/v1/openapi.json").status_code == 200
        assert "X-Content-Type-Options" in client.get("/static/../../settings/models.py").headers
        _sends_at_once(client, address)
        for path in ("/static/..%2f..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/%00"):
            found = client.get(path)
            assert found.status_code == 404, path
            assert "create_app" not in found.text
            assert "root:" not in found.text


def _sends_at_once(client: httpx2.Client, address: str) -> None:
    """Its end of a connection has TCP_NODELAY: it is found among the sockets of this process by the client's port."""
    stream = client.get("/v1/me").extensions["network_stream"]
    mine = stream.get_extra_info("socket").getsockname()
    [theirs] = [one for one in gc.get_objects() if _is_peer(one, mine)]
    assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def _is_peer(one: object, mine: object) -> bool:
    if type(one) is not socket.socket or one.fileno() < 0:
        return False
    try:
        return bool(one.getpeername() == mine)
    except OSError:
        return False


def test_a_stream_does_not_keep_it_from_stopping(settings: Settings) -> None:
    from distributor.access.roles import Role
    from distributor.ledger import keys
    from distributor.ledger.engine import ledger_engine, transaction
    from distributor.ledger.keys import Key
    from distributor.telemetry.clock import new_id, now

    secret, engine = keys.new_secret(), ledger_engine(settings.ledger.url)
    with transaction(engine) as conn:
        keys.put(conn, Key(new_id(), "follower", Role.VIEWER, (), now(), "the test"), secret)
    engine.dispose()
    with httpx2.Client(headers={"Authorization": f"Bearer {secret}"}, timeout=30) as client:
        with served(listening(settings, "127.0.0.1:0")) as address:
            stream = client.send(client.build_request("GET", f"{address}/v1/events"), stream=True)
            assert stream.status_code == 200
        stream.close()


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.7"])
def test_an_address_of_another_machine(settings: Settings, host: str) -> None:
    with pytest.raises((ConfigError, UnreachableError), match=r"web\.listen"):
        asyncio.run(serve_web(listening(settings, f"{host}:0"), asyncio.Event()))


def test_an_address_that_is_in_use(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnreachableError, match="in use"):
            asyncio.run(serve_web(listening(settings, f"127.0.0.1:{port}"), asyncio.Event()))


def test_all_roles_are_with_the_web(settings: Settings) -> None:
    assert [process.name for process in plan(settings, ["all"], None, None)][:3] == ["coordinator", "publisher", "web"]
    assert [process.words for process in plan(settings, ["web"], None, None)] == [("web",)]
