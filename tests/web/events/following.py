"""A client of the stream that reads as it likes, over a socket of its own; and a server with its own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from distributor.settings import Settings
from distributor.web.serve import serve_web

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Told:
    """One event as a client gets it."""

    name: str
    id: int | None
    data: dict[str, Any]


class Stream:
    """One client. What it gets is parsed as browsers do: an id without data moves the position, and is no event."""

    def __init__(
        self, address: str, key: str, query: dict[str, Any] | None = None, *, buffer: int = 0, **headers: str
    ) -> None:
        host, _, port = address.removeprefix("http://").rpartition(":")
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect((host, int(port)))
        path = f"/v1/events?{urlencode(query or {}, doseq=True)}"
        lines = [f"GET {path} HTTP/1.0", f"Authorization: Bearer {key}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._file = self.socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers: dict[str, str] = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            self.headers[name.lower()] = value
        self.position: int | None = None
        self.comments: list[str] = []

    def blocks(self) -> Iterator[list[str]]:
        """Lines up to each empty one, until the server ends the stream."""
        block: list[str] = []
        for line in self._file:
            if line.strip():
                block.append(line.decode().rstrip("\n"))
            else:
                yield block
                block = []

    def __iter__(self) -> Iterator[Told]:
        for block in self.blocks():
            fields = dict(line.partition(": ")[::2] for line in block if not line.startswith(":"))
            self.comments += [line[2:] for line in block if line.startswith(": ")]
            number = int(fields["id"]) if "id" in fields else None
            self.position = self.position if number is None else number
            if "data" in fields:
                yield Told(fields["event"], number, json.loads(fields["data"]))

    def take(self, count: int) -> list[Told]:
        """The next events, exactly so many."""
        found = [told for _, told in zip(range(count), self, strict=False)]
        assert len(found) == count, f"the stream ended after {found}: {self.comments}"
        return found

    def settled(self) -> Stream:
        """Waits until the server has told the position from which it follows."""
        for block in self.blocks():
            ids = [line for line in block if line.startswith("id: ")]
            if ids:
                self.position = int(ids[-1][4:])
                return self
        raise AssertionError("the stream ended")

    def rest(self) -> bytes:
        """Whatever comes until the server ends the stream."""
        return self._file.read()

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@dataclass
class Served:
    """A process's web role, in a thread of this one."""

    address: str
    loop: asyncio.AbstractEventLoop
    _stop: asyncio.Event
    _thread: threading.Thread
    streams: list[Stream] = field(default_factory=list)

    def follow(self, key: str, query: dict[str, Any] | None = None, *, buffer: int = 0, **headers: str) -> Stream:
        """A new client; `buffer`: so many bytes its machine takes at most while it does not read."""
        self.streams.append(Stream(self.address, key, query, buffer=buffer, **headers))
        return self.streams[-1]

    def stop(self) -> None:
        """Tells it to stop, and waits until it has."""
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def served(settings: Settings) -> Iterator[Served]:
    """Serves until the block ends."""
    there: list[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = []
    up = threading.Event()
    failed: list[BaseException] = []

    async def serve() -> None:
        stop = asyncio.Event()

        def ready(address: str) -> None:
            there.append((address, asyncio.get_running_loop(), stop))
            up.set()

        await serve_web(settings, stop, ready=ready)

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)
        finally:
            up.set()

    thread = threading.Thread(target=run)
    thread.start()
    up.wait(PATIENCE_SECONDS)
    if not there:
        raise AssertionError(f"the server did not come up: {failed}")
    server = Served(*there[0], thread)
    try:
        yield server
    finally:
        with contextlib.suppress(RuntimeError):
            server.stop()
        for stream in server.streams:
            stream.close()
    assert not failed, failed
