"""Processes and servers that die, locks that are lost, loads that meet: the old state or the new one, nothing left."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumers.adapters.base import Obstacle
from consumers.adapters.redis import RedisAdapter
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import certificate_of, flip, holding, load
from consumers.conformance.samples import PRICE_TABLE, TABLES, batch, numbered_rows
from distributor.errors import UnreachableError
from tests.adapters.redis_dying import POINTS
from tests.adapters.test_redis import RedisSeat, seats
from tests.support import wait_for

pytestmark = pytest.mark.conformance
__all__ = ["seats"]
OLD = numbered_rows(600, 1)
NEW = sorted([*numbered_rows(900, 2)[50:]])


@pytest.fixture
def seat(seats: Callable[[], RedisSeat]) -> RedisSeat:
    return seats()


@pytest.fixture
def adapter(seat: RedisSeat) -> Iterator[RedisAdapter]:
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    load(adapter, "b", 1, batch(PRICE_TABLE, OLD))
    yield adapter
    adapter.close()


@pytest.fixture
def twin(seat: RedisSeat) -> Iterator[RedisAdapter]:
    """Another process's adapter."""
    adapter = seat.adapter()
    yield adapter
    adapter.close()


def left_over(seat: RedisSeat) -> set[str]:
    """Keys of rows, directories and loads that no slot has, and the lists that tell of them."""
    kept = {seat.key(name) for name in ("member", "distributor_release", "shapes")}
    for table in TABLES:
        kept |= {seat.key("table", table.name)}
        for slot in ("a", "b"):
            kept.add(place := seat.key("slot", slot, table.name))
            generation = seat.redis.hget(place, "generation")
            kept.add(directory := seat.key("directory", str(generation), table.name))
            pieces = seat.redis.hgetall(directory)
            kept |= {seat.key("rows", made_by, piece, table.name) for piece, made_by in pieces.items()}
    return set(seat.redis.scan_iter(f"{seat.prefix}:*", count=5000)) - kept


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_is_killed_leaves_the_old_or_the_new_state(
    seat: RedisSeat, adapter: RedisAdapter, point: str
) -> None:
    command = [sys.executable, "-m", "tests.adapters.redis_dying", seat.url, seat.prefix, point]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode == -signal.SIGKILL
    committed = point == "before it sweeps"
    assert (left_over(seat) != set()) or point == "in a member's transaction"
    with adapter.member() as member:
        assert member.row.slots["b"].release == (2 if committed else 1)
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, NEW if committed else OLD)
    with adapter.loading("b") as loading:
        assert loading.audit(PRICE_TABLE) == certificate_of(PRICE_TABLE, NEW if committed else OLD)
    assert left_over(seat) == set()


def test_loads_and_rebuilds_leave_nothing_behind(seat: RedisSeat, adapter: RedisAdapter) -> None:
    for release in range(2, 6):
        with adapter.loading("b") as loading:
            loading.apply(batch(PRICE_TABLE, numbered_rows(700, release)))
            loading.clear(PRICE_TABLE)
            loading.apply(batch(PRICE_TABLE, numbered_rows(300, release)))
            if release % 2:
                loading.commit(lambda row, number=release: holding(row, "b", number))  # type: ignore[misc]
        assert left_over(seat) == set()
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(300, 5))


def test_what_a_snapshot_saw_is_swept_after_it(seat: RedisSeat, adapter: RedisAdapter, twin: RedisAdapter) -> None:
    with twin.auditing() as snapshot:
        load(adapter, "b", 2, batch(PRICE_TABLE, numbered_rows(600, 2)))
        load(adapter, "b", 3, batch(PRICE_TABLE, numbered_rows(600, 3)))
        assert left_over(seat)
        assert snapshot.buckets("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, OLD)
    assert left_over(seat) == set()


def test_a_snapshot_that_was_kept_for_too_long_is_given_up(seat: RedisSeat, twin: RedisAdapter) -> None:
    twin.prepare(ENVIRONMENT, SYSTEM, TABLES)
    load(twin, "b", 1, batch(PRICE_TABLE, OLD))
    with twin.auditing() as snapshot:
        (name,) = seat.redis.zrange(seat.key("snapshots"), 0, -1)
        seat.redis.zadd(seat.key("snapshots"), {name: 1})
        load(twin, "b", 2, batch(PRICE_TABLE, numbered_rows(600, 2)))
        with pytest.raises(UnreachableError, match="given up"):
            snapshot.buckets("b", PRICE_TABLE)
    assert left_over(seat) == set()


def test_of_two_loads_into_one_slot_the_second_to_commit_does_not(
    seat: RedisSeat, adapter: RedisAdapter, twin: RedisAdapter
) -> None:
    with twin.loading("b") as slow:
        slow.apply(batch(PRICE_TABLE, numbered_rows(100, 8)))
        load(adapter, "b", 2, batch(PRICE_TABLE, numbered_rows(600, 2)))
        slow.apply(batch(PRICE_TABLE, numbered_rows(200, 9)))
        with pytest.raises(UnreachableError, match="changed by another process"):
            slow.commit(lambda row: holding(row, "b", 9))
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(600, 2))
    with adapter.member() as member:
        assert member.row.slots["b"].release == 2
    assert left_over(seat) == set()


