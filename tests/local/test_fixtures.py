"""The fixtures themselves: what they hand out works, and is fresh."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aio_pika
import psycopg
import pytest
import sqlalchemy

from tests.services.rabbitmq import RabbitMQServer


def test_a_database_is_fresh_at_every_call_and_serves_both_drivers(database: Callable[[], str]) -> None:
    first, second = database(), database()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE t (i int)")
    engine = sqlalchemy.create_engine(first)
    assert sqlalchemy.inspect(engine).get_table_names() == ["t"]
    engine.dispose()
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)


async def _declare(url: str, queue: str, *, passive: bool = False) -> None:
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, passive=passive, durable=True)


def test_a_virtual_host_sees_nothing_of_another(amqp_url: str, rabbitmq_server: RabbitMQServer) -> None:
    other = rabbitmq_server.create("another one/with a slash")
    try:
        asyncio.run(_declare(amqp_url, "only-here"))
        asyncio.run(_declare(amqp_url, "only-here", passive=True))
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            asyncio.run(_declare(other, "only-here", passive=True))
    finally:
        rabbitmq_server.delete("another one/with a slash")
