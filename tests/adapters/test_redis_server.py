"""Servers of a test's own: killed, full, or counted what they are asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from consumers.adapters.redis import RedisAdapter
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import certificate_of, flip, holding, load
from consumers.conformance.samples import PRICE_TABLE, TABLES, batch, numbered_rows
from distributor.errors import ConfigError, UnreachableError
from distributor.local.redis import LocalRedis
from distributor.model.certificate import EMPTY_TABLE
from distributor.settings import MemberSettings

pytestmark = [pytest.mark.conformance, pytest.mark.services]
OLD = numbered_rows(600, 1)


@pytest.fixture(autouse=True)
def _installed(redis_server: object) -> None:
    """Where there is none at all, these are skipped with the others."""


def test_a_flip_is_four_journeys_and_a_load_goes_in_steps(services_directory: Path) -> None:
    with LocalRedis(services_directory / "redis-counted", durable=False) as server:
        client = redis.Redis.from_url(server.url(), decode_responses=True)
        adapter = RedisAdapter(MemberSettings(adapter="redis", url=server.url()), Path())
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(9_000, 1)))

        def calls(*names: str) -> list[int]:
            found = client.info("commandstats")
            return [found.get(f"cmdstat_{name}", {}).get("calls", 0) for name in names]

        client.config_resetstat()
        flip(adapter)
        assert calls("set", "hmget", "evalsha") == [1, 1, 2]
        client.config_resetstat()
        with adapter.loading("b") as loading:
            before = calls("evalsha")[0]
            loading.apply(batch(PRICE_TABLE, numbered_rows(9_000, 2)))
            copies, writes = 9_000 // 4_000, 9_000 // 250
            assert calls("evalsha")[0] - before > copies + writes
            assert calls("hset")[0] >= 9_000
            client.config_resetstat()
            loading.commit(lambda row: holding(row, "b", 2))
            assert calls("hset")[0] < 10
        client.close()
        adapter.close()


def test_a_server_that_is_killed_has_what_it_answered_when_it_is_back(services_directory: Path) -> None:
    directory = services_directory / "redis-killed"
    with LocalRedis(directory) as server:
        url = server.url()
        adapter = RedisAdapter(MemberSettings(adapter="redis", url=url), Path())
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        load(adapter, "b", 1, batch(PRICE_TABLE, OLD))
        flip(adapter)
        with pytest.raises(UnreachableError), adapter.loading("a") as loading:  # noqa: PT012
            loading.apply(batch(PRICE_TABLE, numbered_rows(300, 2)))
            server.kill()
            loading.apply(batch(PRICE_TABLE, numbered_rows(600, 2)))
    with LocalRedis(directory) as server:
        assert server.url() == url
        with pytest.raises(UnreachableError), adapter.member():
            pass
        with adapter.member() as member:
            assert (member.row.active, member.row.online.release, member.row.shadow.release) == ("b", 1, 0)
        assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, OLD)
        assert adapter.audit("a", PRICE_TABLE) == EMPTY_TABLE
        client = redis.Redis.from_url(url, decode_responses=True)
        found = client.fcall_ro("distributor_get", 1, "distributor", "list_prices", "P000001")
        assert found[2] == ["P000001", "1"]  # type: ignore[index]
        client.close()
        adapter.close()


def test_a_server_that_may_drop_rows_is_refused_and_a_full_one_is_waited_for(services_directory: Path) -> None:
    with LocalRedis(services_directory / "redis-full", durable=False) as server:
        client = redis.Redis.from_url(server.url())
        adapter = RedisAdapter(MemberSettings(adapter="redis", url=server.url()), Path())
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        load(adapter, "b", 1, batch(PRICE_TABLE, OLD))
        client.config_set("maxmemory", "1mb")
        with pytest.raises(UnreachableError, match="maxmemory"):
            load(adapter, "b", 2, batch(PRICE_TABLE, numbered_rows(900, 2)))
        with pytest.raises(UnreachableError, match="maxmemory"):
            flip(adapter)
        client.config_set("maxmemory", "1gb")
        with adapter.member() as member:
            assert (member.row.active, member.row.slots["b"].release) == ("a", 1)
        load(adapter, "b", 2, batch(PRICE_TABLE, numbered_rows(900, 2)))
        client.script_flush()
        with pytest.raises(UnreachableError):
            flip(adapter)
        flip(adapter)
        client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(ConfigError, match="allkeys-lru"):
            adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        client.close()
        adapter.close()
