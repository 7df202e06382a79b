"""Objects are whole or not there, and say so."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from distributor.errors import StoreError, StoreFullError
from distributor.model.manifest import Manifest
from distributor.store.chunks import Link, read_chunk, read_link, read_manifest, write_chunk, write_manifest
from distributor.store.directory import DirectoryStore
from tests.store.releases import Releases
from tests.store.room import little_room
from tests.store.rows import SCHEMA, as_changes, as_table, difference, state


def files(path: Path) -> list[Path]:
    return sorted(found for found in path.rglob("*") if found.is_file())


def test_bytes_come_back_by_their_sha256(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "not" / "there" / "yet")
    sha256 = store.put(b"content")
    assert sha256 == hashlib.sha256(b"content").hexdigest()
    assert store.get(sha256) == b"content"
    assert store.local_path(sha256).read_bytes() == b"content"
    assert files(tmp_path) == [tmp_path / "not" / "there" / "yet" / "objects" / sha256[:2] / sha256[2:]]


def test_keeping_twice_is_keeping_once(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    source = tmp_path / "file"
    source.write_bytes(b"x" * 3_000_000)
    first = store.put_file(source)
    inode = store.local_path(first).stat().st_ino
    assert store.put(source.read_bytes()) == first
    assert store.local_path(first).stat().st_ino == inode
    assert source.exists()


@pytest.mark.parametrize("damage", [b"", b"contenT", b"content and more"])
def test_a_damaged_object_is_never_handed_out_and_is_mended_by_keeping_it_again(tmp_path: Path, damage: bytes) -> None:
    store = DirectoryStore(tmp_path)
    sha256 = store.put(b"content")
    store.local_path(sha256).write_bytes(damage)
    for read in (store.get, store.local_path):
        with pytest.raises(StoreError, match="is damaged") as caught:
            read(sha256)
        assert sha256 in caught.value.what
        assert sha256[2:] in caught.value.where
        assert "Restore" in caught.value.mend
    assert store.put(b"content") == sha256
    assert store.get(sha256) == b"content"


def test_a_missing_object_says_where_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is missing.*backup"):
        DirectoryStore(tmp_path).get("0" * 64)
    with pytest.raises(StoreError, match="no sha256"):
        DirectoryStore(tmp_path).get("../../etc/passwd")


def test_what_a_dead_writer_left_harms_nobody(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    sha256 = hashlib.sha256(b"content").hexdigest()
    directory = tmp_path / "objects" / sha256[:2]
    directory.mkdir(parents=True)
    (directory / ".partial-dead").write_bytes(b"cont")
    assert store.put(b"content") == sha256
    assert store.get(sha256) == b"content"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    content = os.urandom(200_000)
    with little_room(65_536), pytest.raises(StoreFullError, match=r"the store is full.*Make room") as caught:
        store.put(content)
    assert caught.value.retryable
    assert files(tmp_path) == []
    assert store.get(store.put(content)) == content


def test_a_chunk_comes_back_as_it_was(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    old, new = state([("1", "a", "b", None), ("2", "c", "", "")]), state([("1", "a", "b", ""), ("3", "d\n", "ü", '"')])
    chunk = write_chunk(store, SCHEMA, as_table(difference(old, new)))
    assert (chunk.dataset, chunk.rows, chunk.bytes) == ("prices", 3, len(store.get(chunk.sha256)))
    assert as_changes([read_chunk(store, chunk, SCHEMA)]) == difference(old, new)


def test_a_chunk_of_another_shape_is_refused(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    table = as_table(difference({}, state([("1", "a", "b", None)])))
    chunk = write_chunk(store, SCHEMA, table)
    narrower = SCHEMA.model_copy(update={"columns": SCHEMA.columns[:3]})
    with pytest.raises(StoreError, match=r"after\.note's, before\.note's"):
        read_chunk(store, chunk, narrower)
    with pytest.raises(StoreError, match="1 rows, the manifest says 2"):
        read_chunk(store, chunk.model_copy(update={"rows": 2}), SCHEMA)
    with pytest.raises(StoreError, match="no Parquet file"):
        read_chunk(store, chunk.model_copy(update={"sha256": store.put(b"PAR1")}), SCHEMA)
    with pytest.raises(StoreError, match="int64"):
        write_chunk(store, SCHEMA, table.set_column(1, "before.amount", pa.array([1])))
    odd = write_chunk(store, SCHEMA, table.set_column(0, "op", pa.array(["upsert"])))
    with pytest.raises(StoreError, match="'upsert'"):
        read_chunk(store, odd, SCHEMA)


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    for read in (read_manifest, read_link):
        with pytest.raises(StoreError, match="no manifest that this program can read"):
            read(store, store.put(b'{"release": 1}'))


def test_a_link_is_a_manifest_less_what_a_chain_does_not_need(tmp_path: Path) -> None:
    manifest = Releases(DirectoryStore(tmp_path)).add(as_table(difference({}, state([("1", "a", "b", None)]))))
    assert Link.model_fields.keys() == Manifest.model_fields.keys()
    link = read_link(DirectoryStore(tmp_path), write_manifest(DirectoryStore(tmp_path), manifest))
    assert (link.release, link.parent_release, link.parent, link.chunks) == (1, 0, None, manifest.chunks)
    newer = json.dumps(json.loads(manifest.model_dump_json()) | {"edition": "masked"})
    with pytest.raises(StoreError, match=r"edition.*newer version"):
        read_link(DirectoryStore(tmp_path), DirectoryStore(tmp_path).put(newer.encode()))
