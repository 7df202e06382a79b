"""What a directory of Parquet files promises: readers that keep their release; files that are shared, proven and
removed; processes that die anywhere; hands that alter what is not theirs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from consumers.adapters import parquet_disk, parquet_files, parquet_load, parquet_store
from consumers.adapters.parquet import ParquetAdapter
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import certificate_of, flip, holding, load, rows_of
from consumers.conformance.samples import PRICE_TABLE, TABLES, batch, numbered_rows
from distributor.errors import ConfigError, SystemAlteredError
from distributor.rollout.member_row import SlotName, other
from tests.adapters.parquet_meddler import files_of, replaced
from tests.adapters.test_parquet import ParquetSeat
from tests.support import wait_for

pytestmark = pytest.mark.conformance

READER = """
import sys, duckdb
connection = duckdb.connect()
for line in sys.stdin:
    found = connection.execute(line).fetchall()
    print(found[0][0] if found else "", flush=True)
"""


@pytest.fixture
def seat(tmp_path: Path) -> ParquetSeat:
    return ParquetSeat(tmp_path, grace_seconds=0)


@pytest.fixture
def adapter(seat: ParquetSeat) -> Iterator[ParquetAdapter]:
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    yield adapter
    adapter.close()


def release(adapter: ParquetAdapter, number: int, count: int = 20) -> None:
    """The next release, loaded and flipped."""
    with adapter.member() as member:
        shadow = other(member.row.active)
    load(adapter, shadow, number, batch(PRICE_TABLE, numbered_rows(count, number)))
    flip(adapter)


class AnotherProcess:
    """A reader with a DuckDB of its own, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, statement: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(statement + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def another_process() -> Iterator[AnotherProcess]:
    command = [sys.executable, "-c", READER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield AnotherProcess(process)
        assert process.stdin is not None
        process.stdin.close()


def test_an_attached_catalogue_keeps_its_release_however_many_flips_come(
    seat: ParquetSeat, adapter: ParquetAdapter
) -> None:
    release(adapter, 1)
    files = files_of(seat.path, "b", PRICE_TABLE.name)
    with another_process() as reader:
        reader.ask(f"ATTACH '{seat.path}/current/catalog.duckdb' AS reporting (READ_ONLY)")
        for number in range(2, 6):
            release(adapter, number)
            assert reader.ask("SELECT release FROM reporting.distributor_release") == "1"
            assert reader.ask("SELECT sum(release) FROM reporting.list_prices") == "20"
        assert all(file.exists() for file in files)
        reader.ask("DETACH reporting")
        reader.ask(f"ATTACH '{seat.path}/current/catalog.duckdb' AS reporting (READ_ONLY)")
        assert reader.ask("SELECT sum(release) FROM reporting.list_prices") == "100"
        release(adapter, 6)
        release(adapter, 7)
        assert not any(file.exists() for file in files)


def test_one_statement_and_all_that_follow_see_one_release_of_all_tables(
    seat: ParquetSeat, adapter: ParquetAdapter
) -> None:
    release(adapter, 1)
    with duckdb.connect() as report:
        report.execute(f"ATTACH '{seat.path}/current/catalog.duckdb' AS reporting (READ_ONLY)")
        assert report.execute("SELECT count(*) FROM reporting.list_prices").fetchall() == [(20,)]
        release(adapter, 2, count=30)
        assert report.execute("SELECT count(*) FROM reporting.list_prices").fetchall() == [(20,)]
        assert report.execute("SELECT release FROM reporting.distributor_release").fetchall() == [(1,)]
        tags = report.execute("SELECT tags FROM duckdb_databases() WHERE database_name = 'reporting'").fetchall()
        assert tags[0][0]["storage_version"].startswith("v1.0.0")
        report.execute("DETACH reporting")
        report.execute(f"ATTACH '{seat.path}/current/catalog.duckdb' AS reporting (READ_ONLY)")
        assert report.execute("SELECT count(*) FROM reporting.list_prices").fetchall() == [(30,)]


def test_readers_without_duckdb_find_the_files_by_name(tmp_path: Path) -> None:
    seat = ParquetSeat(tmp_path)
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    release(adapter, 1)
    told = json.loads((seat.path / "current" / "release.json").read_text(encoding="utf-8"))
    assert (told["environment"], told["system"], told["release"]) == (ENVIRONMENT, SYSTEM, 1)
    assert told["flipped_at"] == "2026-03-01 12:00:00.123456+00:00"
    assert set(told["tables"]) == {table.name for table in TABLES}
    # Within the grace what was read once is there still.
    for number in range(2, 5):
        release(adapter, number)
    adapter.close()
    files = [seat.path / file for file in told["tables"][PRICE_TABLE.name]]
    rows = [tuple(row.values()) for file in files for row in pq.read_table(file).to_pylist()]
    assert sorted(rows) == [(sku, int(number)) for sku, number in numbered_rows(20, 1)]


def test_files_that_a_delta_does_not_touch_are_shared(
    seat: ParquetSeat, adapter: ParquetAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "PART_ROWS", 100)
    rows = numbered_rows(1000, 1)
    load(adapter, "b", 1, batch(PRICE_TABLE, rows))
    before = set(files_of(seat.path, "b", PRICE_TABLE.name))
    assert len(before) > 8
    (touched,) = load(adapter, "b", 2, batch(PRICE_TABLE, numbered_rows(1, 2)))
    after = set(files_of(seat.path, "b", PRICE_TABLE.name))
    assert (len(before - after), len(after - before)) == (1, 1)
    assert touched.before == certificate_of(PRICE_TABLE, rows[:1])
    now = [*numbered_rows(1, 2), *rows[1:]]
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, now)
    flip(adapter)
    assert duckdb.execute(f"SELECT count(*) FROM read_parquet({[str(file) for file in after]})").fetchall() == [(1000,)]


def test_a_growing_file_is_parted_and_each_key_stays_with_its_bucket(
    adapter: ParquetAdapter, seat: ParquetSeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "PART_ROWS", 50)
    for start in range(0, 600, 60):
        load(adapter, "b", 1 + start, batch(PRICE_TABLE, numbered_rows(60, 1, start=start)))
    rows = numbered_rows(600, 1)
    assert len(files_of(seat.path, "b", PRICE_TABLE.name)) > 8
    whole = certificate_of(PRICE_TABLE, rows)
    with adapter.auditing() as snapshot:
        for number in range(64):
            found = snapshot.buckets("b", PRICE_TABLE, {number}).buckets
            assert found == {n: bucket for n, bucket in whole.buckets.items() if n == number}


def test_many_batches_over_stored_rows_fold_to_what_is_stored(adapter: ParquetAdapter) -> None:
    """From the second batch on, keys are looked up in a copy of the files."""
    old = numbered_rows(500, 1)
    load(adapter, "b", 1, batch(PRICE_TABLE, old))
    pieces = [batch(PRICE_TABLE, numbered_rows(50, 2, start=start)) for start in (0, 30, 60, 480)]
    pieces.append(batch(PRICE_TABLE, (), numbered_rows(40, 0, start=100)))
    folded = certificate_of(PRICE_TABLE, old)
    for touched in load(adapter, "b", 2, *pieces):
        folded = folded.minus(touched.before).plus(touched.after)
    kept = {row[0]: row for row in [*old, *numbered_rows(110, 2), *numbered_rows(50, 2, start=480)]}
    rows = [row for sku, row in kept.items() if not "P000100" <= sku < "P000140"]
    assert folded == adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, rows)


