"""Readers of the systems, written as a system's own users would: plain drivers, no part of the distributor.

Each read is one statement, so it sees one release: it asks which one is shown and whether the marked products and
their prices all carry the same change batch.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg

from distributor.demo.catalogue import batch_of
from distributor.demo.sights import Sight, errors, marked_query, open_sight
from distributor.demo.tables import Table
from distributor.telemetry import clock

MAX_KEPT_ERRORS = 20
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one system's users read: `tables` maps dataset → the table's name there, where it is the dataset as it is;
    `facts` are its tables otherwise."""

    environment: str
    system: str
    adapter: str
    url: str
    tables: Mapping[str, str]
    facts: tuple[Table, ...] = ()

    @property
    def marked(self) -> tuple[tuple[str, str], ...]:
        """Tables that have the marked rows, and the column of product ids in each."""
        own = tuple((fact.name, fact.marked) for fact in self.facts if fact.marked)
        return own or tuple((self.tables[name], "product_id") for name in ("products", "prices") if name in self.tables)

    @property
    def name(self) -> str:
        """`ENV.SYSTEM`."""
        return f"{self.environment}.{self.system}"

    @property
    def sqlite_path(self) -> str:
        """The file of a SQLite system."""
        return self.url.removeprefix("sqlite:///")


@dataclass(frozen=True, slots=True)
class Sighting:
    """The first read that saw a release: `at` is the reader's wall clock after the read."""

    release: int
    flipped_at: datetime | None
    at: datetime


def glance(place: Place) -> str:
    """The statement of one read: release, time of its flip, lowest and highest change batch of the marked rows."""
    return marked_query(place)


class Line:
    """An open connection to one system. Raises the driver's own errors."""

    def __init__(self, place: Place) -> None:
        self._connection: psycopg.Connection | sqlite3.Connection
        if place.adapter == "sqlite":
            address = f"file:{place.sqlite_path}?mode=rw"
            self._connection = sqlite3.connect(
                address, uri=True, timeout=10, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA query_only = on")
        else:
            self._connection = psycopg.connect(place.url, autocommit=True, application_name="demo reader")

    def ask(self, query: LiteralString) -> list[Row]:
        """All rows of one statement, which is a transaction of its own."""
        return self._connection.execute(query).fetchall()

    def close(self) -> None:
        """Closes it."""
        self._connection.close()


@dataclass
class Reader:
    """Reads one system over and over until told to stop. `pause` (seconds) may be changed at any time."""

    place: Place
    pause: float = 0.1
    reads: int = 0
    errors: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    slowest_ms: float = 0.0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"reader {self.place.name}", daemon=True)

    def start(self) -> None:
        """Begins reading. Until the system has something to read, failures mean that it is not there yet."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Reads no more once the present read is over."""
        self._stop.set()

    def stop(self) -> None:
        """Ends the loop and waits for its last read."""
        self.ask_to_stop()
        self._thread.join(timeout=15)

    @property
    def shows(self) -> int | None:
        """The release that the last change of release brought; None before the first read."""
        return self.sightings[-1].release if self.sightings else None

    def first_sight(self, release: int) -> Sighting | None:
        """When this reader first saw a release; None when it has not."""
        return next((sighting for sighting in list(self.sightings) if sighting.release == release), None)

    def _run(self) -> None:
        line: Sight | None = None
        failures = errors()
        while not self._stop.wait(self.pause):
            begun = time.perf_counter()
            try:
                line = line or open_sight(self.place)
                row = line.glance()
            except failures as error:
                if line:
                    line.close()
                line = None
                if self.reads and not self._stop.is_set():
                    self._note(self.errors, f"{type(error).__name__}: {error}")
                continue
            self.slowest_ms = max(self.slowest_ms, (time.perf_counter() - begun) * 1000)
            self._take(row)
        if line:
            line.close()

    def _take(self, row: Row) -> None:
        release, flipped_at, lowest, highest = row
        self.reads += 1
        if release and not lowest == highest == batch_of(release):
            self._note(self.torn, f"release {release}: change batches {lowest} to {highest} in one snapshot")
        if self.shows != (release or 0):
            self.sightings.append(Sighting(release or 0, as_time(flipped_at), clock.now()))

    @staticmethod
    def _note(notes: list[str], text: str) -> None:
        notes.append(text if len(notes) < MAX_KEPT_ERRORS else "…")


def as_time(value: str | datetime | None) -> datetime | None:
    """A time as either kind of store gives it, in UTC."""
    if value is None:
        return None
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
