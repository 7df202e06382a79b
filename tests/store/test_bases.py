"""A base is a release's rows and no others, and is where whoever starts from nothing starts."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.errors import StoreError
from distributor.model.manifest import Base
from distributor.store import bases, compose
from distributor.store.bases import base_of
from distributor.store.chain import Chain
from distributor.store.compose import net_delta
from distributor.store.directory import DirectoryStore
from distributor.store.ways import BASE, Ways, read_base
from tests.store.heavy import heavy_history
from tests.store.releases import publish
from tests.store.rows import SCHEMA, State, as_changes, difference, state
from tests.store.test_walk import STATE

HISTORY: list[State] = [{}, *(state([(str(turn), str(n), "k", None) for n in range(turn + 3)]) for turn in range(5))]


def starts(chain: Chain) -> tuple[bool, list[int]]:
    """Whether a chain begins with a base, and the releases of its steps."""
    releases = [step.manifest.release for step in chain.steps]
    return isinstance(chain.steps[0].manifest, Base), releases


@given(st.lists(STATE, min_size=1, max_size=6), st.sampled_from([0, compose.MOST_BYTES]), st.data())
def test_from_a_base_on_is_as_from_nothing(states: list[State], most: int, data: st.DataObject) -> None:
    states = [{}, *states]
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "MOST_BYTES", most)
        store = DirectoryStore(Path(directory))
        manifests = publish(store, states)
        for release in data.draw(st.lists(st.integers(1, len(states) - 1), max_size=3)):
            base_of(store, release, str(manifests[release]))
        end = data.draw(st.integers(0, len(states) - 1))
        chain = Ways(store, manifests[end], end).anew()
        assert as_changes(net_delta(store, chain, SCHEMA)) == difference({}, states[end])
        zero = Ways(DirectoryStore(store.path), manifests[end], end).delta(None, 0)
        assert chain.rows <= zero.rows


def test_a_base_is_made_of_the_base_before_it(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    manifests = [str(sha256) for sha256 in publish(store, HISTORY)]
    assert starts(Ways(store, manifests[5], 5).anew()) == (False, [1, 2, 3, 4, 5])
    first = base_of(store, 2, manifests[2])
    assert starts(first.way) == (False, [1, 2])
    assert (first.base.release, first.base.rows, first.already) == (2, 4, False)
    second = base_of(store, 4, manifests[4])
    assert starts(second.way) == (True, [2, 3, 4])
    assert starts(Ways(store, manifests[5], 5).anew()) == (True, [4, 5])
    assert starts(Ways(store, manifests[3], 3).anew()) == (True, [2, 3])
    assert starts(Ways(store, manifests[1], 1).anew()) == (False, [1])
    assert base_of(store, 4, manifests[4]).already


def test_nothing_is_looked_at_below_what_would_be_longer(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    manifests = [str(sha256) for sha256 in publish(store, HISTORY)]
    base_of(store, 2, manifests[2])
    ways = Ways(store, manifests[4], 4)
    rows = ways.anew().rows
    assert starts(ways.shorter(rows + 1) or Chain(())) == (True, [2, 3, 4])
    assert ways.shorter(rows) is None
    store.local_path(manifests[3]).unlink()
    assert Ways(store, manifests[4], 4).shorter(1) is None


def test_a_base_that_is_lost_or_damaged_is_passed_over_and_made_anew(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    manifests = [str(sha256) for sha256 in publish(store, HISTORY)]
    made = base_of(store, 3, manifests[3])
    store.local_path(made.sha256).write_bytes(b"{")
    assert starts(Ways(store, manifests[4], 4).anew()) == (False, [1, 2, 3, 4])
    assert base_of(store, 3, manifests[3]).sha256 == made.sha256
    store.local_path(made.base.chunks[0].sha256).write_bytes(b"PAR1")
    again = base_of(store, 3, manifests[3])
    assert (again.already, again.base) == (False, made.base)
    store.link(BASE, manifests[4], made.sha256)
    assert read_base(store, manifests[4]) is None


def test_what_is_not_as_certified_gets_no_name(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    good = publish(store, HISTORY)
    other = state([("another", "0", "k", None)])
    bad = publish(store, [{}, other])
    content = store.get(str(good[1])).decode()
    changed = content.replace(_sums(content), _sums(store.get(str(bad[1])).decode()))
    sha256 = store.put(changed.encode())
    with pytest.raises(StoreError, match="do not lead to the rows of prices that release 1 is certified with"):
        base_of(store, 1, sha256)
    assert store.linked(BASE, sha256) is None


def test_what_ends_the_work_leaves_no_name(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    manifests = publish(store, HISTORY)

    def interrupt(_dataset: str, _rows: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        base_of(store, 2, str(manifests[2]), interrupt)
    assert list(store.links()) == []


def test_wide_rows_are_fewer_in_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "_MOST_BYTES", 10)
    store = DirectoryStore(tmp_path)
    manifests = publish(store, HISTORY, chunk_rows=3)
    made = base_of(store, 1, str(manifests[1]))
    assert [chunk.rows for chunk in made.base.chunks] == [3]
    more = publish(store, [{}, state([("x", str(n), "k", None) for n in range(7)])], chunk_rows=3)
    assert [chunk.rows for chunk in base_of(store, 1, str(more[1])).base.chunks] == [3, 3, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="weighs a process by /proc")
def test_a_base_heavier_than_memory_is_made_below_it(tmp_path: Path) -> None:
    manifest, weight = heavy_history(tmp_path, 200, 2_000)
    command = [sys.executable, "-m", "tests.store.heavy", str(tmp_path), manifest, "200", "base"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows, peak_mb = map(int, said.split())
    assert rows == 400_000
    assert peak_mb < 350 < 400 < weight / 1e6


def _sums(manifest: str) -> str:
    return manifest[manifest.index('"certificate"') :]
