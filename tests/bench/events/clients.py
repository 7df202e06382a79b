"""Notes when it reads what: as many clients of the stream, or as one that listens to the ledger itself.

`python -m tests.bench.events.clients streams ADDRESS COUNT` (the key on stdin) or `… listener` (the URL on stdin). It
says `ready`, then `read NUMBER` whenever all clients have read so many events, and at the end of its stdin when they
did: one object of event → times (seconds since 1970).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import sys
import time
from collections import defaultdict

import psycopg

from distributor.ledger.events import EVENTS_CHANNEL

_ID = re.compile(rb"^event: timeline\ndata: .*\nid: (\d+)\n\n", re.MULTILINE)
_POSITION = re.compile(rb"^: position\nid: \d+\n\n", re.MULTILINE)


class _Client(asyncio.Protocol):
    def __init__(self, clients: _Clients, request: bytes) -> None:
        self._clients, self._request, self._rest, self._in = clients, request, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        at = time.time()
        self._rest += data
        if not self._in and _POSITION.search(self._rest):
            self._in = True
            self._clients.joined()
        end = 0
        for found in _ID.finditer(self._rest):
            self._clients.note(int(found[1]), at)
            end = found.end()
        self._rest = self._rest[end:]

    def connection_lost(self, exc: Exception | None) -> None:
        _say(f"lost a client: {exc}")


class _Clients:
    def __init__(self, count: int) -> None:
        self.up = asyncio.Event()
        self.read: dict[int, list[float]] = defaultdict(list)
        self._count, self._joined, self._complete = count, 0, 0

    def joined(self) -> None:
        self._joined += 1
        if self._joined == self._count:
            self.up.set()

    def note(self, seq: int, at: float) -> None:
        self.read[seq].append(at)
        if len(self.read[seq]) == self._count:
            self._complete += 1
            _say(f"read {self._complete}")


async def _streams(address: str, count: int) -> dict[int, list[float]]:
    key = await asyncio.to_thread(sys.stdin.readline)
    host, _, port = address.removeprefix("http://").rpartition(":")
    request = f"GET /v1/events HTTP/1.0\r\nAuthorization: Bearer {key.strip()}\r\n\r\n".encode()
    clients = _Clients(count)
    loop = asyncio.get_running_loop()
    for _ in range(count):
        await loop.create_connection(lambda: _Client(clients, request), host, int(port))
    await clients.up.wait()
    _say("ready")
    await asyncio.to_thread(sys.stdin.read)
    return clients.read


def _listener() -> dict[int, list[float]]:
    url, read, last = sys.stdin.readline().strip(), {}, 0
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"LISTEN {EVENTS_CHANNEL}".encode())
        _say("ready")
        while not select.select([sys.stdin], [], [], 0)[0]:
            if list(conn.notifies(timeout=0.5, stop_after=1)):
                for (seq,) in conn.execute("SELECT seq FROM ledger.events WHERE seq > %s ORDER BY seq", [last]):
                    read[seq], last = [time.time()], seq
    return read


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    noted = _listener() if sys.argv[1] == "listener" else asyncio.run(_streams(sys.argv[2], int(sys.argv[3])))
    _say(json.dumps(noted))
    sys.stdout.flush()
    os._exit(0)