@pytest.mark.parametrize(
    "fault",
    [
        "SELECT * FROM ({rows}) LIMIT 18",
        "SELECT c0, c1 + 1 AS c1 FROM ({rows})",
        "FROM ({rows}) UNION ALL FROM ({rows})",
        "SELECT c0, lead(c1, 1, 0) OVER (ORDER BY c0) AS c1 FROM ({rows})",
    ],
    ids=["a row less", "other values", "rows twice", "values moved on by one row"],
)
def test_a_file_that_does_not_hold_what_it_should_is_not_put_in_force(
    seat: ParquetSeat, adapter: ParquetAdapter, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(20, 1)))
    real = parquet_load.write

    def faulty(connection: Any, folder: Any, table: Any, number: int, piece: tuple[int, int], rows: str) -> Any:
        return real(connection, folder, table, number, piece, fault.format(rows=rows))

    monkeypatch.setattr(parquet_load, "write", faulty)
    asked: list[Any] = []
    with pytest.raises(SystemAlteredError, match="rows were written"), adapter.loading("b") as loading:  # noqa: PT012
        loading.apply(batch(PRICE_TABLE, [("P000003", "7")], [("P000004", None)]))
        loading.commit(lambda row: asked.append(row) or row)
    assert asked == []
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(20, 1))
    with adapter.member() as member:
        assert member.row.slots["b"].release == 1


