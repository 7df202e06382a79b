"""Reading ahead: the master and the ledger work side by side, not in turns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items; a thread takes the next one while the caller works on the last.

    What taking one raises is raised here. Left early, it waits for the one that is being taken.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1) as hand:
        coming = hand.submit(lambda: next(iterator, None))
        while (item := coming.result()) is not None:
            coming = hand.submit(lambda: next(iterator, None))
            yield item
