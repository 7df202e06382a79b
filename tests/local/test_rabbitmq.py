"""The local RabbitMQ: private, recoverable, and gone without a trace."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aio_pika
import pytest

from distributor.local.processes import is_free
from distributor.local.rabbitmq import LocalRabbitMQ, find_rabbitmq_server
from tests.local.watching import alive, family, owner, ports
from tests.services.rabbitmq import RabbitMQServer
from tests.support import wait_for

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(find_rabbitmq_server() is None, reason="no rabbitmq-server on this machine"),
]


async def put(url: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue.name, timeout=10)


async def take(url: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("kept", passive=True)
        message = await queue.get(timeout=20)
        assert message is not None
        await message.ack()
        return message.body


def knows_its_queue(broker: LocalRabbitMQ) -> bool:
    """Whether the quorum queues' tables are written: RabbitMQ 3.10 loses a queue when killed within seconds of it."""
    node = "distributor@localhost"
    tables = broker.directory / "data" / node / "quorum" / node
    return all(b"shop_kept" in (tables / f"{name}.dets").read_bytes() for name in ("names", "meta"))


def test_a_message_survives_a_kill_and_stopping_leaves_nothing(state: Path) -> None:
    with LocalRabbitMQ(state / "one") as broker:
        url = broker.create_vhost("shop")
        asyncio.run(put(url, b"42"))
        wait_for(lambda: knows_its_queue(broker), what="the writing of the queue's tables")
        broker.kill()

    with LocalRabbitMQ(state / "one") as broker:
        assert broker.url("shop") == url
        assert asyncio.run(take(url)) == b"42"
        processes, listening = family(*broker.pids), ports(*broker.pids)
        assert {address for address, _ in listening} <= {"127.0.0.1", "::1"}
    assert alive(processes) == []
    assert all(is_free(port) for _, port in listening)


def test_a_second_broker_stands_beside_the_first(state: Path, rabbitmq_server: RabbitMQServer) -> None:
    with LocalRabbitMQ(state / "two", durable=False) as broker:
        assert rabbitmq_server.management.is_up()
        asyncio.run(put(broker.url(), b"here"))
        assert asyncio.run(take(broker.url())) == b"here"


def test_the_broker_and_its_name_server_end_with_their_owner(state: Path) -> None:
    with owner("rabbitmq", state / "one") as (process, pids):
        assert len(pids) == 2
        processes = family(*pids)
        process.send_signal(signal.SIGKILL)
        wait_for(lambda: not alive(processes), timeout=60, what="the broker's end")
