"""A chain of changesets does exactly what its ends differ by: compose(d1..dn) == difference(v0, vn)."""

from __future__ import annotations

import datetime
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distributor.errors import StoreError
from distributor.model.certificate import Certificate
from distributor.model.manifest import Chunk, Manifest
from distributor.store.chain import walk
from distributor.store.chunks import write_chunk, write_manifest
from distributor.store.compose import net_delta
from distributor.store.directory import DirectoryStore
from tests.store.rows import SCHEMA, Row, State, as_changes, as_table, difference, key_of, state

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
VALUE = st.one_of(st.none(), st.just(""), TEXT)
KEY_PART = st.sampled_from(["", "1", "1:", "ab", "a'b", "ü"])
ROW = st.tuples(VALUE, KEY_PART, KEY_PART, VALUE)
STATE = st.lists(ROW, max_size=10, unique_by=key_of).map(state)
STATES = st.lists(STATE, min_size=2, max_size=6)


def publish(store: DirectoryStore, states: list[State], chunk_rows: int = 3) -> list[str | None]:
    """Writes the states as releases 0, 1, …; returns their manifests."""
    manifests: list[str | None] = [None]
    for number in range(1, len(states)):
        table = as_table(difference(states[number - 1], states[number]))
        chunks: tuple[Chunk, ...] = tuple(
            write_chunk(store, SCHEMA, table.slice(at, chunk_rows)) for at in range(0, table.num_rows, chunk_rows)
        )
        manifest = Manifest(
            release=number,
            parent_release=number - 1,
            parent=manifests[-1],
            created_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
            schemas=(SCHEMA,),
            chunks=chunks,
            counts={},
            certificate=Certificate(),
        )
        manifests.append(write_manifest(store, manifest))
    return manifests


@settings(deadline=None, max_examples=60)
@given(STATES, st.data())
def test_the_net_delta_is_the_difference_of_the_ends(states: list[State], data: st.DataObject) -> None:
    states = [{}, *states]
    start = data.draw(st.integers(0, len(states) - 1))
    end = data.draw(st.integers(0, len(states) - 1))
    with tempfile.TemporaryDirectory() as directory:
        store = DirectoryStore(Path(directory) / "it's a store")
        manifests = publish(store, states)
        chain = walk(store, manifests[end], end, manifests[start], start)
        assert as_changes(net_delta(store, chain, SCHEMA)) == difference(states[start], states[end])
        assert chain.rows >= len(difference(states[start], states[end]))


def test_passes_by_key_find_every_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributor.store.compose.MOST_BYTES", 5_000)
    rows: list[list[Row]] = [[(str(turn), str(n), "k", None) for n in range(100 * (turn + 1))] for turn in range(3)]
    states: list[State] = [{}, *map(state, rows)]
    store = DirectoryStore(tmp_path)
    manifests = publish(store, states, 40)
    chain = walk(store, manifests[3], 3, None, 0)
    assert as_changes(net_delta(store, chain, SCHEMA)) == difference({}, states[3])


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
