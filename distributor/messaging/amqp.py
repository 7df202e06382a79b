"""The async edge to RabbitMQ: one plain connection at a time, declared topology, confirmed and routed publishing.

The connection is not a self-healing one on purpose: what was in flight when a line dropped is known to have failed,
and the owner opens the next one, declares everything again and goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage, DeliveryMode
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError, PublishError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from yarl import URL

from distributor.errors import ConfigError, UnreachableError
from distributor.messaging.patience import WaitAnew
from distributor.wire import topology
from distributor.wire.envelope import Envelope

TIMEOUT_SECONDS = 10.0
Handler = Callable[[AbstractIncomingMessage], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Parcel:
    """An envelope and where it goes."""

    exchange: str
    routing_key: str
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a parcel: confirmed and routed, refused by the broker, or (neither) not known."""

    confirmed: bool = False
    refusal: str = ""


class Broker:
    """An open connection with a channel for publishing. Made by `connected`."""

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel, where: str) -> None:
        self._connection = connection
        self._channel = channel
        self._exchanges: dict[str, AbstractExchange] = {}
        self._where = where
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.close_callbacks.add(self._on_close)
        channel.close_callbacks.add(self._on_close)

    async def declare(self, members: Iterable[tuple[str, str]]) -> None:
        """Exchanges, the queues of coordinators, calls and dead letters, and one queue per (environment, system).

        Raises ConfigError when something of the same name but another kind is there, UnreachableError.
        """
        queues = [
            topology.dead_queue(),
            topology.coordinator_queue(),
            topology.trigger_queue(),
            *(topology.member_queue(environment, system) for environment, system in members),
        ]
        async with self._reachable():
            channel = await self._connection.channel()
            try:
                for name, kind in topology.EXCHANGES:
                    await channel.declare_exchange(name, aio_pika.ExchangeType(kind), durable=True)
                for queue in queues:
                    declared = await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
                    for exchange, key in queue.bindings:
                        await declared.bind(exchange, key)
            except aio_pika.exceptions.ChannelPreconditionFailed as error:
                raise ConfigError(
                    f"the broker has something of another kind under one of our names: {error}",
                    where=self._where,
                    mend="Give this service a virtual host of its own, or delete that queue or exchange.",
                ) from error
            await channel.close()

    async def publish(self, parcels: Sequence[Parcel]) -> list[Receipt]:
        """Publishes in order and waits for all confirms together.

        Raises UnreachableError when the connection was lost and nothing is known to have been taken.
        """
        results = await asyncio.gather(*(self._publish(p) for p in parcels), return_exceptions=True)
        receipts = [_receipt(result) for result in results]
        if self.is_lost and not any(receipt.confirmed for receipt in receipts):
            raise UnreachableError("the broker's connection was lost", where=self._where)
        return receipts

    async def consume(self, queue: str, handler: Handler, prefetch: int) -> None:
        """Has `handler` called for every delivery, one task each; it acks. Raises UnreachableError."""
        async with self._reachable():
            channel = await self._connection.channel(publisher_confirms=False)
            channel.close_callbacks.add(self._on_close)
            await channel.set_qos(prefetch_count=prefetch)
            taken = await channel.get_queue(queue, ensure=False)
            await taken.consume(handler)

    @property
    def is_lost(self) -> bool:
        """Whether the connection, or a channel of it, is gone."""
        return self._lost.done()

    async def lost(self) -> None:
        """Returns when the connection, or a channel of it, is gone."""
        await asyncio.shield(self._lost)

    async def _publish(self, parcel: Parcel) -> None:
        exchange = self._exchanges.get(parcel.exchange)
        if exchange is None:
            exchange = await self._channel.get_exchange(parcel.exchange, ensure=False)
            self._exchanges[parcel.exchange] = exchange
        envelope = parcel.envelope
        message = aio_pika.Message(
            envelope.body,
            headers=dict(envelope.headers),
            content_type=envelope.content_type,
            message_id=envelope.message_id,
            delivery_mode=DeliveryMode.PERSISTENT,
        )
        await exchange.publish(message, parcel.routing_key, mandatory=True, timeout=TIMEOUT_SECONDS)

    def _on_close(self, *_: object) -> None:
        if not self._lost.done():
            self._lost.set_result(None)

    @asynccontextmanager
    async def _reachable(self) -> AsyncIterator[None]:
        try:
            yield
        except ConfigError:
            raise
        except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
            raise unreachable(error, self._where) from error


@asynccontextmanager
async def connected(url: str, name: str) -> AsyncIterator[Broker]:
    """A connection, closed at the end. `name` is shown in RabbitMQ's own tools. Raises UnreachableError."""
    where = broker_name(url)
    try:
        connection = await aio_pika.connect(
            URL(url).update_query(heartbeat=topology.HEARTBEAT_SECONDS, name=name), timeout=TIMEOUT_SECONDS
        )
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
        raise unreachable(error, where) from error
    try:
        yield Broker(connection, channel, where)
    finally:
        await connection.close()


def patient(before_sleep: Callable[[RetryCallState], None]) -> AsyncRetrying:
    """The policy for a server that is away: try again for ever, with random pauses of up to 5 s."""
    return AsyncRetrying(
        retry=retry_if_exception_type(UnreachableError),
        wait=WaitAnew(multiplier=0.1, longest=5),
        before_sleep=before_sleep,
        reraise=True,
    )


def broker_name(url: str) -> str:
    """The broker as errors name it: without user and password."""
    parsed = URL(url)
    return f"broker {parsed.host}:{parsed.port or 5672}{parsed.path}"


def unreachable(error: BaseException, where: str) -> UnreachableError:
    """A failure of the connection, in a sentence."""
    reason = str(error).strip().splitlines()
    return UnreachableError(
        f"the broker did not answer: {reason[0] if reason else type(error).__name__}",
        where=where,
        mend="Is RabbitMQ running there, and are user, password and virtual host right?",
    )


def _receipt(result: BaseException | None) -> Receipt:
    match result:
        case None:
            return Receipt(confirmed=True)
        case PublishError():
            return Receipt(refusal="unroutable: no queue is bound for it")
        case DeliveryError():
            return Receipt(refusal="the broker refused it: the queue is full, or the message too large")
        case Exception():
            return Receipt()
        case _:
            raise result
