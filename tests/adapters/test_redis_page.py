"""The examples of docs/adapters/redis.md, run as they stand there."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consumers.adapters.base import TableSpec
from consumers.adapters.redis import RedisAdapter
from consumers.conformance.hands import flip, holding
from consumers.conformance.samples import batch
from distributor.mapping.tables import TableMapping
from distributor.model.dataset import Column, DatasetSchema
from distributor.model.types import LogicalType
from distributor.settings import MemberSettings
from tests.adapters.test_redis import RedisSeat, seats
from tests.adapters.test_redis_reading import READER

pytestmark = pytest.mark.conformance
__all__ = ["seats"]


@pytest.fixture
def seat(seats: Callable[[], RedisSeat]) -> RedisSeat:
    return seats()


def blocks(language: str) -> list[str]:
    """The page's examples in a language."""
    page = (Path(__file__).parents[2] / "docs" / "adapters" / "redis.md").read_text(encoding="utf-8")
    return [block.partition("\n```")[0] for block in page.split(f"```{language}\n")[1:]]


def test_the_examples_of_the_page_do_what_it_says(seat: RedisSeat) -> None:
    def table(name: str, *columns: str) -> TableSpec:
        parts = tuple(Column(name=c, type=LogicalType.parse("text"), nullable=c != "sku") for c in columns)
        return TableSpec(
            TableMapping(dataset=name, into=name), DatasetSchema(dataset=name, columns=parts, key=("sku",))
        )

    (config,) = blocks("toml")
    section = tomllib.loads(config)["environments"]["prod"]["systems"]["shop"]
    assert RedisAdapter(MemberSettings(**section), Path())
    products, prices = table("products", "sku", "name"), table("prices", "sku", "amount")
    adapter = seat.adapter()
    adapter.prepare("prod", "shop", (products, prices))
    with adapter.loading("b") as loading:
        loading.apply(batch(products, [("A-100", "Lamp")]))
        loading.apply(batch(prices, [("A-100", "12.5")]))
        loading.commit(lambda row: holding(row, "b", 4))
    flip(adapter)
    adapter.close()
    (example,) = blocks("python")
    found: dict[str, Any] = {}
    exec(example.replace("redis://:password@cache:6379/0", seat.url).replace("prod.shop", seat.prefix), found)
    assert found["prices"] == [{"sku": "A-100", "amount": "12.5"}, None]
    assert found["release"] == 4
    assert (found["product"][2], found["price"][2]) == (["A-100", "Lamp"], ["A-100", "12.5"])
    found["client"].close()
    for line in blocks("redis")[0].splitlines():
        answer = seat.redis.execute_command(*line.replace("prod.shop", seat.prefix).split())  # type: ignore[no-untyped-call]
        assert "4" in (str(answer[0]) if isinstance(answer, list) else answer["release"])
    assert blocks("redis")[1].partition(" on ")[2] == READER.replace("PREFIX", "prod.shop")
