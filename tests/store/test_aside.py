"""A store of which nothing is written: everything is found, and what is put goes away."""

from __future__ import annotations

from pathlib import Path

import pytest

from distributor.errors import StoreError
from distributor.store.aside import aside
from distributor.store.directory import DirectoryStore


def test_what_is_put_is_found_meanwhile_and_never_in_the_store(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    old = store.put(b"old")
    store.link("base", "m", old)
    before = sorted(tmp_path.rglob("*"))
    with aside(store) as beside:
        new = beside.put(b"new")
        assert (beside.get(old), beside.get(new)) == (b"old", b"new")
        assert beside.local_path(new).read_bytes() == b"new"
        assert beside.local_path(old).read_bytes() == b"old"
        assert beside.linked("base", "m") == old
        with pytest.raises(StoreError):
            beside.get("0" * 64)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(StoreError):
        store.get(new)
