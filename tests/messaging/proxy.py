"""A TCP proxy that can go deaf or drop the line, as networks do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from yarl import URL


class Proxy:
    """Between a client and one server."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._writers: list[asyncio.StreamWriter] = []
        self._speaks = asyncio.Event()
        self._speaks.set()
        self.refuses = False
        self.port = 0

    def mute(self) -> None:
        """Nothing that the server says arrives any more."""
        self._speaks.clear()

    def cut(self) -> None:
        """Drops every line; new ones may be opened, and are heard."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()
        self._speaks.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        if self.refuses:
            writer.close()
            return
        upstream_reader, upstream = await asyncio.open_connection(*self._target)
        self._writers += [writer, upstream]
        with suppress(ConnectionError):
            await asyncio.gather(
                self._pump(reader, upstream, answers=False), self._pump(upstream_reader, writer, answers=True)
            )

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if answers:
                    await self._speaks.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(amqp_url: str, port: int = 0) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before a broker, on a port of its own or the given one, and the URL through it."""
    url = URL(amqp_url)
    proxy = Proxy(url.host or "127.0.0.1", url.port or 5672)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", port)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy, str(url.with_host("127.0.0.1").with_port(proxy.port))
    finally:
        proxy.cut()
        server.close()
