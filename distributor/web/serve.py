"""The role `web`: the application behind a socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from distributor.errors import ConfigError, UnreachableError
from distributor.settings import Settings
from distributor.telemetry.logs import logger
from distributor.web.app import create_app

_PATIENCE_SECONDS = 5
_BACKLOG = 1024
_log = logger("web")


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Whoever serves the roles of this process listens to signals, and tells this one by `stop`."""
        yield


async def serve_web(settings: Settings, stop: asyncio.Event, *, ready: Callable[[str], None] | None = None) -> None:
    """Serves the HTTP API and the pages until `stop` is set; `ready` is told the address once it answers.

    Raises ConfigError for an address that is none of this machine's, UnreachableError for one that is in use.
    """
    app = create_app(settings)
    with _listening(settings.web.listen) as listener:
        server = _Server(
            uvicorn.Config(
                app,
                access_log=False,
                log_config=None,
                lifespan="on",
                server_header=False,
                timeout_graceful_shutdown=_PATIENCE_SECONDS,
                ws="none",
            )
        )
        serving = asyncio.create_task(server.serve([listener]))
        stopping = asyncio.create_task(stop.wait())
        try:
            while not (server.started or serving.done()):
                await asyncio.wait({serving}, timeout=0.01)
            if server.started:
                address = _address(listener)
                _log.info("serving", address=address)
                if ready:
                    ready(address)
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            app.state.stopping.set()
            server.should_exit = True
            stopping.cancel()
            await serving


@contextlib.contextmanager
def _listening(listen: str) -> Iterator[socket.socket]:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        listener = _listener(*found[0])
    except PermissionError as error:
        raise ConfigError(
            f"{listen} cannot be listened on: {error.strerror}", where="web.listen", mend="Take a port above 1023."
        ) from error
    except socket.gaierror as error:
        raise ConfigError(
            f"{host!r} is no address of this machine", where="web.listen", mend='Write "127.0.0.1:8080".'
        ) from error
    except OSError as error:
        raise UnreachableError(
            f"{listen} cannot be listened on: {error.strerror}", where="web.listen", mend="Is something else there?"
        ) from error
    with listener:
        yield listener


def _listener(family: int, kind: int, protocol: int, _: str, address: Any) -> socket.socket:
    # With its protocol said: asyncio sends at once on such connections only, and an answer in two parts would else wait
    # 40 ms for the acknowledgement of the first.
    listener = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
