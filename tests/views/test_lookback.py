"""Looking back reads no more than it may, is never wrong, and says what it does not know."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from distributor.store.chain import Manifests, Position
from distributor.store.directory import DirectoryStore
from distributor.views.lookback import UNKNOWN, Budget, Lookback, Row, Value
from tests.store.releases import Releases
from tests.store.rows import SCHEMA, State, as_table, difference, state

KEY = ("s", "k")


@dataclass
class Counting:
    """A store that remembers what was read of it."""

    store: DirectoryStore
    read: list[str] = field(default_factory=list)

    def get(self, sha256: str) -> bytes:
        self.read.append(sha256)
        return self.store.get(sha256)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@dataclass
class Past:
    """Release n has the n-th of the states; release 0 is empty."""

    store: Counting
    releases: Releases
    states: list[State]

    @classmethod
    def of(cls, path: Path, states: list[State]) -> Past:
        store = Counting(DirectoryStore(path))
        past = cls(store, Releases(store.store), [{}])
        for new in states:
            past.releases.add(as_table(difference(past.states[-1], new)), new.values())
            past.states.append(new)
        return past

    @property
    def newest(self) -> int:
        return len(self.states) - 1

    def position(self, release: int) -> Position:
        return Position(release, self.releases.manifests[release])

    def row(self, release: int) -> Row | None:
        """The oracle."""
        row = self.states[release].get(KEY)
        return dict(zip(SCHEMA.column_names, row, strict=True)) if row else None

    def lookback(self, **budget: int) -> Lookback:
        key = dict(zip(SCHEMA.key, KEY, strict=True))
        manifests = Manifests(self.store)
        start, present = self.position(self.newest), self.row(self.newest)
        return Lookback(manifests, SCHEMA.dataset, key, Budget(**budget), start, present)

    def touched(self) -> set[int]:
        return {release for release in range(1, self.newest + 1) if self.row(release) != self.row(release - 1)}


def random_past(path: Path, seed: int) -> Past:
    """Histories in which the row comes, goes, changes, and stays as it is while others change."""
    dice = random.Random(seed)
    states: list[State] = []
    for release in range(dice.randrange(1, 12)):
        rows = [(f"{release}", f"k{n}", "s", None) for n in range(dice.randrange(4))]
        mine = states[-1].get(KEY) if states else None
        match dice.randrange(4):
            case 0:
                mine = None
            case 1:
                mine = (f"{release}", "k", "s", dice.choice([None, ""]))
        states.append(state([*rows, *([mine] if mine else [])]))
    return Past.of(path / str(seed), states)


@pytest.mark.parametrize("seed", range(12))
def test_it_is_never_wrong(tmp_path: Path, seed: int) -> None:
    past = random_past(tmp_path, seed)
    for most in (1, 2, 4, 50):
        for changes in (0, 2, 50):
            for least in (1, past.newest):
                looked = past.lookback(releases=most)
                looked.back(changes, least)
                assert len(looked.passed) <= most
                touched = {one.position.release: one.change for one in looked.passed if one.change}
                assert touched.keys() == {r for r in past.touched() if r >= looked.passed[-1].position.release}
                for release, change in touched.items():
                    assert (change.before, change.after) == (past.row(release - 1), past.row(release))
                for release in range(past.newest + 1):
                    value: Value = looked.value_at(past.position(release))
                    assert value in (UNKNOWN, past.row(release))
                    if most > past.newest and changes == 50:
                        assert value == past.row(release)
                assert looked.whole == (looked.passed[-1].position.release == 1)


def test_a_variant_is_what_its_release_is_but_for_what_it_holds_back(tmp_path: Path) -> None:
    old, new, other = ("1", "k", "s", None), ("2", "k", "s", None), ("1", "k2", "s", None)
    past = Past.of(tmp_path, [state([old]), state([new, other]), state([new])])
    release = past.position(2)
    assert release.sha256
    back = past.releases.variant(2, release.sha256, as_table(difference(past.states[2], state([old, other]))))
    without = past.releases.variant(2, release.sha256, as_table(difference(past.states[2], state([new]))))
    looked = past.lookback()
    looked.back(1, 1)
    for sha256, held, row in ((back, True, 1), (without, False, 2), (release.sha256, False, 2)):
        position = Position(2, sha256)
        assert (looked.is_variant(position), looked.held_back_by(position)) == (sha256 != release.sha256, held)
        assert looked.value_at(position) == past.row(row)


def test_it_reads_what_it_needs_and_stops_where_it_must(tmp_path: Path) -> None:
    states = [state([("0", "k", "s", None)])]
    states += [state([("0", "k", "s", None), (f"{n}", f"k{n}", "s", None)]) for n in range(9)]
    past = Past.of(tmp_path, states)
    chunks = {chunk.sha256 for n in range(1, 11) for chunk in Manifests(past.store).link(past.position(n)).chunks}

    past.store.read.clear()
    looked = past.lookback(releases=4)
    looked.back(1, 1)
    assert looked.stopped == "4 releases were looked through"
    assert len(chunks.intersection(past.store.read)) == len(chunks.intersection(past.store.read[-8:])) == 4
    assert looked.value_at(past.position(2)) == past.row(2)
    assert looked.value_at(past.position(6)) == UNKNOWN

    looked = past.lookback(octets=3000)
    looked.back(1, 1)
    assert looked.stopped.startswith("0 MB of changes were read")
    assert 0 < looked.budget.spent_octets <= 3000

    looked = past.lookback(oldest=7)
    looked.back(1, 1)
    assert (looked.stopped, looked.passed[-1].position.release) == ("release 7 is the oldest that can be had", 7)
    assert looked.value_at(past.position(7)) == past.row(7)
    assert looked.value_at(past.position(3)) == UNKNOWN

    gone = past.position(5).sha256
    assert gone
    (past.store.store.path / "objects" / gone[:2] / gone[2:]).unlink()
    looked = past.lookback()
    looked.back(1, 1)
    assert gone in looked.stopped
    # The way from there on is its own.
    assert looked.value_at(past.position(4)) == past.row(4)
