"""TCP lines between one process and one server that can be cut, refused, or go silent as half-open ones do.

They run in a thread of their own, so that a test that blocks may use them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

HOST = "127.0.0.1"
_PIECE = 65536


class Line:
    """All connections of one process to one server. `port` is where the process connects to."""

    def __init__(self, target: Callable[[], int]) -> None:
        self.port = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._silent: set[asyncio.StreamWriter] = set()
        self._refuses = False

    async def listen(self) -> None:
        """Takes connections from now on."""
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self, *, refuse: bool = False) -> None:
        """Drops every connection, the silent ones too. With `refuse`, new ones are dropped until the next `mend`."""
        self._refuses = refuse
        for end in list(self._ends):
            end.transport.abort()
        self._ends.clear()
        self._silent.clear()

    async def silence(self) -> None:
        """Nothing passes on what is connected now, and neither end hears of it. New connections are heard."""
        self._silent |= self._ends

    async def mend(self) -> None:
        """New connections are taken again."""
        self._refuses = False

    async def close(self) -> None:
        """For good."""
        if self._server is not None:
            self._server.close()
        await self.cut(refuse=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        try:
            upstream_reader, upstream = await asyncio.open_connection(HOST, self._target())
        except OSError:
            writer.transport.abort()
            return
        self._ends |= {writer, upstream}
        # At the end of all lines: the stream's own callback would complain of a task that was cancelled.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, upstream), self._pump(upstream_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_PIECE):
                if writer not in self._silent:
                    writer.write(data)
                    await writer.drain()
        # Who is on a silent line does not hear that the other end has gone.
        if writer not in self._silent:
            self._ends.discard(writer)
            writer.close()


class Lines:
    """The thread with every line. Methods block until they are done."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lines", daemon=True)
        self._lines: list[Line] = []

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def lay(self, target: Callable[[], int]) -> Line:
        """A new line to a loopback port, which is asked for at every connection."""
        line = Line(target)
        self._lines.append(line)
        self._done(line.listen())
        return line

    def cut(self, line: Line, *, refuse: bool = False) -> None:
        """See Line.cut."""
        self._done(line.cut(refuse=refuse))

    def silence(self, line: Line) -> None:
        """See Line.silence."""
        self._done(line.silence())

    def mend(self, line: Line) -> None:
        """See Line.mend."""
        self._done(line.mend())

    def stop(self) -> None:
        """Drops everything and ends the thread."""
        if not self._thread.is_alive():
            self._loop.close()
            return

        async def end() -> None:
            for line in self._lines:
                await line.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # A transport that was dropped closes its socket in the next round.
            await asyncio.sleep(0)

        self._done(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def _done(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)
