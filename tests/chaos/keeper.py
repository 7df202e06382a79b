"""What an init system does: whatever ended is started again, the same way, at once. Nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_LOOK_SECONDS = 0.03


@dataclass(frozen=True, slots=True)
class Restart:
    """A process that was started again; `back_at` in seconds of the monotonic clock, once it runs."""

    name: str
    back_at: float
    expected: bool


class Keeper:
    """Restarts what `ended` names through `launch`; `expected` says whether somebody meant it to die."""

    def __init__(
        self, ended: Callable[[], list[str]], launch: Callable[[str], None], expected: Callable[[str], bool]
    ) -> None:
        self._ended = ended
        self._launch = launch
        self._expected = expected
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self.restarts: list[Restart] = []

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; nothing is restarted any more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def count(self, name: str) -> int:
        """How often a process was restarted."""
        return sum(restart.name == name for restart in self.restarts)

    def last(self, name: str) -> Restart:
        """The newest restart of a process."""
        return next(restart for restart in reversed(self.restarts) if restart.name == name)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            for name in self._ended():
                expected = self._expected(name)
                self._launch(name)
                self.restarts.append(Restart(name, time.monotonic(), expected))
