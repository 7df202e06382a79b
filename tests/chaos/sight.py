"""What the ledger and the systems hold, read with plain drivers and SQL of this file: no part of the product."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg

from distributor.demo.readers import Line, Place, glance

DRIVER_ERRORS = (psycopg.Error, sqlite3.Error)
_MOVING = {"flipping", "reverting"}
_ENVIRONMENT = "SELECT version, state::text FROM ledger.environments WHERE name = %s"


@dataclass(frozen=True, slots=True)
class Shown:
    """One read of one system: its release, and the lowest and highest change batch of the marked rows."""

    release: int
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True)
class Noted:
    """The environment as the ledger has it. `state` is what the coordinators wrote."""

    version: int
    state: dict[str, Any]

    @property
    def shown(self) -> int:
        """The release that the environment shows."""
        return int(self.state["shown"])

    @property
    def rollout(self) -> str:
        """The state of the active rollout; empty without one."""
        active = self.state["active"]
        return str(active["state"]) if active else ""

    @property
    def stopped(self) -> str:
        """Why nothing goes on without an operator; empty when it does."""
        return str(self.state["pinned"] or self.state["blocked"])

    def settled(self, required: frozenset[str]) -> bool:
        """Nothing goes on, and of every required member both slots hold the release that is shown, or it has said that
        the old one will not follow before the next rollout."""
        if self.state["active"] or self.state["queue"]:
            return False
        settlement = self.state["settlement"]
        if settlement and settlement["release"] == self.shown and required <= set(settlement["settled"]):
            return True
        members = self.state["members"]
        return all(members[m]["shows"] == members[m]["shadow"] == self.shown for m in required)


class LedgerSight:
    """An open connection to the ledger, for one thread. Raises psycopg.Error; the next call connects again."""

    def __init__(self, url: Callable[[], str], environment: str) -> None:
        self._url = url
        self._environment = environment
        self._connection: psycopg.Connection | None = None

    def environment(self) -> Noted:
        """As last committed; before its first step at release 0."""
        rows = self._ask(_ENVIRONMENT, self._environment)
        if not rows:
            return Noted(0, {"shown": 0, "active": None, "queue": ["nothing yet"], "pinned": "", "blocked": ""})
        version, state = rows[0]
        return Noted(version, json.loads(state))

    def head(self) -> int:
        """The newest release; 0 without one."""
        return int(self._ask("SELECT coalesce(max(number), 0) FROM ledger.releases")[0][0])

    def letters(self) -> list[tuple[str, str, bytes]]:
        """(origin, reason, body) of every dead letter."""
        return [(origin, reason, bytes(body)) for origin, reason, body in self._ask(_LETTERS)]

    def close(self) -> None:
        """Gives the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._url(), autocommit=True, connect_timeout=5)
            return self._connection.execute(query.encode(), values).fetchall()
        except psycopg.Error:
            self.close()
            raise


_LETTERS = "SELECT origin, reason, body FROM ledger.dead_letters ORDER BY id"


class SystemSight:
    """An open connection to one system, for one thread. Raises the driver's errors; the next call connects again."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._line: Line | None = None

    def shown(self) -> Shown:
        """What one statement sees."""
        try:
            self._line = self._line or Line(self.place)
            release, _, lowest, highest = self._line.ask(glance(self.place))[0]
        except DRIVER_ERRORS:
            self.close()
            raise
        return Shown(release or 0, -1 if lowest is None else lowest, -1 if highest is None else highest)

    def close(self) -> None:
        """Gives the connection back."""
        if self._line is not None:
            with suppress(*DRIVER_ERRORS):
                self._line.close()
            self._line = None


@dataclass
class Watch:
    """Reads all systems over and over, as their users would, and beside them the ledger.

    `mixed`: the required ones showed several releases while the ledger, before and after the read, was unchanged and
    called the environment at rest. `torn`: one snapshot held rows of several change batches. `errors`: a read failed
    although its server was not `away`.
    """

    ledger: LedgerSight
    systems: list[SystemSight]
    required: frozenset[str]
    away: Callable[[str], bool]
    pause: float = 0.05
    reads: int = 0
    at_rest: int = 0
    mixed: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begins watching."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, and waits for the last look."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.wait(self.pause):
            before = self._noted()
            shown = self._look()
            after = self._noted()
            if before is None or after is None or before.version != after.version or before.rollout in _MOVING:
                continue
            releases = {name: seen.release for name, seen in shown.items() if name in self.required}
            if len(releases) < len(self.required):
                continue
            self.at_rest += 1
            if len(set(releases.values())) > 1:
                told = ", ".join(f"{name} {release}" for name, release in releases.items())
                self.mixed.append(f"{told}; rollout {before.rollout or 'none'}, version {before.version}")
        for system in self.systems:
            system.close()
        self.ledger.close()

    def _noted(self) -> Noted | None:
        try:
            return self.ledger.environment()
        except psycopg.Error:
            return None

    def _look(self) -> dict[str, Shown]:
        seen = {}
        for system in self.systems:
            name = system.place.system
            was_away = self.away(name)
            try:
                shown = seen[name] = system.shown()
            except DRIVER_ERRORS as error:
                if not (was_away or self.away(name)):
                    self.errors.append(f"{name}: {type(error).__name__}: {str(error).strip()}")
                continue
            self.reads += 1
            if shown.lowest != shown.highest:
                self.torn.append(f"{name}, release {shown.release}: batches {shown.lowest} to {shown.highest}")
        return seen