def test_rows_that_drifted_elsewhere_in_a_touched_file_stay_as_they_are(
    seat: ParquetSeat, adapter: ParquetAdapter
) -> None:
    """A delta mends what it touches; the rest is for an audit to find, and no load fails for it."""
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(20, 1)))
    (file,) = files_of(seat.path, "b", PRICE_TABLE.name)
    with duckdb.connect() as connection:
        replaced(connection, f"(SELECT sku, 9::BIGINT AS release FROM read_parquet('{file}'))", file)
    (touched,) = load(adapter, "b", 2, batch(PRICE_TABLE, numbered_rows(3, 2)))
    assert touched.before == certificate_of(PRICE_TABLE, numbered_rows(3, 9))
    drifted = [*numbered_rows(3, 2), *numbered_rows(17, 9, start=3)]
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, drifted)


def test_a_load_whose_base_was_replaced_commits_nothing_whatever_its_guard_says(
    seat: ParquetSeat, adapter: ParquetAdapter
) -> None:
    quicker = seat.adapter()
    with adapter.loading("b") as loading:
        loading.apply(batch(PRICE_TABLE, numbered_rows(5, 1)))
        load(quicker, "b", 2, batch(PRICE_TABLE, numbered_rows(9, 2)))
        assert loading.commit(lambda row: holding(row, "b", 1)) is None
    quicker.close()
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(9, 2))


def test_what_a_running_load_or_audit_needs_is_not_swept(seat: ParquetSeat, adapter: ParquetAdapter) -> None:
    release(adapter, 1)
    release(adapter, 2)
    busy, auditor = seat.adapter(), seat.adapter()
    with auditor.auditing() as snapshot, busy.loading("b") as loading:
        before = snapshot.buckets("a", PRICE_TABLE)
        loading.apply(batch(PRICE_TABLE, numbered_rows(30, 3)))
        for number in range(3, 7):
            with adapter.member() as member:
                member.save(member.row.model_copy(update={"floor": number}))
            load(adapter, "a", number, batch(PRICE_TABLE, numbered_rows(20, number)))
        assert snapshot.buckets("a", PRICE_TABLE) == before
        assert snapshot.buckets("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(20, 1))
        assert loading.commit(lambda row: holding(row, "b", 3)) is not None
    busy.close()
    auditor.close()
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(30, 3))


def test_a_load_that_fails_leaves_no_files(seat: ParquetSeat, adapter: ParquetAdapter) -> None:
    before = set((seat.path / "data").glob("*/*"))
    with adapter.loading("b") as loading:
        loading.apply(batch(PRICE_TABLE, numbered_rows(100, 1)))
        assert loading.commit(lambda row: None) is None
    with pytest.raises(ZeroDivisionError), adapter.loading("b") as loading:  # noqa: PT012
        loading.apply(batch(PRICE_TABLE, numbered_rows(100, 1)))
        raise ZeroDivisionError
    assert set((seat.path / "data").glob("*/*")) == before


