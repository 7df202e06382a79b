"""One row through the releases: from a release back, over no more of the store than a budget allows.

A manifest says which datasets its release changed, and nothing of keys: chunks of the row's dataset have to be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from distributor.errors import StoreError
from distributor.model.manifest import ZERO
from distributor.store.chain import Manifests, Position
from distributor.store.chunks import AFTER, BEFORE, OP, Link, Op, row_of_key

RELEASES = 500
"""Releases that are looked through for one row."""
OCTETS = 256 << 20
"""Octets of chunks that are read for one row."""

Row = Mapping[str, str | None]


class OverError(Exception):
    """The budget is over, or the store goes back no further; the text says which."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A row of which nobody can say what it was, or whether it was there."""


UNKNOWN = Unknown()
Value = Row | None | Unknown
"""A row at some release; None: there was none."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a release did to the row: column → text before and after; None where there was no row."""

    op: Op
    before: Row | None
    after: Row | None


@dataclass(slots=True)
class Passed:
    """A release that was looked at. `restart`: what changed of the dataset's columns with it. `value`: the row in this
    release, `change` what the release did to it."""

    position: Position
    created_at: datetime
    change: Change | None
    restart: tuple[str, ...]
    value: Value = UNKNOWN


NOWHERE = Position(ZERO, None)


@dataclass(slots=True)
class Budget:
    """How far one look may go. `oldest`: the oldest release that can be had, because older ones were collected."""

    releases: int = RELEASES
    octets: int = OCTETS
    oldest: int = ZERO
    spent_releases: int = 0
    spent_octets: int = 0

    def next_release(self, number: int) -> None:
        """One more manifest. Raises OverError."""
        if number < self.oldest:
            raise OverError(f"release {self.oldest} is the oldest that can be had")
        if self.spent_releases >= self.releases:
            raise OverError(f"{self.releases:,} releases were looked through")
        self.spent_releases += 1

    def next_chunk(self, octets: int) -> None:
        """One more chunk. Raises OverError."""
        if self.spent_octets + octets > self.octets:
            raise OverError(f"{self.spent_octets >> 20:,} MB of changes were read, and the next would be too many")
        self.spent_octets += octets


@dataclass
class Lookback:
    """One row of one dataset (`key`: column → canonical text): from a release back (`start`, and the row in it), and
    at single releases and variants, which may spend as much once more."""

    manifests: Manifests
    dataset: str
    key: Mapping[str, str]
    budget: Budget
    start: Position = NOWHERE
    present: Value = UNKNOWN
    passed: list[Passed] = field(default_factory=list)
    stopped: str = ""
    """Why it went back no further; empty when it came to the beginning, or has not tried."""

    def __post_init__(self) -> None:
        self._ahead = self._walk()
        self._known: dict[Position, Value] = {}
        self._aside = replace(self.budget)

    @property
    def values(self) -> tuple[str, ...]:
        """The key as the quarantine has it."""
        return tuple(self.key.values())

    @property
    def reached(self) -> int:
        """The oldest release that was looked through."""
        return self.passed[-1].position.release if self.passed else self.start.release

    @property
    def whole(self) -> bool:
        """Whether it came to the beginning."""
        return bool(self.passed) and self._below(self.passed[-1].position) == NOWHERE

    @property
    def before_all(self) -> Value:
        """The row before the oldest release that was passed, as far as that release tells."""
        oldest = self.passed[-1] if self.passed else None
        if self.whole:
            return None
        return oldest.change.before if oldest and oldest.change and not oldest.restart else UNKNOWN

    def back(self, changes: int, release: int) -> None:
        """Goes back until so many changes, and this release, were passed; `value_at` and `passed` tell of it then."""
        while not self.whole and (changes > 0 or not self._passed(release)):
            one = next(self._ahead, None)
            if one is None:
                break
            self.passed.append(one)
            changes -= bool(one.change)
        self._settle()

    def _passed(self, release: int) -> bool:
        return bool(self.passed) and self.passed[-1].position.release <= release

    def _settle(self) -> None:
        """Gives every release that was passed its value, as far as that is known now."""
        known = self.present
        for one in self.passed:
            one.value = known
            if one.restart:
                known = UNKNOWN
            elif one.change:
                known = one.change.before
        known = None if self.whole else UNKNOWN
        for one in reversed(self.passed):
            if one.change:
                known = one.change.after
            elif one.restart:
                known = None
            if isinstance(one.value, Unknown):
                one.value = known
            self._known[one.position] = one.value

    def value_at(self, position: Position) -> Value:
        """The row as a release or a variant of one has it."""
        passed: list[Position] = []
        value: Value = UNKNOWN
        try:
            while position.sha256 is not None and position not in self._known:
                passed.append(position)
                self._aside.next_release(position.release)
                one = self._look(position, self._aside)
                if one.change or one.restart:
                    value = one.change.after if one.change else None
                    break
                position = self._below(position)
            else:
                value = self._known.get(position)
        except (OverError, StoreError):
            value = UNKNOWN
        self._known.update(dict.fromkeys(passed, value))
        return value

    def is_variant(self, position: Position) -> bool:
        """Whether it is a release without some rows that an environment holds back. Raises StoreError."""
        return position.sha256 is not None and self._below(position).release == position.release

    def held_back_by(self, position: Position) -> bool:
        """Whether it is a variant that holds this row back; one that is gone from the store is none."""
        try:
            return self.is_variant(position) and self._look(position, self._aside).change is not None
        except (OverError, StoreError):
            return False

    def _walk(self) -> Iterator[Passed]:
        position = self.start
        try:
            while position.sha256 is not None:
                self.budget.next_release(position.release)
                yield self._look(position, self.budget)
                position = self._below(position)
        except (OverError, StoreError) as error:
            self.stopped = str(error)

    def _look(self, position: Position, budget: Budget) -> Passed:
        link = self.manifests.link(position)
        restart = link.restarts.get(self.dataset, ())
        return Passed(position, link.created_at, self._change(link, budget), restart)

    def _below(self, position: Position) -> Position:
        link = self.manifests.link(position)
        return Position(link.parent_release, link.parent)

    def _change(self, link: Link, budget: Budget) -> Change | None:
        for chunk in link.chunks:
            if chunk.dataset != self.dataset:
                continue
            budget.next_chunk(chunk.bytes)
            row = row_of_key(self.manifests.store, chunk, self.key)
            if row is not None:
                before, after = _side(row, BEFORE), _side(row, AFTER)
                op = Op(str(row[OP]))
                return Change(op, None if op is Op.INSERT else before, None if op is Op.DELETE else after)
        return None


def _side(row: Row, side: str) -> Row:
    return {name.removeprefix(side): value for name, value in row.items() if name.startswith(side)}
