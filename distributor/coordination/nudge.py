"""What ends an environment's pause: a step that changed it, or another time that it waits for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from distributor.rollout.state import Environment


class Nudge:
    """One environment's. Belongs to the event loop."""

    def __init__(self) -> None:
        self._given = asyncio.Event()
        self._state: Environment | None = None

    def give(self, state: Environment) -> None:
        """A step left the environment in this state."""
        self._state = state
        self._given.set()

    def again(self) -> None:
        """Ends the pause without a step: what it waits for may have changed."""
        self._given.set()

    async def wait(self, at_most: timedelta) -> Environment | None:
        """The newest state given, as soon as there is one; None when there was none for so long, or after `again`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most.total_seconds()):
                await self._given.wait()
        self._given.clear()
        state, self._state = self._state, None
        return state