def test_nothing_is_left_behind(seat: ParquetSeat, adapter: ParquetAdapter) -> None:
    for number in range(1, 12):
        release(adapter, number)
    load(adapter, "a", 12)
    named = {file for slot in ("a", "b") for table in TABLES for file in _files(seat, slot, table.name)}
    assert {file for file in (seat.path / "data").glob("*/*") if file.is_file()} == named
    assert len(list((seat.path / "versions").iterdir())) <= 2


def _files(seat: ParquetSeat, slot: str, name: str) -> list[Path]:
    return files_of(seat.path, "a" if slot == "a" else "b", name)


class Death(BaseException):
    """kill -9: nothing of the adapter's own handles it."""


def _dying_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Lets a process die before the count-th thing that it asks of the disk."""
    steps = iter(range(count))
    for place, name in (
        (parquet_store, "synced"),
        (parquet_store, "written"),
        (parquet_disk, "synced"),
        (parquet_load, "synced"),
        (Path, "replace"),
        (Path, "symlink_to"),
        (Path, "mkdir"),
        (Path, "touch"),
        (Path, "hardlink_to"),
    ):
        real = getattr(place, name)

        def step(*args: Any, real: Any = real, **options: Any) -> Any:
            if next(steps, None) is None:
                raise Death
            return real(*args, **options)

        monkeypatch.setattr(place, name, step)


def _state(seat: ParquetSeat) -> tuple[SlotName, int, list[tuple[str | None, ...]]]:
    """What a process that starts now finds: the row, and what readers see; they never contradict each other."""
    later = seat.adapter()
    later.prepare(ENVIRONMENT, SYSTEM, TABLES)
    with later.member() as member:
        row = member.row
    sight = seat.reader().look(PRICE_TABLE)
    assert sight.release == (row.online.release or 0)
    assert sorted(sight.rows) == sorted(rows_of(later, row.active, PRICE_TABLE))
    assert later.inspect([(table.mapping, table.schema) for table in TABLES]) == []
    later.close()
    return row.active, row.slots["b"].release or 0, sorted(sight.rows)


def _dies(monkeypatch: pytest.MonkeyPatch, count: int, work: Any) -> bool:
    with monkeypatch.context() as patched:
        _dying_at(patched, count)
        try:
            work()
        except Death:
            return True
    return False


def test_a_flip_that_dies_anywhere_is_done_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for count in range(40):
        seat = ParquetSeat(tmp_path / str(count))
        seat.directory.mkdir()
        adapter = seat.adapter()
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
        died = _dies(monkeypatch, count, lambda adapter=adapter: flip(adapter))
        found.append(_state(seat))
        adapter.close()
        if not died:
            break
    old, new = ("a", 1, []), ("b", 1, sorted(numbered_rows(5, 1)))
    assert found == [*([old] * found.count(old)), *([new] * found.count(new))]
    assert found.count(old) > 3
    assert found.count(new) > 1


def test_a_load_that_dies_anywhere_is_done_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for count in range(60):
        seat = ParquetSeat(tmp_path / str(count))
        seat.directory.mkdir()
        adapter = seat.adapter()
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        died = _dies(
            monkeypatch, count, lambda adapter=adapter: load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
        )
        active, number, seen = _state(seat)
        later = seat.adapter()
        assert (active, seen) == ("a", [])
        assert rows_of(later, "b", PRICE_TABLE) == (numbered_rows(5, 1) if number else [])
        later.close()
        adapter.close()
        found.append(number)
        if not died:
            break
    assert found == sorted(found)
    assert found[-1] == 1
    assert found.count(0) > 3


def test_a_first_prepare_that_dies_anywhere_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in range(40):
        seat = ParquetSeat(tmp_path / str(count))
        seat.directory.mkdir()
        adapter = seat.adapter()
        died = _dies(monkeypatch, count, lambda adapter=adapter: adapter.prepare(ENVIRONMENT, SYSTEM, TABLES))
        adapter.close()
        assert _state(seat) == ("a", 0, [])
        if not died:
            break
    assert count > 8


KILLED = """
import sys
from pathlib import Path
from consumers.conformance.samples import PRICE_TABLE, batch, numbered_rows
from tests.adapters.test_parquet import ParquetSeat
adapter = ParquetSeat(Path(sys.argv[1]), grace_seconds=0).adapter()
with adapter.loading("b") as loading:
    loading.apply(batch(PRICE_TABLE, numbered_rows(100, 1)))
    if sys.argv[2] == "locked":
        loading.commit(lambda row: (print("there", flush=True), sys.stdin.read()) and None)
    print("there", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _child(seat: ParquetSeat, how: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", KILLED, str(seat.directory), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield process
        process.kill()


@pytest.mark.parametrize("how", ["loading", "locked"])
def test_what_a_killed_process_leaves_is_swept_by_the_next_load(
    seat: ParquetSeat, adapter: ParquetAdapter, how: str
) -> None:
    before = set((seat.path / "data").iterdir())
    with _child(seat, how) as process:
        (folder,) = set((seat.path / "data").iterdir()) - before
        if how == "loading":
            load(adapter, "a", 1)
            assert folder.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert folder.exists()
    load(adapter, "b", 2, batch(PRICE_TABLE, numbered_rows(3, 2)))
    assert not folder.exists()
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(3, 2))


def test_the_process_that_has_the_lock_is_named_and_its_end_is_the_mend(
    seat: ParquetSeat, adapter: ParquetAdapter
) -> None:
    assert adapter.waits_for().what == ""
    with _child(seat, "locked") as process:
        thread = threading.Thread(target=flip, args=(adapter,))
        thread.start()
        found = wait_for(lambda: (said := adapter.waits_for()).what and said, what="an obstacle")
        assert found.what == f"the lock {seat.path}/distributor.lock, which process {process.pid} has"
        assert found.mend == f"kill {process.pid}"
        os.kill(process.pid, signal.SIGTERM)
        thread.join(30)
    with adapter.member() as member:
        assert member.row.active == "b"


NARROWED = "CREATE VIEW list_prices AS SELECT * FROM read_parquet(['{file}']) WHERE release > 7"


@pytest.fixture
def online(seat: ParquetSeat, adapter: ParquetAdapter) -> ParquetAdapter:
    release(adapter, 1, count=5)
    return adapter


def inspected(adapter: ParquetAdapter) -> list[str]:
    found = adapter.inspect([(table.mapping, table.schema) for table in TABLES])
    with adapter.auditing() as snapshot:
        assert snapshot.altered(TABLES) == found
    return found


def test_nothing_is_altered_after_loads_and_flips(online: ParquetAdapter) -> None:
    assert inspected(online) == []
    flip(online)
    assert inspected(online) == []


def test_an_altered_view_is_said_and_kept_until_it_is_dropped(seat: ParquetSeat, online: ParquetAdapter) -> None:
    (file,) = files_of(seat.path, "b", "list_prices")
    seat.run("DROP VIEW list_prices")
    seat.run(NARROWED.format(file=file))
    (found,) = inspected(online)
    assert "list_prices was altered: readers see through it what no slot holds" in found
    with pytest.raises(SystemAlteredError, match="list_prices was altered"):
        online.prepare(ENVIRONMENT, SYSTEM, TABLES)
    seat.run("DROP VIEW list_prices")
    (found,) = inspected(online)
    assert "list_prices is gone" in found
    online.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert inspected(online) == []
    assert seat.reader().look(PRICE_TABLE).rows == frozenset(numbered_rows(5, 1))


def test_readers_that_were_led_to_the_other_slot_are_led_back(seat: ParquetSeat, online: ParquetAdapter) -> None:
    (file,) = files_of(seat.path, "a", "list_prices")
    seat.run("DROP VIEW list_prices")
    seat.run(f"CREATE VIEW list_prices AS SELECT sku, release FROM read_parquet(['{file}'], hive_partitioning = false)")
    (found,) = inspected(online)
    assert "readers of list_prices see the slot that is not online" in found
    online.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert inspected(online) == []
    assert len(seat.reader().look(PRICE_TABLE).rows) == 5


@pytest.mark.parametrize("name", ["catalog.duckdb", "release.json"])
def test_what_readers_look_at_comes_back_when_its_file_is_gone(
    seat: ParquetSeat, online: ParquetAdapter, name: str
) -> None:
    (seat.path / "current" / name).unlink()
    assert inspected(online) != []
    online.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert inspected(online) == []
    assert (seat.path / "current" / name).exists()


def test_a_release_that_readers_are_told_wrongly_is_said_and_put_right(
    seat: ParquetSeat, online: ParquetAdapter
) -> None:
    seat.run("CREATE OR REPLACE VIEW distributor_release AS SELECT 99 AS release")
    (found,) = inspected(online)
    assert "and not release 1" in found
    online.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert inspected(online) == []


def test_a_lost_file_and_one_that_is_no_parquet_are_named(seat: ParquetSeat, online: ParquetAdapter) -> None:
    (file,) = files_of(seat.path, "b", "list_prices")
    file.write_bytes(b"no Parquet")
    (found,) = inspected(online)
    assert "slot b of list_prices has a file that is no Parquet" in found
    file.unlink()
    (found,) = inspected(online)
    assert "slot b of list_prices has lost its file" in found
    for refused in (
        lambda: online.audit("b", PRICE_TABLE),
        lambda: online.prepare(ENVIRONMENT, SYSTEM, TABLES),
        lambda: load(online, "b", 2, batch(PRICE_TABLE, numbered_rows(3, 2))),
    ):
        with pytest.raises(SystemAlteredError, match="has lost its file"):
            refused()


def test_a_copied_directory_is_as_good_as_the_first(seat: ParquetSeat, online: ParquetAdapter, tmp_path: Path) -> None:
    shutil.copytree(seat.path, tmp_path / "copy", symlinks=True)
    copied = ParquetSeat(tmp_path)
    copied.path = tmp_path / "copy"
    online.close()
    shutil.rmtree(seat.path)
    (tmp_path / "copy").rename(seat.path)
    assert inspected(online) == []
    release(online, 2)
    assert len(seat.reader().look(PRICE_TABLE).rows) == 20


def test_a_slot_that_has_lost_a_file_is_not_flipped_to(seat: ParquetSeat, online: ParquetAdapter) -> None:
    (file,) = files_of(seat.path, "a", "list_prices")
    file.unlink()
    with pytest.raises(SystemAlteredError, match="slot a of list_prices has lost its file"):
        flip(online)
    assert seat.reader().look(PRICE_TABLE).release == 1


def test_a_sample_of_buckets_reads_only_the_files_that_have_them(
    seat: ParquetSeat, adapter: ParquetAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "PART_ROWS", 100)
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(1000, 1)))
    read: list[list[str]] = []
    scan = parquet_files.scan

    def watched(directory: Path, files: list[str]) -> str:
        read.append(files)
        return scan(directory, files)

    monkeypatch.setattr(parquet_files, "scan", watched)
    with adapter.auditing() as snapshot:
        snapshot.buckets("b", PRICE_TABLE, {0, 1})
    assert [len(files) for files in read] == [1]


def test_a_link_that_is_gone_is_not_taken_for_an_empty_directory(seat: ParquetSeat, online: ParquetAdapter) -> None:
    target = (seat.path / "current").readlink()
    (seat.path / "current").unlink()
    with pytest.raises(SystemAlteredError, match=f"the link current is gone.*ln -s {target} current"):
        online.prepare(ENVIRONMENT, SYSTEM, TABLES)
    (seat.path / "current").symlink_to(target)
    online.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert inspected(online) == []


def test_a_directory_above_that_is_not_there_is_said(tmp_path: Path) -> None:
    adapter = ParquetSeat(tmp_path / "missing").adapter()
    with pytest.raises(ConfigError, match="missing does not exist"):
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)


def test_a_directory_with_other_files_is_not_taken(seat: ParquetSeat) -> None:
    seat.path.mkdir()
    (seat.path / "versions").mkdir()
    adapter = seat.adapter()
    with pytest.raises(SystemAlteredError, match="versions is already there"):
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert [entry.name for entry in seat.path.iterdir()] == ["versions"]
