"""When datasets are compared whole: those that no trigger watches, and those whose triggers are put to the proof."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from distributor.settings.models import Dataset

SCAN_SECONDS = 60.0
"""How often, at most, datasets that no trigger watches are compared whole, unless the config says otherwise."""


class Schedule:
    """Times in seconds of any steady clock. At first everything that is ever scanned is due."""

    def __init__(self, datasets: Mapping[str, Dataset], max_delay: float) -> None:
        self._every = {
            name: found.scan_every.total_seconds() for name, found in datasets.items() if found.scan_every is not None
        }
        self._unless_said = max(max_delay, SCAN_SECONDS)
        self._scanned_at: dict[str, float] = {}

    def next_at(self, unseen: Iterable[str]) -> float | None:
        """When the next scan is due; None: never. `unseen` are the datasets that no trigger watches."""
        return min((self._due_at(name, every) for name, every in self._wanted(unseen).items()), default=None)

    def due(self, unseen: Iterable[str], now: float) -> frozenset[str]:
        """The datasets whose time it is."""
        wanted = self._wanted(unseen).items()
        return frozenset(name for name, every in wanted if self._due_at(name, every) <= now)

    def scanned(self, names: Collection[str], now: float) -> None:
        """Notes that these were compared, beginning at `now`."""
        self._scanned_at.update(dict.fromkeys(names, now))

    def _wanted(self, unseen: Iterable[str]) -> dict[str, float]:
        return dict.fromkeys(unseen, self._unless_said) | self._every

    def _due_at(self, name: str, every: float) -> float:
        return self._scanned_at[name] + every if name in self._scanned_at else float("-inf")
