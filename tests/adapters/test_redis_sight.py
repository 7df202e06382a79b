"""What leads readers in Redis, altered by hand, is said with its mend; and what the config may say."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumers.adapters.base import Inspects, KnowsItsWork, KnowsObstacles
from consumers.adapters.redis import RedisAdapter
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import flip, load
from consumers.conformance.samples import PRICE_TABLE, TABLES, batch, numbered_rows
from consumers.main import load_adapter
from distributor.errors import ConfigError, SystemAlteredError, UnreachableError
from distributor.local.processes import free_port
from distributor.local.redis import LocalRedis
from distributor.settings import MemberSettings, load_settings
from tests.adapters.test_redis import RedisSeat, seats

pytestmark = pytest.mark.conformance
__all__ = ["seats"]
URL = "redis://:secret@127.0.0.1:9/0"


@pytest.fixture
def seat(seats: Callable[[], RedisSeat]) -> RedisSeat:
    return seats()


@pytest.fixture
def adapter(seat: RedisSeat) -> Iterator[RedisAdapter]:
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
    flip(adapter)
    yield adapter
    adapter.close()


def altered(adapter: RedisAdapter) -> list[str]:
    with adapter.auditing() as snapshot:
        assert isinstance(snapshot, KnowsItsWork)
        found = list(snapshot.altered(TABLES))
        assert snapshot.buckets("b", PRICE_TABLE)
    assert isinstance(adapter, Inspects)
    assert adapter.inspect([(table.mapping, table.schema) for table in TABLES]) == found
    return found


def prepare(adapter: RedisAdapter) -> None:
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)


def release_seen(seat: RedisSeat) -> object:
    return seat.redis.fcall_ro("distributor_get", 1, seat.prefix, "list_prices", "P000001")[0]  # type: ignore[index]


def test_what_nobody_touched_is_as_it_was_made(adapter: RedisAdapter) -> None:
    assert altered(adapter) == []
    flip(adapter)
    assert altered(adapter) == []


def test_readers_of_the_other_slot_are_told_of_and_led_back(seat: RedisSeat, adapter: RedisAdapter) -> None:
    seat.redis.hset(seat.key("distributor_release"), "slot", "a")
    (found,) = altered(adapter)
    assert "readers see slot a (distributor_release), and slot b is online" in found
    prepare(adapter)
    assert altered(adapter) == []
    assert release_seen(seat) == 1


def test_a_release_that_readers_are_told_wrongly_is_said_and_put_right(seat: RedisSeat, adapter: RedisAdapter) -> None:
    seat.redis.hset(seat.key("distributor_release"), "release", "99")
    assert "tells readers release 99 of crm in prod, and not release 1" in altered(adapter)[0]
    prepare(adapter)
    assert release_seen(seat) == 1
    seat.redis.delete(seat.key("distributor_release"))
    assert "tells readers nothing, and not release 1" in altered(adapter)[0]
    prepare(adapter)
    assert altered(adapter) == []


def test_a_table_that_was_led_elsewhere_is_said_and_kept_until_it_is_deleted(
    seat: RedisSeat, adapter: RedisAdapter
) -> None:
    place = seat.key("table", "list_prices")
    seat.redis.hset(place, "b", seat.key("slot", "a", "list_prices"))
    (found,) = altered(adapter)
    assert f"{place} was altered: readers take" in found
    with pytest.raises(SystemAlteredError, match="list_prices was altered"):
        prepare(adapter)
    seat.redis.delete(place)
    assert "is gone" in altered(adapter)[0]
    prepare(adapter)
    assert altered(adapter) == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("columns", '["sku"]', "slot:a:list_prices has no column release"),
        ("columns", '["sku","release","more"]', "has a column more that was not made here"),
        ("columns", '["release","sku"]', "has its columns in another order"),
        ("columns", "sku", "has lost its columns"),
        ("key", '["release"]', r"slot:a:list_prices is not \(sku\)"),
    ],
)
def test_a_slot_of_another_shape_than_it_was_made_in_is_said_before_a_load_meets_it(
    seat: RedisSeat, adapter: RedisAdapter, field: str, value: str, said: str
) -> None:
    seat.redis.hset(seat.key("slot", "a", "list_prices"), field, value)
    assert len(altered(adapter)) == 1
    with pytest.raises(SystemAlteredError, match=said):
        prepare(adapter)
    with pytest.raises(SystemAlteredError, match=said):
        load(adapter, "a", 2, batch(PRICE_TABLE, numbered_rows(5, 2)))


def test_a_slot_or_the_row_that_is_lost_is_said(seat: RedisSeat, adapter: RedisAdapter) -> None:
    seat.redis.delete(seat.key("slot", "a", "list_prices"))
    assert "slot:a:list_prices is missing" in altered(adapter)[0]
    seat.redis.set(seat.key("slot", "a", "list_prices"), "text")
    assert "slot:a:list_prices is no hash any more" in altered(adapter)[0]
    seat.redis.delete(seat.key("member"))
    with pytest.raises(SystemAlteredError, match="lost the member's row"), adapter.member():
        pass
    with pytest.raises(SystemAlteredError, match="lost the member's row"), adapter.auditing():
        pass
    with pytest.raises(SystemAlteredError, match="distributor_release is already there"):
        prepare(adapter)


def test_a_pointer_that_became_something_else_stops_the_flip_and_stays(seat: RedisSeat, adapter: RedisAdapter) -> None:
    seat.redis.delete(seat.key("distributor_release"))
    seat.redis.set(seat.key("distributor_release"), "mine")
    assert "is already there, and was not made here" in altered(adapter)[0]
    with pytest.raises(SystemAlteredError):
        flip(adapter)
    with adapter.member() as member:
        assert member.row.active == "b"
    with pytest.raises(SystemAlteredError):
        prepare(adapter)
    assert seat.redis.get(seat.key("distributor_release")) == "mine"


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "redis://",
        "redis://:secret@host:6379/first",
        "redis://:secret@host:x/0",
        "redis://:secret@host/0?db=1",
    ],
)
def test_another_kind_of_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="no Redis URL") as refused:
        RedisAdapter(MemberSettings(adapter="redis", url=url), Path())
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prefixes": "shop"}, "no option prefixes. Known: prefix"),
        ({"prefix": 7}, "the prefix 7 is none"),
        ({"prefix": "two words"}, "the prefix 'two words' is none"),
        ({"prefix": ""}, "the prefix '' is none"),
    ],
)
def test_options_that_are_not_known_are_refused(options: dict[str, str | int | bool], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RedisAdapter(MemberSettings(adapter="redis", url=URL, options=options), Path())


def test_a_server_that_is_away_is_unreachable_and_its_password_is_not_said() -> None:
    adapter = RedisAdapter(MemberSettings(adapter="redis", url=URL), Path())
    assert isinstance(adapter, KnowsObstacles)
    for ask in (adapter.waits_for, lambda: adapter.prepare(ENVIRONMENT, SYSTEM, ())):
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9/0, prefix distributor") as failed:
            ask()
        assert "secret" not in str(failed.value)


def test_a_driver_that_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("consumers.adapters.redis", "redis"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    config = tmp_path / "distributor.toml"
    config.write_text(
        f"""
