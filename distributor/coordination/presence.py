"""A process says that it is up, and says goodbye."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from sqlalchemy import Engine

from distributor.coordination.deliveries import patiently
from distributor.errors import DistributorError
from distributor.ledger import processes
from distributor.ledger.engine import transaction
from distributor.telemetry.clock import now


async def keep_present(engine: Engine, role: str, detail: Callable[[], Mapping[str, object]]) -> None:
    """Beats until cancelled, each time with what `detail` says then; then the row goes, unless the ledger is away."""
    identity = f"{socket.gethostname()}/{os.getpid()}"

    def beat() -> None:
        with transaction(engine) as conn:
            processes.beat(conn, processes.Process(role, identity, now(), detail()))

    def leave() -> None:
        with transaction(engine) as conn:
            processes.gone(conn, role, identity)

    try:
        while True:
            await patiently(beat)
            await asyncio.sleep(processes.HEARTBEAT_SECONDS)
    finally:
        # With the ledger away, the row grows old by itself.
        with suppress(DistributorError):
            await asyncio.to_thread(leave)
