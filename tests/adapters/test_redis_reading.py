"""What readers of a Redis member can rely on: the functions, MULTI, cursors, and what they may be allowed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from consumers.adapters import redis_reading
from consumers.adapters.redis import RedisAdapter
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import flip, holding, load
from consumers.conformance.samples import PRICE_TABLE, SAMPLE_TABLE, TABLES, batch, nasty_rows, numbered_rows
from distributor.local.redis import LocalRedis
from tests.adapters.test_redis import RedisSeat, seats

pytestmark = pytest.mark.conformance
__all__ = ["seats"]
READER = ">secret ~PREFIX ~PREFIX:* +fcall_ro +hget +hmget +hvals +hgetall +multi +exec"


@pytest.fixture
def seat(seats: Callable[[], RedisSeat]) -> RedisSeat:
    return seats()


@pytest.fixture
def adapter(seat: RedisSeat) -> Iterator[RedisAdapter]:
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    yield adapter
    adapter.close()


def get(seat: RedisSeat, *arguments: str) -> list[Any]:
    found = seat.redis.fcall_ro("distributor_get", 1, seat.prefix, *arguments)
    assert isinstance(found, list)
    return found


def scan(seat: RedisSeat, *arguments: str) -> list[Any]:
    found = seat.redis.fcall_ro("distributor_scan", 1, seat.prefix, *arguments)
    assert isinstance(found, list)
    return found


def test_rows_come_by_their_keys_several_at_once(seat: RedisSeat, adapter: RedisAdapter) -> None:
    load(adapter, "b", 7, batch(PRICE_TABLE, numbered_rows(50, 7)))
    flip(adapter)
    assert get(seat, "list_prices", "P000003", "no such", "P000049") == [
        7,
        ["sku", "release"],
        ["P000003", "7"],
        None,
        ["P000049", "7"],
    ]
    assert get(seat, "list_prices") == [7, ["sku", "release"]]


def test_keys_of_several_columns_come_in_their_order_and_null_is_not_empty(
    seat: RedisSeat, adapter: RedisAdapter
) -> None:
    rows = nasty_rows()
    load(adapter, "b", 1, batch(SAMPLE_TABLE, rows))
    flip(adapter)
    release, columns, *found = get(seat, "all types", *(text or "" for row in rows for text in row[:2]))
    assert (release, columns) == (1, list(SAMPLE_TABLE.schema.column_names))
    assert [tuple(row) for row in found] == rows
    with pytest.raises(redis.ResponseError, match="a key of all types has 2 columns"):
        get(seat, "all types", "one")


def test_what_cannot_be_answered_is_said(seat: RedisSeat, adapter: RedisAdapter) -> None:
    with pytest.raises(redis.ResponseError, match=r"^NOTABLE there is no table of_mine"):
        get(seat, "of_mine", "1")
    with pytest.raises(redis.ResponseError, match=r"^NORELEASE"):
        seat.redis.fcall_ro("distributor_get", 1, "nobody", "list_prices", "1")
    with pytest.raises(redis.ResponseError, match="no cursor"):
        scan(seat, "list_prices", "seven")
    with pytest.raises(redis.ResponseError, match="usage"):
        scan(seat, "list_prices")
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(1, 1)))
    flip(adapter)
    (place,) = seat.redis.scan_iter(seat.key("rows", "*"))
    for damaged in ("7:P000000", "7:P0000001:11:2", "P000000"):
        seat.redis.hset(place, "7:P000000", damaged)
        with pytest.raises(redis.ResponseError, match=r"^DAMAGED a row of list_prices"):
            get(seat, "list_prices", "P000000")
        with pytest.raises(redis.ResponseError, match=r"^DAMAGED a row of list_prices"):
            scan(seat, "list_prices", "0")


def test_a_scan_goes_on_over_a_flip_there_and_back_and_not_over_another_release(
    seat: RedisSeat, adapter: RedisAdapter
) -> None:
    rows = numbered_rows(500, 1)
    load(adapter, "b", 1, batch(PRICE_TABLE, rows))
    load(adapter, "a", 2, batch(PRICE_TABLE, numbered_rows(300, 2)))
    flip(adapter)
    release, _, cursor, *found = scan(seat, "list_prices", "0", "100")
    assert release == 1
    assert 100 <= len(found) < 300
    flip(adapter)
    with pytest.raises(redis.ResponseError, match=r"^CHANGED"):
        scan(seat, "list_prices", cursor)
    flip(adapter)
    *_, end, one, two = (*scan(seat, "list_prices", cursor, "10000")[2:3], None, None)
    assert end == "0"
    assert one is two is None
    found += scan(seat, "list_prices", cursor, "10000")[3:]
    assert sorted(map(tuple, found)) == rows


def test_calls_in_one_multi_see_one_release_of_all_tables(seat: RedisSeat, adapter: RedisAdapter) -> None:
    """As a reader that looks again and again sees it, while releases come and go."""
    stopped, seen, failures = threading.Event(), set[tuple[str, ...]](), list[Exception]()

    def read() -> None:
        client = redis.Redis.from_url(seat.url, decode_responses=True)
        try:
            while not stopped.is_set():
                with client.pipeline(transaction=True) as multi:
                    multi.fcall_ro("distributor_get", 1, seat.prefix, "list_prices", "P000001")
                    multi.hgetall(seat.key("distributor_release"))
                    multi.fcall_ro("distributor_get", 1, seat.prefix, "all types", "code", "1")
                    prices, told, samples = multi.execute()
                seen.add((str(prices[0]), prices[2][1], told["release"], str(samples[0]), samples[2][2]))
        except Exception as error:
            failures.append(error)
        finally:
            client.close()

    def release(number: int, slot: Any) -> None:
        sample = ("code", "1", str(number), *(None for _ in SAMPLE_TABLE.schema.columns[3:]))
        with adapter.loading(slot) as loading:
            loading.apply(batch(PRICE_TABLE, numbered_rows(20, number)))
            loading.apply(batch(SAMPLE_TABLE, [sample]))
            loading.commit(lambda row: holding(row, slot, number))
        flip(adapter)

    release(1, "b")
    thread = threading.Thread(target=read)
    thread.start()
    for number in range(2, 40):
        release(number, "b" if number % 2 else "a")
    stopped.set()
    thread.join()
    assert failures == []
    assert len(seen) > 1
    assert all(len(set(sight)) == 1 for sight in seen)


def test_what_distributor_release_tells(seat: RedisSeat, adapter: RedisAdapter) -> None:
    key = seat.key("distributor_release")
    assert seat.redis.hgetall(key) == {"environment": ENVIRONMENT, "system": SYSTEM, "release": "0", "slot": "a"}
    load(adapter, "b", 3, batch(PRICE_TABLE, numbered_rows(1, 3)))
    flip(adapter)
    told = seat.redis.hgetall(key)
    assert told == {
        "environment": ENVIRONMENT,
        "system": SYSTEM,
        "release": "3",
        "slot": "b",
        "flipped_at": "2026-03-01 12:00:00.123456+00:00",
    }


def test_a_reader_with_the_rights_of_the_page_can_read_and_nothing_else(seat: RedisSeat, adapter: RedisAdapter) -> None:
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(3, 1)))
    flip(adapter)
    user = f"shop-{seat.prefix}"
    seat.redis.execute_command("ACL", "SETUSER", user, "on", *READER.replace("PREFIX", seat.prefix).split())  # type: ignore[no-untyped-call]
    options = seat.redis.connection_pool.connection_kwargs
    reader = redis.Redis(
        host=options["host"], port=options["port"], db=options.get("db", 0), username=user, password="secret"
    )
    try:
        assert len(reader.fcall_ro("distributor_get", 1, seat.prefix, "list_prices", "P000001")) == 3  # type: ignore[arg-type]
        assert len(reader.fcall_ro("distributor_scan", 1, seat.prefix, "list_prices", "0")) == 6  # type: ignore[arg-type]
        assert reader.hgetall(seat.key("distributor_release"))
        with pytest.raises(redis.exceptions.NoPermissionError):
            reader.hset(seat.key("distributor_release"), "release", "9")
        with pytest.raises(redis.ResponseError):
            reader.fcall_ro("distributor_get", 1, "another", "list_prices", "P000001")
    finally:
        reader.close()
        seat.redis.execute_command("ACL", "DELUSER", user)  # type: ignore[no-untyped-call]


def test_members_share_a_server_under_prefixes_of_their_own(seats: Callable[[], RedisSeat]) -> None:
    seen = []
    for number, system in enumerate(("crm", "pos"), 1):
        seat = seats()
        adapter = seat.adapter()
        adapter.prepare(ENVIRONMENT, system, (PRICE_TABLE,))
        load(adapter, "b", number, batch(PRICE_TABLE, numbered_rows(number, number)))
        flip(adapter)
        adapter.close()
        seen.append(seat)
    assert [get(seat, "list_prices", "P000000")[2] for seat in seen] == [["P000000", "1"], ["P000000", "2"]]


def test_a_newer_library_stays_and_an_older_or_altered_one_is_replaced(services_directory: Path) -> None:
    with LocalRedis(services_directory / "redis-library", durable=False) as server:
        seat = RedisSeat(server.url())
        adapter = seat.adapter()
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        replaced(seat, adapter)
        adapter.close()
        seat.close()


def replaced(seat: RedisSeat, adapter: RedisAdapter) -> None:
    def version(number: int) -> str:
        return redis_reading.CODE.replace("-- version 1\n", f"-- version {number}\n-- another one\n")

    def loaded() -> str:
        return str(seat.redis.execute_command("FUNCTION LIST", "LIBRARYNAME", "distributor", "WITHCODE"))  # type: ignore[no-untyped-call]

    for number, stays in ((2, True), (1, False), (0, False)):
        seat.redis.function_load(version(number), replace=True)
        with adapter.auditing() as snapshot:
            assert bool(snapshot.altered(TABLES)) is not stays
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        assert ("another one" in loaded()) is stays
    seat.redis.function_delete("distributor")
    with adapter.auditing() as snapshot:
        assert "which readers call, is gone" in snapshot.altered(TABLES)[0]
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert adapter.inspect([(table.mapping, table.schema) for table in TABLES]) == []