[master]
url = "postgresql://nobody@localhost/none"
[master.datasets.prices]
table = "prices"
[ledger]
url = "postgresql://nobody@localhost/none"
[broker]
url = "amqp://localhost"
[store]
path = "store"
[environments.prod.systems.shop]
adapter = "redis"
url = "{URL}"
"""
    )
    with pytest.raises(ConfigError, match=r"needs redis, which is not installed. pip install 'distributor\[redis\]'"):
        load_adapter(load_settings(config), "prod", "shop")


def test_the_rights_of_the_page_are_enough_for_a_consumer(seat: RedisSeat) -> None:
    user = f"crm-{seat.prefix}"
    rules = f"on >secret ~{seat.prefix} ~{seat.prefix}:* +@all -@dangerous +info +client|list"
    seat.redis.execute_command("ACL", "SETUSER", user, *rules.split())  # type: ignore[no-untyped-call]
    host = seat.redis.connection_pool.connection_kwargs["host"]
    port = seat.redis.connection_pool.connection_kwargs["port"]
    url = f"redis://{user}:secret@{host}:{port}/0"
    adapter = RedisAdapter(MemberSettings(adapter="redis", url=url, options={"prefix": seat.prefix}), Path())
    stranger = RedisAdapter(MemberSettings(adapter="redis", url=url, options={"prefix": "another"}), Path())
    try:
        prepare(adapter)
        for release in (1, 2):
            with adapter.loading("b") as loading:
                loading.clear(PRICE_TABLE)
                loading.apply(batch(PRICE_TABLE, numbered_rows(50, release)))
                loading.commit(lambda row: row)
        flip(adapter)
        assert altered(adapter) == []
        assert adapter.waits_for().what == ""
        with pytest.raises(ConfigError, match="password and rights"):
            prepare(stranger)
    finally:
        adapter.close()
        stranger.close()
        seat.redis.execute_command("ACL", "DELUSER", user)  # type: ignore[no-untyped-call]


def test_a_cluster_is_refused(services_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files = LocalRedis._write_files

    def clustered(server: LocalRedis) -> None:
        write_files(server)
        with (server.directory / "redis.conf").open("a") as config:
            config.write(f"cluster-enabled yes\ncluster-port {free_port()}\n")

    monkeypatch.setattr(LocalRedis, "_write_files", clustered)
    with LocalRedis(services_directory / "redis-cluster", durable=False) as server:
        adapter = RedisAdapter(MemberSettings(adapter="redis", url=server.url()), Path())
        with pytest.raises(ConfigError, match="Redis Cluster"):
            prepare(adapter)


def test_a_wrong_password_is_said(seat: RedisSeat) -> None:
    host = seat.redis.connection_pool.connection_kwargs["host"]
    port = seat.redis.connection_pool.connection_kwargs["port"]
    adapter = RedisAdapter(MemberSettings(adapter="redis", url=f"redis://:wrong@{host}:{port}/0"), Path())
    with pytest.raises(ConfigError, match="password and rights"):
        adapter.prepare(ENVIRONMENT, SYSTEM, ())
