"""Names of objects, and what becomes of objects that nobody needs."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from distributor.errors import StoreError
from distributor.store.directory import DirectoryStore

ONE, OTHER = "1" * 64, "2" * 64
AGO = datetime.now(UTC) - timedelta(days=2)
"""When an object is made old, it was put a day before this."""


def made_old(store: DirectoryStore, sha256: str) -> None:
    day_before = (AGO - timedelta(days=1)).timestamp()
    os.utime(store.local_path(sha256), (day_before, day_before))


def test_a_name_leads_to_an_object_and_may_be_given_to_another(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "new")
    assert store.linked("base", ONE) is None
    store.link("base", ONE, OTHER)
    assert DirectoryStore(tmp_path / "new").linked("base", ONE) == OTHER
    store.link("base", ONE, ONE)
    store.link("kept", "oldest", OTHER)
    assert list(store.links()) == [("base", ONE, ONE), ("kept", "oldest", OTHER)]
    store.unlink("base", ONE)
    store.unlink("base", ONE)
    assert list(store.links()) == [("kept", "oldest", OTHER)]


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".partial-x", "x" * 129])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="is no name"):
        DirectoryStore(tmp_path).link("base", name, ONE)


def test_a_damaged_name_says_where_it_lies(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.link("base", ONE, OTHER)
    path = tmp_path / "names" / "base" / ONE
    path.write_text("nonsense")
    with pytest.raises(StoreError, match="leads to no object") as caught:
        store.linked("base", ONE)
    assert caught.value.where == str(path)
    assert list(store.links()) == []


def test_only_what_is_old_is_removed(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    young, old = store.put(b"young"), store.put(b"old")
    made_old(store, old)
    assert {kept.sha256: kept.bytes for kept in store.objects()} == {young: 5, old: 3}
    assert [store.remove(sha256, AGO) for sha256 in (young, old, old)] == [False, True, False]
    assert [kept.sha256 for kept in store.objects()] == [young]


def test_what_is_put_again_is_young_again(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    sha256 = store.put(b"content")
    made_old(store, sha256)
    store.put(b"content")
    assert not store.remove(sha256, AGO)
    assert store.get(sha256) == b"content"


def test_putting_and_removing_at_once_never_loses_what_was_put(tmp_path: Path) -> None:
    """Whoever was told that an object is kept finds it, however often somebody removes what is old."""
    store, stop = DirectoryStore(tmp_path), threading.Event()
    sha256 = store.put(b"content")

    def remove() -> None:
        while not stop.is_set():
            DirectoryStore(tmp_path).remove(sha256, AGO)

    removing = threading.Thread(target=remove)
    removing.start()
    try:
        for _ in range(300):
            if (path := tmp_path / "objects" / sha256[:2] / sha256[2:]).exists():
                with suppress(FileNotFoundError):
                    os.utime(path, (0, 0))
            store.put(b"content")
            assert store.get(sha256) == b"content"
    finally:
        stop.set()
        removing.join(20)


def test_what_a_dead_writer_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.link("base", ONE, store.put(b"content"))
    for directory in (tmp_path / "names" / "base", next((tmp_path / "objects").iterdir())):
        for name, at in ((".partial-old", 0.0), (".partial-young", datetime.now(UTC).timestamp())):
            (directory / name).write_bytes(b"cont")
            os.utime(directory / name, (at, at))
    assert (store.sweep(AGO, dry_run=True), store.sweep(AGO), store.sweep(AGO)) == (2, 2, 0)
    assert len(list(tmp_path.rglob(".partial-young"))) == 2