def test_a_load_that_was_taken_for_dead_writes_and_commits_nothing(
    seat: RedisSeat, adapter: RedisAdapter, twin: RedisAdapter
) -> None:
    """As when it was held up for so long that the server gave its connection up, and another load put it away."""
    for step in ("apply", "clear", "commit"):
        with pytest.raises(UnreachableError, match="this load was given up"), twin.loading("b") as slow:  # noqa: PT012
            slow.apply(batch(PRICE_TABLE, numbered_rows(100, 8)))
            (name,) = seat.redis.smembers(seat.key("loads"))
            seat.redis.hset(seat.key("load", name), "owner", "another run/1")
            with adapter.loading("a"):
                pass
            if step == "apply":
                slow.apply(batch(PRICE_TABLE, numbered_rows(200, 9)))
            elif step == "clear":
                slow.clear(PRICE_TABLE)
            else:
                slow.commit(lambda row: holding(row, "b", 9))
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, OLD)
    with adapter.loading("b"):
        pass
    assert left_over(seat) == set()


def test_a_lock_that_was_lost_is_a_save_refused(seat: RedisSeat, adapter: RedisAdapter, twin: RedisAdapter) -> None:
    with pytest.raises(UnreachableError, match="changed by another process"), adapter.member() as held_up:  # noqa: PT012
        seat.redis.delete(seat.key("lock"))
        flip(twin)
        held_up.save(holding(held_up.row, "a", 77))
    with adapter.member() as member:
        assert (member.row.active, member.row.slots["a"].release) == ("b", 0)


def test_a_lock_ends_by_itself_where_nobody_knows_whether_its_holder_is(seat: RedisSeat, adapter: RedisAdapter) -> None:
    with adapter.member():
        assert 0 < seat.redis.pttl(seat.key("lock")) <= 10_000
    assert not seat.redis.exists(seat.key("lock"))
    run = seat.redis.info("server")["run_id"]
    seat.redis.set(seat.key("lock"), f"{run}/{seat.redis.client_id()} somebody", px=300)
    with adapter.member():
        assert "somebody" not in str(seat.redis.get(seat.key("lock")))


def test_many_processes_change_one_row_and_no_change_is_lost(seats: Callable[[], RedisSeat]) -> None:
    seat = seats()
    first = seat.adapter()
    first.prepare(ENVIRONMENT, SYSTEM, ())

    def count() -> None:
        adapter = seat.adapter()
        for _ in range(25):
            with adapter.member() as member:
                member.save(member.row.model_copy(update={"floor": member.row.floor + 1}))
        adapter.close()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with first.member() as member:
        assert member.row.floor == 100
    first.close()


def test_who_holds_the_lock_is_named_and_the_mend_frees_it(
    seat: RedisSeat, adapter: RedisAdapter, twin: RedisAdapter
) -> None:
    assert adapter.waits_for() == Obstacle()
    done = threading.Event()

    def wait() -> None:
        flip(adapter)
        done.set()

    with pytest.raises(UnreachableError), twin.member() as member:  # noqa: PT012
        assert twin.waits_for() == Obstacle()
        thread = threading.Thread(target=wait)
        thread.start()
        found = wait_for(lambda: (told := adapter.waits_for()).what and told, what="an obstacle")
        assert found.what.startswith("the lock on the member's row, which connection ")
        assert "(distributor at " in found.what
        assert not done.is_set()
        seat.redis.execute_command(found.mend)  # type: ignore[no-untyped-call]
        thread.join(30)
        assert done.is_set()
        member.save(holding(member.row, "a", 77))
    with adapter.member() as after:
        assert (after.row.active, after.row.slots["a"].release) == ("b", 0)


def test_a_lost_connection_is_said_once_and_ends_its_load(seat: RedisSeat, adapter: RedisAdapter) -> None:
    def cut() -> None:
        for client in seat.redis.client_list():
            if client["name"] == "distributor":
                seat.redis.client_kill_filter(_id=client["id"])

    cut()
    with pytest.raises(UnreachableError), adapter.member():
        pass
    with adapter.member():
        pass
    with pytest.raises(UnreachableError), adapter.loading("b") as loading:  # noqa: PT012
        cut()
        loading.apply(batch(PRICE_TABLE, numbered_rows(5, 2)))
    with pytest.raises(UnreachableError), adapter.loading("b") as loading:  # noqa: PT012
        loading.apply(batch(PRICE_TABLE, numbered_rows(5, 2)))
        cut()
        with pytest.raises(UnreachableError):
            loading.commit(lambda row: holding(row, "b", 2))
        loading.commit(lambda row: holding(row, "b", 2))
    load(adapter, "b", 3, batch(PRICE_TABLE, numbered_rows(5, 3)))
    assert left_over(seat) == set()
