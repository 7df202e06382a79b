"""kill -9 before every single step on the disk: what is left is the old state or the new one, and goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from consumers.adapters.files import FilesAdapter
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import certificate_of, flip, load
from consumers.conformance.samples import PRICE_TABLE, batch, numbered_rows
from consumers.conformance.seat import Sight
from distributor.rollout.member_row import SlotName, other
from tests.adapters.files_deaths import TABLES
from tests.adapters.test_files import FilesSeat

pytestmark = pytest.mark.conformance

FIRST, SECOND = (Sight(release, frozenset(numbered_rows(20 * release, release))) for release in (1, 2))


def left_by(verb: str, directory: Path) -> list[Path]:
    """A directory per step that was the last one."""
    subprocess.run(
        [sys.executable, "-m", "tests.adapters.files_deaths", verb, directory],
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return sorted(directory.iterdir(), key=lambda path: int(path.name))


def goes_on(seat: FilesSeat, adapter: FilesAdapter) -> None:
    """Everything is in order, and what the dead process left is gone."""
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert adapter.inspect([(table.mapping, table.schema) for table in TABLES]) == []
    with adapter.member() as member:
        shadow = other(member.row.active)
    load(adapter, shadow, 9, batch(PRICE_TABLE, numbered_rows(60, 9)))
    flip(adapter)
    assert seat.reader().look(PRICE_TABLE) == Sight(9, frozenset(numbered_rows(60, 9)))
    inner = seat.root / "_distributor"
    assert sorted(path.name for path in inner.iterdir()) == ["lock", "member.json", "shown", "slots"]
    assert len(list((inner / "slots").iterdir())) == 2
    assert len(list((inner / "shown").iterdir())) <= 4
    assert sorted(path.name for path in seat.root.iterdir()) == ["_distributor", "current"]


def test_a_flip(tmp_path: Path) -> None:
    seen: list[Sight] = []
    for place in left_by("flip", tmp_path):
        seat = FilesSeat(place)
        reader, adapter = seat.reader(), seat.adapter()
        seen.append(sight := reader.look(PRICE_TABLE))
        with adapter.member() as member:
            # Whoever comes next says what readers have seen all along.
            assert {"b": FIRST, "a": SECOND}[member.row.active] == sight
        assert reader.look(PRICE_TABLE) == sight
        goes_on(seat, adapter)
    assert len(seen) > 20
    changed = seen.index(SECOND)
    assert seen == [FIRST] * changed + [SECOND] * (len(seen) - changed)
    assert 0 < changed < len(seen) - 3


def test_a_load(tmp_path: Path) -> None:
    old = numbered_rows(40, 2)
    states = {2: certificate_of(PRICE_TABLE, old), 3: certificate_of(PRICE_TABLE, numbered_rows(30, 3))}
    held: list[int] = []
    for place in left_by("load", tmp_path):
        seat = FilesSeat(place)
        reader, adapter = seat.reader(), seat.adapter()
        assert reader.look(PRICE_TABLE) == FIRST
        with adapter.member() as member:
            release = member.row.shadow.release
        assert release is not None
        held.append(release)
        assert adapter.audit("a", PRICE_TABLE) == states[release]
        goes_on(seat, adapter)
    assert len(held) > 10
    changed = held.index(3)
    assert held == [2] * changed + [3] * (len(held) - changed)


def test_a_first_prepare(tmp_path: Path) -> None:
    places = left_by("prepare", tmp_path)
    assert len(places) > 20
    for place in places:
        seat = FilesSeat(place)
        adapter = seat.adapter()
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        slot: SlotName = "a"
        assert adapter.read(slot, PRICE_TABLE).num_rows == 0
        assert seat.reader().look(PRICE_TABLE) == Sight(0, frozenset())
        goes_on(seat, adapter)
