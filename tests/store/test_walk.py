"""The way between any two manifests of one tree: down to where both come from, and up again."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.errors import StoreError
from distributor.store import compose
from distributor.store.chain import Chain, Direction, walk
from distributor.store.compose import net_delta
from distributor.store.directory import DirectoryStore
from tests.store.releases import Releases
from tests.store.rows import SCHEMA, Row, State, as_changes, as_table, difference, key_of, state

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)
VALUE = st.one_of(st.none(), st.just(""), TEXT)
KEY_PART = st.sampled_from(["", "1", "1:", "ab", "ü"])
STATE = st.lists(st.tuples(VALUE, KEY_PART, KEY_PART, VALUE), max_size=8, unique_by=key_of).map(state)


@dataclass(frozen=True)
class Place:
    """A manifest of the tree, what it holds, and all that stands below it, itself first."""

    release: int
    sha256: str | None
    content: State
    lineage: tuple[str | None, ...]


class Tree:
    """Releases and variants of them, variants of variants too."""

    def __init__(self, store: DirectoryStore) -> None:
        self.releases = Releases(store)
        self.trunk = [Place(0, None, {}, (None,))]
        self.places = list(self.trunk)

    def publish(self, content: State) -> Place:
        parent = self.trunk[-1]
        self.releases.add(as_table(difference(parent.content, content)), content.values())
        return self._grown(parent, len(self.trunk), self.releases.manifests[-1], content, self.trunk)

    def vary(self, of: Place, content: State) -> Place:
        assert of.sha256 is not None
        changes = as_table(difference(of.content, content))
        sha256 = self.releases.variant(of.release, of.sha256, changes, content.values())
        return self._grown(of, of.release, sha256, content, [])

    def _grown(self, of: Place, release: int, sha256: str | None, content: State, into: list[Place]) -> Place:
        place = Place(release, sha256, content, (sha256, *of.lineage))
        into.append(place)
        self.places.append(place)
        return place

    def way(self, start: Place, end: Place) -> Chain:
        return walk(self.releases.store, end.sha256, end.release, start.sha256, start.release)


def told(chain: Chain) -> list[tuple[int, Direction]]:
    return [(step.manifest.release, step.direction) for step in chain.steps]


def rows(*names: str) -> State:
    made: list[Row] = [(name, name, "k", None) for name in names]
    return state(made)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """812 stands for release 2, 813 for release 3: each with a variant in which one key is put back."""
    tree = Tree(DirectoryStore(tmp_path))
    for names in ("a", "ab", "abc"):
        tree.publish(rows(*names))
    return tree


def test_from_a_variant_to_the_next_release_and_its_variant(tree: Tree) -> None:
    old = tree.vary(tree.trunk[2], rows("a"))
    new = tree.vary(tree.trunk[3], rows("a", "c"))
    back, forth = Direction.REVERSE, Direction.FORWARD
    assert told(tree.way(old, tree.trunk[3])) == [(2, back), (3, forth)]
    assert told(tree.way(old, new)) == [(2, back), (3, forth), (3, forth)]
    assert told(tree.way(new, old)) == [(3, back), (3, back), (2, forth)]
    assert told(tree.way(tree.trunk[2], old)) == [(2, forth)]
    assert told(tree.way(old, tree.trunk[2])) == [(2, back)]
    assert told(tree.way(old, tree.trunk[1])) == [(2, back), (2, back)]
    assert told(tree.way(tree.trunk[0], new)) == [(1, forth), (2, forth), (3, forth), (3, forth)]
    assert told(tree.way(old, old)) == []


def test_between_two_variants_of_one_release(tree: Tree) -> None:
    one, other = (tree.vary(tree.trunk[2], rows(name)) for name in "ab")
    further = tree.vary(one, rows("a", "x"))
    assert told(tree.way(one, other)) == [(2, Direction.REVERSE), (2, Direction.FORWARD)]
    assert told(tree.way(one, further)) == [(2, Direction.FORWARD)]
    assert told(tree.way(further, one)) == [(2, Direction.REVERSE)]


def test_two_histories_with_a_release_in_common_meet_there(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    one, other = Tree(store), Tree(store)
    for tree, name in ((one, "x"), (other, "y")):
        tree.publish(rows("a"))
        tree.publish(rows("a", name))
    assert one.trunk[1].sha256 == other.trunk[1].sha256
    found = one.way(one.trunk[2], other.trunk[2])
    assert told(found) == [(2, Direction.REVERSE), (2, Direction.FORWARD)]
    assert as_changes(net_delta(store, found, SCHEMA)) == difference(rows("a", "x"), rows("a", "y"))


def test_a_manifest_under_another_number_is_no_way(tree: Tree) -> None:
    with pytest.raises(StoreError, match="it is of release 3 on 2, not of release 4"):
        walk(tree.releases.store, tree.trunk[3].sha256, 4, None, 0)
    with pytest.raises(StoreError, match="it is of release 1 on 0, not of release 2"):
        walk(tree.releases.store, tree.trunk[3].sha256, 3, tree.trunk[1].sha256, 2)


@given(
    st.lists(STATE, min_size=1, max_size=6),
    st.lists(STATE, max_size=4),
    st.sampled_from([0, 300, compose.MOST_BYTES]),
    st.data(),
)
def test_composing_the_way_is_the_difference_of_its_ends(
    trunk: list[State], variants: list[State], most: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "MOST_BYTES", most)
        tree = Tree(DirectoryStore(Path(directory)))
        for content in trunk:
            tree.publish(content)
        for content in variants:
            tree.vary(data.draw(st.sampled_from(tree.places[1:])), content)
        start, end = (data.draw(st.sampled_from(tree.places)) for _ in range(2))
        found = tree.way(start, end)
        assert as_changes(net_delta(tree.releases.store, found, SCHEMA)) == difference(start.content, end.content)
        apart = set(start.lineage) ^ set(end.lineage)
        assert len(found.steps) == len(apart)
