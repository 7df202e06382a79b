"""What a process remembers for its clients: the newest events, and the newest word of each member that loads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice

from distributor.ledger.progress import MemberProgress
from distributor.web.events.frames import Framed, progress_frame

_FRESH = timedelta(minutes=1)


class Recent:
    """The newest `most` events, numbered without a gap."""

    def __init__(self, most: int) -> None:
        self._kept: deque[Framed] = deque(maxlen=most)

    def add(self, event: Framed) -> None:
        """The next event. What does not follow the one before it makes everything before forgotten."""
        if self._kept and self._kept[-1].record.seq + 1 != event.record.seq:
            self._kept.clear()
        self._kept.append(event)

    def forget(self) -> None:
        """All of it."""
        self._kept.clear()

    def after(self, position: int, most: int) -> list[Framed] | None:
        """Up to `most` events that follow a position; None when they are not remembered."""
        if not self._kept:
            return None
        behind = self._kept[-1].record.seq - position
        if not 0 <= behind <= len(self._kept):
            return None
        # From the right: nearly everybody is near the end.
        return list(islice(reversed(self._kept), max(behind - most, 0), behind))[::-1]


class Loads:
    """The newest word of each member that loads, with a version that grows with every change."""

    def __init__(self) -> None:
        self.version = 0
        self._known: dict[tuple[str, str], tuple[int, MemberProgress, bytes]] = {}

    def put(self, words: Iterable[MemberProgress], at: datetime) -> bool:
        """Takes what the ledger has; returns whether anything of it is news. What is old is none."""
        before = self.version
        for word in words:
            key = (word.environment, word.system)
            known = self._known.get(key)
            if at - word.at < _FRESH and (known is None or known[1] != word):
                self.version += 1
                self._known[key] = (self.version, word, progress_frame(word))
        return self.version > before

    def newer(self, version: int) -> list[tuple[str, bytes]]:
        """Environment and frame of every word that is newer than a version."""
        return [(word.environment, frame) for since, word, frame in self._known.values() if since > version]
