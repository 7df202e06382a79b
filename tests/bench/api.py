"""Reads of the HTTP API per second: one process of the role `web` on a socket, beside a bare starlette route.

The ledger is that of the first page: 40 environments of 12 systems. Clients keep their connections and ask as fast as
they are answered; they are a process of their own.
"""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from distributor.ledger.engine import ledger_engine
from distributor.local.postgresql import LocalPostgreSQL
from distributor.settings import Settings
from distributor.web.serve import serve_web
from tests.bench.figures import Figure, percentile
from tests.bench.matrix import configured, filled

CLIENTS = 8
SECONDS = 5.0
TARGET = 500
READS = ("/v1/status", "/v1/rollouts", "/v1/environments/test1", "/v1/me")
BARE = "a bare route"


@dataclass(frozen=True, slots=True)
class Read:
    """One address under load. Milliseconds; `kilobytes` of one answer."""

    path: str
    per_second: float
    p50_ms: float
    p99_ms: float
    kilobytes: float


@dataclass(frozen=True, slots=True)
class Api:
    """What one process answers."""

    clients: int
    reads: tuple[Read, ...]

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        for read in self.reads:
            told = f"{read.path}, {read.kilobytes:g} kB: reads/s, one process, {self.clients} clients"
            value = f"{read.per_second:,.0f} (p50 {read.p50_ms:.1f} ms, p99 {read.p99_ms:.1f} ms)"
            aimed = read.path in READS[1:]
            yield Figure(told, value, f"≥ {TARGET}" if aimed else "", read.per_second >= TARGET if aimed else None)


def measure(directory: Path, say: Callable[[str], None], seconds: float = SECONDS) -> Api:
    """Every address in turn, over a ledger of its own."""
    directory.mkdir(parents=True)
    with LocalPostgreSQL(directory / "postgresql", durable=False) as server:
        settings = configured(directory, server.create_database("ledger"))
        settings = settings.model_copy(update={"web": settings.web.model_copy(update={"listen": "127.0.0.1:0"})})
        engine = ledger_engine(settings.ledger.url)
        secret = filled(engine, list(settings.environments))
        engine.dispose()
        found = [_measured(lambda ready: _bare(ready), "/", secret, seconds, BARE)]
        for path in READS:
            found.append(_measured(lambda ready: _ours(settings, ready), path, secret, seconds, path))
        for read in found:
            say(f"{read.path}: {read.per_second:,.0f} reads/s, p99 {read.p99_ms:.1f} ms")
        return Api(CLIENTS, tuple(found))


Serve = Callable[[Callable[[str], None]], None]


def _measured(serve: Serve, path: str, secret: str, seconds: float, name: str) -> Read:
    with _serving(serve) as address:
        host = address.removeprefix("http://")
        spawning = multiprocessing.get_context("spawn")
        results: Any = spawning.Queue()
        clients = spawning.Process(target=_ask, args=(host, path, secret, seconds, results))
        clients.start()
        latencies, octets = results.get()
        clients.join()
    return Read(
        path=name,
        per_second=round(len(latencies) / seconds, 1),
        p50_ms=round(percentile(latencies, 0.5), 2),
        p99_ms=round(percentile(latencies, 0.99), 2),
        kilobytes=round(octets / 1000, 1),
    )


@contextmanager
def _serving(serve: Serve) -> Iterator[str]:
    """In a process of its own: what it takes of a core is what one process takes."""
    forking = multiprocessing.get_context("fork")
    addresses: Any = forking.Queue()
    process = forking.Process(target=serve, args=(addresses.put,))
    process.start()
    try:
        yield addresses.get(timeout=60)
    finally:
        process.terminate()
        process.join()


def _ours(settings: Settings, ready: Callable[[str], None]) -> None:
    async def serve() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await serve_web(settings, stop, ready=ready)

    asyncio.run(serve())


def _bare(ready: Callable[[str], None]) -> None:
    async def hello(_: Request) -> JSONResponse:
        return JSONResponse({"hello": "world"})

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    ready(f"http://127.0.0.1:{listener.getsockname()[1]}")
    config = uvicorn.Config(Starlette(routes=[Route("/", hello)]), access_log=False, log_config=None, ws="none")
    uvicorn.Server(config).run([listener])


def _ask(host: str, path: str, secret: str, seconds: float, results: Any) -> None:
    found: list[list[float]] = [[] for _ in range(CLIENTS)]
    sizes: list[int] = []

    def ask(mine: list[float]) -> None:
        connection = http.client.HTTPConnection(host, timeout=30)
        headers = {"Authorization": f"Bearer {secret}"}
        begun = time.perf_counter()
        while (now := time.perf_counter()) - begun < seconds + 1:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(body.decode())
            # The first second warms caches up on both sides.
            if now - begun > 1:
                mine.append((time.perf_counter() - now) * 1000)
        sizes.append(len(body))

    threads = [threading.Thread(target=ask, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(([one for mine in found for one in mine], sizes[0]))
