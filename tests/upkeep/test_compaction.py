"""Bases come about by themselves, apart from the publisher, and only when they are due."""

from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path

import pytest

from distributor.errors import StoreError
from distributor.ledger.engine import transaction
from distributor.store.ways import read_base
from distributor.upkeep import apart, compaction
from distributor.upkeep.apart import make_apart
from distributor.upkeep.compaction import Due, Watch
from tests.upkeep.conftest import History


def due(history: History, watch: Watch) -> tuple[int, str] | None:
    with transaction(history.engine) as conn:
        found = watch.look(conn)
    return (found.release, found.why) if found else None


def watch(history: History, **settings: float) -> Watch:
    return Watch(history.store, history.settings.model_copy(update=settings))


def test_a_base_is_due_when_the_last_one_is_many_releases_old(history: History) -> None:
    assert due(history, watch(history, compact_after=4)) is None
    looking = watch(history, compact_after=3)
    assert due(history, looking) == (8, "4 releases since release 4")
    history.base(8)
    assert due(history, looking) is None
    for _ in range(4):
        history.publish()
    assert due(history, looking) == (12, "4 releases since release 8")
    assert due(history, watch(history, compact_after=0)) is None


def test_a_base_is_due_when_more_has_changed_than_it_has(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    growing = watch(history, compact_growth=2.0)
    assert due(history, growing) is None
    monkeypatch.setattr(compaction, "CHUNK_ROWS", 10)
    assert due(history, growing) == (8, "30 changed rows since release 4, which has 7")
    assert due(history, watch(history, compact_growth=10.0)) is None
    assert due(history, watch(history, compact_growth=0.0)) is None


def test_without_any_base_the_first_release_counts_as_one(history: History) -> None:
    history.store.unlink("base", history.manifest(4))
    assert due(history, watch(history, compact_after=7)) is None
    assert due(history, watch(history, compact_after=6)) == (8, "7 releases since release 1")


def test_a_base_is_made_in_a_process_of_its_own(history: History) -> None:
    made = Due(8, history.manifest(8), "")
    assert make_apart(history.store.path, made, threading.Event()) == 11
    base = read_base(history.store, history.manifest(8))
    assert base is not None
    assert base.rows == 11


def test_what_stops_it_is_told(history: History) -> None:
    history.store.local_path(history.manifest(7)).unlink()
    with pytest.raises(StoreError, match=f"base of release 8: it was not made: .*{history.manifest(7)} is missing"):
        make_apart(history.store.path, Due(8, history.manifest(8), ""), threading.Event())
    assert read_base(history.store, history.manifest(8)) is None


def test_it_ends_with_the_publisher(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    stopped = threading.Event()
    stopped.set()

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            started.append(self)

    monkeypatch.setattr(apart.subprocess, "Popen", Recorded)
    assert make_apart(Path(history.store.path), Due(8, history.manifest(8), ""), stopped) is None
    assert [process.returncode for process in started] == [-signal.SIGTERM]
    history.prove(range(1, 9))
