"""A chain of changesets does exactly what its ends differ by: compose(d1..dn) == difference(v0, vn)."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distributor.errors import StoreError
from distributor.store import compose
from distributor.store.chain import walk
from distributor.store.compose import net_delta
from distributor.store.directory import DirectoryStore
from tests.store.releases import publish
from tests.store.rows import SCHEMA, Row, State, as_changes, difference, key_of, state

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
VALUE = st.one_of(st.none(), st.just(""), TEXT)
KEY_PART = st.sampled_from(["", "1", "1:", "ab", "a'b", "ü"])
ROW = st.tuples(VALUE, KEY_PART, KEY_PART, VALUE)
STATE = st.lists(ROW, max_size=10, unique_by=key_of).map(state)
STATES = st.lists(STATE, min_size=2, max_size=8)


@settings(deadline=None, max_examples=60)
@given(STATES, st.sampled_from([0, 300, compose.MOST_BYTES]), st.data())
def test_the_net_delta_is_the_difference_of_the_ends(states: list[State], most: int, data: st.DataObject) -> None:
    states = [{}, *states]
    start = data.draw(st.integers(0, len(states) - 1))
    end = data.draw(st.integers(0, len(states) - 1))
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "MOST_BYTES", most)
        store = DirectoryStore(Path(directory) / "it's a store")
        manifests = publish(store, states)
        chain = walk(store, manifests[end], end, manifests[start], start)
        assert as_changes(net_delta(store, chain, SCHEMA)) == difference(states[start], states[end])
        assert chain.rows >= len(difference(states[start], states[end]))


@pytest.fixture(scope="module")
def long_history(tmp_path_factory: pytest.TempPathFactory) -> tuple[DirectoryStore, list[State], list[str | None]]:
    """300 releases over 40 keys, of which each comes, changes and goes many times."""
    chance = random.Random(7)
    states: list[State] = [{}]
    for turn in range(300):
        rows = dict(states[-1])
        for _ in range(chance.randint(1, 6)):
            key = chance.choice("ABab"), str(chance.randrange(10))
            if rows.pop(key, None) is None or chance.random() < 0.6:
                rows[key] = (chance.choice([None, "", str(turn)]), key[1], key[0], chance.choice([None, "1"]))
        states.append(rows)
    store = DirectoryStore(tmp_path_factory.mktemp("long"))
    return store, states, publish(store, states)


@pytest.mark.parametrize("most", [4_000, compose.MOST_BYTES])
@pytest.mark.parametrize(("start", "end"), [(0, 300), (300, 0), (250, 40)])
def test_hundreds_of_releases_are_the_difference_of_their_ends(
    long_history: tuple[DirectoryStore, list[State], list[str | None]],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    start: int,
    end: int,
) -> None:
    store, states, manifests = long_history
    monkeypatch.setattr(compose, "MOST_BYTES", most)
    chain = walk(store, manifests[end], end, manifests[start], start)
    assert len(chain.touching("prices")) > 0.9 * abs(end - start)
    assert as_changes(net_delta(store, chain, SCHEMA)) == difference(states[start], states[end])


def test_a_heavy_net_is_composed_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "MOST_BYTES", 5_000)
    rows: list[list[Row]] = [[(str(turn), str(n), "k", None) for n in range(100 * (turn + 1))] for turn in range(3)]
    states: list[State] = [{}, *map(state, rows)]
    store = DirectoryStore(tmp_path)
    manifests = publish(store, states, 40)
    chain = walk(store, manifests[3], 3, None, 0)
    parts = list(net_delta(store, chain, SCHEMA))
    assert as_changes(parts) == difference({}, states[3])
    assert max(part.nbytes for part in parts) <= 5_000


def test_one_changeset_is_handed_on_chunk_by_chunk(tmp_path: Path) -> None:
    states: list[State] = [{}, state([("1", str(n), "k", None) for n in range(7)])]
    store = DirectoryStore(tmp_path)
    manifests = publish(store, states)
    chain = walk(store, manifests[1], 1, None, 0)
    assert [table.num_rows for table in net_delta(store, chain, SCHEMA)] == [3, 3, 1]


def test_releases_of_two_histories_have_no_chain(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    one = publish(store, [{}, state([("1", "a", "b", None)]), state([])])
    other = publish(store, [{}, state([("2", "a", "b", None)])])
    with pytest.raises(StoreError, match="release 2 does not descend from release 1"):
        walk(store, one[2], 2, other[1], 1)
    with pytest.raises(StoreError, match="release 2 does not descend from release 1"):
        walk(store, other[1], 1, one[2], 2)
    assert walk(store, one[1], 1, one[1], 1).steps == ()
    with pytest.raises(StoreError, match="only release 0"):
        walk(store, None, 1, None, 0)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    manifests = publish(store, [{}, state([("1", "a", "b", None)]), state([])])
    assert manifests[1] is not None
    store.local_path(manifests[1]).unlink()
    with pytest.raises(StoreError, match=f"object {manifests[1]} is missing"):
        walk(store, manifests[2], 2, None, 0)
