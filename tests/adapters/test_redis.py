"""Redis sits the exam, and answers for what only it promises."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from consumers.adapters.base import TableSpec
from consumers.adapters.redis import RedisAdapter
from consumers.conformance.exam import AdapterConformance
from consumers.conformance.seat import Meddler, Reader, Seat, Sight
from distributor.settings import MemberSettings
from tests.adapters.redis_meddler import RedisMeddler
from tests.services.redis import RedisServer

pytestmark = pytest.mark.conformance


class RedisReader:
    """A plain driver, and the functions of the page."""

    def __init__(self, url: str, prefix: str) -> None:
        self._redis = redis.Redis.from_url(url)
        self._prefix = prefix

    def look(self, table: TableSpec) -> Sight:
        """A scan in pieces, begun anew when another release comes online meanwhile."""
        while True:
            rows: list[tuple[str | None, ...]] = []
            cursor = b"0"
            try:
                while True:
                    release, columns, cursor, *some = self._redis.fcall_ro(
                        "distributor_scan", 1, self._prefix, table.name, cursor, "40"
                    )
                    places = [columns.index(name.encode()) for name in table.schema.column_names]
                    texts = ([text if text is None else text.decode() for text in row] for row in some)
                    rows += [tuple(row[at] for at in places) for row in texts]
                    if cursor == b"0":
                        assert len(rows) == len(set(rows))
                        return Sight(release, frozenset(rows))
            except redis.ResponseError as error:
                if not str(error).startswith("CHANGED"):
                    raise

    def close(self) -> None:
        self._redis.close()


class RedisSeat:
    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = f"test-{uuid.uuid4().hex[:12]}"
        self.redis = redis.Redis.from_url(url, decode_responses=True)

    def adapter(self) -> RedisAdapter:
        settings = MemberSettings(adapter="redis", url=self.url, options={"prefix": self.prefix})
        return RedisAdapter(settings, Path())

    def reader(self) -> Reader:
        return RedisReader(self.url, self.prefix)

    def meddler(self) -> Meddler:
        return RedisMeddler(self.url, self.prefix)

    def drop_column(self, table: TableSpec, column: str) -> None:
        place = self.key("slot", "b", table.name)
        columns = str(self.redis.hget(place, "columns"))
        self.redis.hset(place, "columns", columns.replace(f'"{column}",', ""))

    def lose(self, name: str) -> None:
        assert self.redis.delete(self._led(name)) == 1

    def occupy(self, name: str) -> None:
        self.redis.hset(self._led(name), "one", "1")

    def occupied(self, name: str) -> int:
        return int(self.redis.hgetall(self._led(name)) == {"one": "1"})

    def key(self, *parts: str) -> str:
        return ":".join((self.prefix, *parts))

    def _led(self, name: str) -> str:
        return self.key(name) if name == "distributor_release" else self.key("table", name)

    def close(self) -> None:
        """Takes away everything under the prefix: the server may be somebody's own."""
        for key in self.redis.scan_iter(f"{self.prefix}:*", count=5000):
            self.redis.unlink(key)
        self.redis.close()


@pytest.fixture
def seats(redis_server: RedisServer) -> Iterator[Callable[[], RedisSeat]]:
    made: list[RedisSeat] = []

    def make() -> RedisSeat:
        made.append(RedisSeat(redis_server.url))
        return made[-1]

    yield make
    for seat in made:
        seat.close()


class TestRedis(AdapterConformance):
    @pytest.fixture
    def seat(self, seats: Callable[[], RedisSeat]) -> Seat:
        return seats()
