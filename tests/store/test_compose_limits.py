"""What a chain may weigh, and what is said when there is too little memory or room, or a chunk on the way is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest

from distributor.errors import StoreError
from distributor.model.manifest import Chunk
from distributor.store import chunks, compose
from distributor.store.chain import Chain, walk
from distributor.store.chunks import write_chunk
from distributor.store.compose import net_delta
from distributor.store.directory import DirectoryStore
from tests.store.heavy import heavy_chain
from tests.store.releases import Releases
from tests.store.room import little_room
from tests.store.rows import SCHEMA, Row, as_table, difference, state

RELEASES, ROWS = 200, 1_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="weighs a process by /proc")


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int]:
    """A store, the newest of its manifests, and how many octets the changes weigh when all are in memory."""
    path = tmp_path_factory.mktemp("heavy")
    return path, *heavy_chain(path, RELEASES, ROWS)


def weigh(path: Path, manifest: str, *octets: str) -> str:
    command = [sys.executable, "-m", "tests.store.heavy", str(path), manifest, str(RELEASES), *octets]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@linux
def test_a_chain_heavier_than_the_limit_composes_below_it(heavy: tuple[Path, str, int]) -> None:
    path, manifest, weight = heavy
    rows, peak_mb = map(int, weigh(path, manifest).split())
    assert rows == RELEASES * ROWS
    assert peak_mb < 300 < 400 < weight / 1e6


@linux
def test_too_little_memory_is_said_and_kills_nobody(heavy: tuple[Path, str, int]) -> None:
    path, manifest, _ = heavy
    said = weigh(path, manifest, "50000000")
    assert said.startswith("compose: memory ran out while the changesets of prices were composed. Give the process")


@pytest.fixture
def two_steps(tmp_path: Path) -> tuple[DirectoryStore, Chain]:
    """Two changesets of 3,000 rows each, with texts that do not compress."""
    releases = Releases(DirectoryStore(tmp_path / "store"), chunk_rows=500)
    rows: list[Row] = [(os.urandom(32).hex(), str(n), "k", None) for n in range(6_000)]
    releases.add(as_table(difference({}, state(rows[:3_000]))))
    releases.add(as_table(difference({}, state(rows[3_000:]))))
    return releases.store, walk(releases.store, releases.manifests[2], 2, None, 0)


def test_too_little_temporary_room_is_said(
    two_steps: tuple[DirectoryStore, Chain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "MOST_BYTES", 100_000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with little_room(65_536), pytest.raises(StoreError, match="cannot be kept on the disk: File too large") as caught:
        list(net_delta(*two_steps, SCHEMA))
    assert str(tmp_path) in caught.value.where
    assert "TMPDIR" in caught.value.mend
    assert sum(table.num_rows for table in net_delta(*two_steps, SCHEMA)) == 6_000


def test_a_temporary_directory_that_is_not_there_is_said(
    two_steps: tuple[DirectoryStore, Chain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "MOST_BYTES", 100_000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(StoreError, match=r"gone: .*No such file or directory.*TMPDIR"):
        list(net_delta(*two_steps, SCHEMA))


def test_a_killed_process_would_leave_no_file(
    two_steps: tuple[DirectoryStore, Chain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(compose, "MOST_BYTES", 100_000)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    delta = net_delta(*two_steps, SCHEMA)
    next(delta)
    assert list(temporary.iterdir()) == []
    delta.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("place", [0, 5, 11])
def test_a_damaged_chunk_of_a_chain_is_named(two_steps: tuple[DirectoryStore, Chain], place: int) -> None:
    store, chain = two_steps
    chunk = [chunk for step in chain.steps for chunk in step.chunks("prices")][place]
    path = store.local_path(chunk.sha256)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=f"object {chunk.sha256} is damaged"):
        list(net_delta(store, chain, SCHEMA))


def test_a_chunk_of_another_shape_is_refused_in_a_chain_too(two_steps: tuple[DirectoryStore, Chain]) -> None:
    store, chain = two_steps
    table = as_table(difference({}, state([("1", "a", "b", None)])))
    chunk = write_chunk(store, SCHEMA, table)
    swapped = table.rename_columns([table.column_names[0], *reversed(table.column_names[1:])])
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(swapped, sink)
    wrong = {
        "the order of columns": chunk.model_copy(update={"sha256": store.put(sink.getvalue().to_pybytes())}),
        "1 rows, the manifest says 2": chunk.model_copy(update={"rows": 2}),
        "'upsert'": write_chunk(store, SCHEMA, table.set_column(0, "op", pa.array(["upsert"]))),
        "no Parquet file": chunk.model_copy(update={"sha256": store.put(b"PAR1")}),
    }
    for what, odd in wrong.items():
        with pytest.raises(StoreError, match=what):
            list(net_delta(store, _with_another(chain, odd), SCHEMA))


def _with_another(chain: Chain, chunk: Chunk) -> Chain:
    first, second = chain.steps
    manifest = second.manifest.model_copy(update={"chunks": (*second.manifest.chunks, chunk)})
    return Chain((first, type(second)(manifest, second.direction)))


def test_wide_rows_are_handed_on_a_few_at_a_time(
    two_steps: tuple[DirectoryStore, Chain], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, chain = two_steps
    monkeypatch.setattr(chunks, "PIECE_BYTES", 10_000)
    one = Chain(chain.steps[:1])
    pieces = list(net_delta(store, one, SCHEMA))
    assert sum(piece.num_rows for piece in pieces) == 3_000
    assert max(piece.nbytes for piece in pieces) < 20_000
