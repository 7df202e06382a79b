"""What was committed reaches the broker: confirmed, in order, once more after a failure, and never silently lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pika
import pytest
from sqlalchemy import Engine, text

from distributor.errors import ConfigError, UnreachableError
from distributor.ledger import audit, migrate, outbox
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.tables import OUTBOX_CHANNEL
from distributor.messaging.amqp import Broker, Parcel, connected
from distributor.messaging.relay import Relay, listen
from distributor.wire import topology
from distributor.wire.envelope import from_amqp, to_amqp
from distributor.wire.messages import AbandonCommand
from tests.messaging.proxy import proxied

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
MEMBERS = [("prod", "crm"), ("prod", "pos")]


@pytest.fixture
def ledger(database: Callable[[], str]) -> Iterator[Engine]:
    url = database()
    migrate.upgrade(url)
    engine = ledger_engine(url)
    yield engine
    engine.dispose()


def message(number: int, system: str) -> outbox.OutgoingMessage:
    data = AbandonCommand(environment="prod", system=system, epoch=number, rollout_id="r")
    return outbox.OutgoingMessage(
        message_id=f"{system}-{number}",
        exchange=topology.COMMANDS,
        routing_key=topology.command_key("prod", system),
        type=data.TYPE,
        subject=f"prod/{system}",
        body=data.model_dump_json().encode(),
        traceparent=None,
        created_at=AT,
    )


def enqueue(engine: Engine, *messages: outbox.OutgoingMessage) -> None:
    with transaction(engine) as conn:
        outbox.enqueue(conn, messages)


def waiting(engine: Engine) -> int:
    with transaction(engine) as conn:
        return outbox.waiting(conn)


def received(url: str, system: str) -> list[tuple[str, int]]:
    """What lies in a member's queue, as a client that is not ours reads it: (message id, epoch)."""
    found: list[tuple[str, int]] = []
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        queue = topology.member_queue("prod", system).name
        count = channel.queue_declare(queue, passive=True).method.message_count
        for _, properties, body in channel.consume(queue, auto_ack=True) if count else ():
            read = from_amqp(properties.headers, properties.content_type, body)
            assert isinstance(read.message, AbandonCommand)
            found.append((properties.message_id, read.message.epoch))
            if len(found) == count:
                break
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.005)


def test_two_relays_keep_each_members_order(ledger: Engine, amqp_url: str) -> None:
    async def scenario() -> None:
        async with connected(amqp_url, "one") as one, connected(amqp_url, "two") as two:
            await one.declare(MEMBERS)
            wake = asyncio.Event()
            tasks = [
                asyncio.create_task(Relay(ledger, one, "/test", wake).run()),
                asyncio.create_task(Relay(ledger, two, "/test", wake).run()),
                asyncio.create_task(listen(ledger, {OUTBOX_CHANNEL: wake})),
            ]
            for start in range(0, 300, 30):
                batch = [message(n, system) for n in range(start, start + 30) for system in ("crm", "pos")]
                await asyncio.to_thread(enqueue, ledger, *batch)
            await until(lambda: waiting(ledger) == 0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(scenario())
    for system in ("crm", "pos"):
        assert received(amqp_url, system) == [(f"{system}-{n}", n) for n in range(300)]


def test_an_unroutable_message_is_said_and_kept(ledger: Engine, amqp_url: str) -> None:
    async def scenario() -> None:
        async with connected(amqp_url, "test") as broker:
            await broker.declare([("prod", "pos")])
            relay = Relay(ledger, broker, "/test", asyncio.Event())
            enqueue(ledger, message(1, "crm"), message(1, "pos"))
            done = await relay.round()
            assert (done.sent, done.refused) == (1, 1)
            with transaction(ledger) as conn:
                [entry] = audit.records(conn)
                assert entry.why == "unroutable: no queue is bound for it"
                kept = conn.execute(text("SELECT message_id, attempts, error FROM ledger.outbox WHERE sent_at IS NULL"))
                assert kept.all() == [("crm-1", 1, "unroutable: no queue is bound for it")]
            await broker.declare(MEMBERS)
            async with asyncio.timeout(20):
                while not (await relay.round()).sent:
                    pass

    asyncio.run(scenario())
    assert received(amqp_url, "crm") == [("crm-1", 1)]


def test_a_confirm_that_was_lost_repeats_the_message(ledger: Engine, amqp_url: str) -> None:
    """At least once: the broker had it, nobody knew, so it comes again under the same id."""

    async def scenario() -> None:
        async with proxied(amqp_url) as (proxy, url):
            async with connected(url, "first") as broker:
                await broker.declare(MEMBERS)
                relay = Relay(ledger, broker, "/test", asyncio.Event())
                assert (await relay.round()).sent == 0
                await asyncio.to_thread(enqueue, ledger, message(1, "crm"))
                proxy.mute()
                sending = asyncio.create_task(relay.round())
                await until(lambda: depth(amqp_url, "crm") == 1)
                proxy.cut()
                with pytest.raises(UnreachableError):
                    await sending
                assert broker.is_lost
            assert await asyncio.to_thread(waiting, ledger) == 1
            async with connected(url, "second") as broker:
                assert (await Relay(ledger, broker, "/test", asyncio.Event()).round()).sent == 1
        assert await asyncio.to_thread(waiting, ledger) == 0

    asyncio.run(scenario())
    assert received(amqp_url, "crm") == [("crm-1", 1), ("crm-1", 1)]


def depth(url: str, system: str) -> int:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        queue = topology.member_queue("prod", system).name
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


def test_publish_tells_apart_what_was_taken(amqp_url: str) -> None:
    async def scenario(broker: Broker) -> None:
        await broker.declare([("prod", "crm")])
        command = AbandonCommand(environment="prod", system="crm", epoch=1, rollout_id="r")
        envelope = to_amqp(command, id="m1", source="/test", time=AT)
        receipts = await broker.publish(
            [Parcel(topology.COMMANDS, "prod.crm", envelope), Parcel(topology.COMMANDS, "prod.nobody", envelope)]
        )
        assert [(r.confirmed, bool(r.refusal)) for r in receipts] == [(True, False), (False, True)]

    async def run() -> None:
        async with connected(amqp_url, "test") as broker:
            await scenario(broker)

    asyncio.run(run())


def test_an_unreachable_broker_is_named_without_the_password() -> None:
    async def run() -> None:
        async with connected("amqp://me:s3cret@127.0.0.1:1/shop", "test"):
            pass

    with pytest.raises(UnreachableError) as caught:
        asyncio.run(run())
    assert "127.0.0.1:1/shop" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_queue_of_another_kind_is_a_config_error(amqp_url: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        connection.channel().queue_declare(topology.COORDINATOR_QUEUE, durable=True)

    async def run() -> None:
        async with connected(amqp_url, "test") as broker:
            await broker.declare([])

    with pytest.raises(ConfigError, match="another kind"):
        asyncio.run(run())
