"""Work in threads that is never left half-way: a cancelled task waits for the thread before it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """`asyncio.to_thread`, but a cancellation takes effect when the thread is done."""
    return await finishing(asyncio.to_thread(work, *arguments))


async def finishing(work: Coroutine[Any, Any, T]) -> T:
    """Awaits `work` to its end even when cancelled meanwhile; then the cancellation takes effect."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
