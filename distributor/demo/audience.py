"""All readers of an estate, and what they have seen together."""

from __future__ import annotations

from datetime import datetime

from distributor.demo.readers import Place, Reader
from distributor.demo.watching import SettledWatch


class Audience:
    """A reader for each system, and a watch over the systems of one environment. `watch` has its own ledger view."""

    def __init__(self, places: list[Place], watch: SettledWatch, pause: float) -> None:
        self.readers = [Reader(place, pause=pause) for place in places]
        self.watch = watch
        self.set_pause(pause)

    def begin(self) -> None:
        """All start reading."""
        for reader in self.readers:
            reader.start()
        self.watch.start()

    def end(self) -> None:
        """All have read for the last time."""
        self.watch.ask_to_stop()
        for reader in self.readers:
            reader.ask_to_stop()
        for reader in self.readers:
            reader.stop()
        self.watch.stop()

    def set_pause(self, seconds: float) -> None:
        """How long everybody waits between two reads."""
        self.watch.pause = seconds
        for reader in self.readers:
            reader.pause = seconds

    @property
    def reads(self) -> int:
        """Reads so far."""
        return sum(reader.reads for reader in self.readers)

    @property
    def errors(self) -> int:
        """Reads that failed."""
        return sum(len(reader.errors) for reader in self.readers)

    @property
    def torn(self) -> int:
        """Reads that saw pieces of two releases."""
        return sum(len(reader.torn) for reader in self.readers)

    @property
    def everybody_read(self) -> bool:
        """Whether every system was read at all: without that, no errors say nothing."""
        return all(reader.reads for reader in self.readers)

    def of(self, environment: str) -> list[Reader]:
        """The readers of one environment."""
        return [reader for reader in self.readers if reader.place.environment == environment]

    def all_see(self, environment: str, release: int) -> bool:
        """Whether every system of an environment shows a release, as last read."""
        return all(reader.shows == release for reader in self.of(environment))

    def ever_saw(self, environment: str) -> set[int]:
        """Every release that was ever seen in an environment."""
        return {sighting.release for reader in self.of(environment) for sighting in list(reader.sightings)}

    def told(self) -> str:
        """Who shows what."""
        return ", ".join(f"{reader.place.name} {reader.shows}" for reader in self.readers)

    def last_flip(self, environment: str, release: int) -> datetime:
        """When the last system of an environment flipped to a release, as the systems themselves say."""
        return max(self._flips(environment, release))

    def skew_ms(self, environment: str, release: int) -> float:
        """From the first system's flip to the last one's."""
        flips = self._flips(environment, release)
        return (max(flips) - min(flips)).total_seconds() * 1000

    def _flips(self, environment: str, release: int) -> list[datetime]:
        sights = [reader.first_sight(release) for reader in self.of(environment)]
        return [sight.flipped_at or sight.at for sight in sights if sight is not None]
