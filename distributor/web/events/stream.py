"""One client's way along the feed, at its own pace.

Nothing is queued for a client: it has a position, and takes what follows from the hub's memory, which all share, or
from the ledger where too much has happened at once. A client that reads so slowly meanwhile that its place is
forgotten is cut off, and resumes by its position.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from distributor.errors import DistributorError
from distributor.web.events.frames import comment, gap_frame, opening, position_frame
from distributor.web.events.hub import CHUNK, Hub
from distributor.web.events.wanted import Wanted

HEARTBEAT_SECONDS = 15.0
LASTS_SECONDS = 900.0
"""A stream ends after this long: its client comes again by itself."""
SLOW_SECONDS = 1.0
"""Who takes this long to take what it is told reads slowly."""


class CutOffError(Exception):
    """The client's place is forgotten."""


class Follower:
    """A position in the feed. `after`: go on behind this event; None: begin with what happens from now on."""

    def __init__(self, hub: Hub, wanted: Wanted, after: int | None) -> None:
        self._hub, self._wanted = hub, wanted
        self._position = after
        self._told = after
        self._from_ledger = True
        self._loads = 0
        self.slow = False
        """Whether the client took long to take what it was told last."""

    async def news(self) -> bytes:
        """What there is to tell, none if nothing. Raises CutOffError, and UnreachableError."""
        if self._hub.head is None:
            return b""
        if self._position is None:
            self._position, self._from_ledger = self._hub.head, False
            return self.position()
        frames = self._progress() if self._wanted.progress else []
        if self._position != self._hub.head:
            frames += await self._events(self._position)
        return b"".join(frames)

    def position(self) -> bytes:
        """A sign of life; with the position, when it has moved without a word."""
        if self._position is None or self._position == self._told:
            return comment("still here")
        self._told = self._position
        return position_frame(self._position)

    async def _events(self, position: int) -> list[bytes]:
        found = self._hub.recent.after(position, CHUNK)
        frames = []
        left, self._from_ledger = not self._from_ledger and found is None, found is None
        if found is None:
            if left and self.slow:
                raise CutOffError
            found, newest = await self._hub.read(position)
            following = found[0].record.seq if found else newest + 1
            if following != position + 1 and not (not found and position <= newest):
                frames.append(gap_frame(position, following))
                self._position = self._told = following - 1
        if found:
            self._position = found[-1].record.seq
        wanted = [one for one in found if self._wanted(one.record)]
        if wanted:
            self._told = wanted[-1].record.seq
        return frames + [one.frame for one in wanted]

    def _progress(self) -> list[bytes]:
        newer = self._hub.loads.newer(self._loads)
        self._loads = self._hub.loads.version
        return [frame for environment, frame in newer if self._wanted.progress_of(environment)]


async def stream(
    hub: Hub, wanted: Wanted, after: int | None, may_still: Callable[[Connection], bool]
) -> AsyncIterator[bytes]:
    """What a client is told, as bytes of text/event-stream, until the hub stops, LASTS_SECONDS are over, or it may no
    longer, which is asked every HEARTBEAT_SECONDS."""
    clock = asyncio.get_running_loop().time
    follower = Follower(hub, wanted, after)
    ends, beat = clock() + LASTS_SECONDS, clock() + HEARTBEAT_SECONDS
    look = beat
    with hub.client(progress=wanted.progress):
        yield opening()
        while not hub.stopping and clock() < ends:
            turn = hub.turn
            try:
                if clock() >= look:
                    if not await hub.ask(may_still):
                        yield comment("this stream is over: its key opens nothing any more")
                        return
                    look = clock() + HEARTBEAT_SECONDS
                said = await follower.news()
            except CutOffError:
                yield comment("cut off: this client reads too slowly; come again, and go on after the last id")
                return
            except (DistributorError, SQLAlchemyError):
                yield comment("cut off: the ledger does not answer; come again, and go on after the last id")
                return
            if not said and clock() >= beat:
                said = follower.position()
            if said:
                begun = clock()
                yield said
                follower.slow = clock() - begun > SLOW_SECONDS
                beat = clock() + HEARTBEAT_SECONDS
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(min(beat, look, ends)):
                        await turn.wait()
        yield comment("this stream is over; come again, and go on after the last id")
