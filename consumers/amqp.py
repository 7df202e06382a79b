"""The pika edge: one thread that keeps the line to RabbitMQ alive, takes deliveries and sends what others hand over.

A delivery is acknowledged as soon as its handler has put it on disk, never held during work. What is sent is confirmed
by the broker and routed, or it stays here and is sent again after the next connect.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, NackError, UnroutableError
from tenacity import Retrying, retry_if_exception_type, wait_random_exponential
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set

from distributor.errors import ConfigError, UnreachableError
from distributor.telemetry.faults import Point, point
from distributor.telemetry.logs import logger
from distributor.wire import topology

_LOST = (AMQPError, OSError, UnreachableError)
_PREFETCH = 8
_PAUSE_SECONDS = 0.2
_DISK_PAUSE_SECONDS = 10.0
_log = logger("consumer")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send, as the wire package encoded it."""

    exchange: str
    routing_key: str
    headers: Mapping[str, object]
    content_type: str
    body: bytes
    message_id: str


@dataclass(slots=True)
class _Entry:
    outgoing: Outgoing
    lasting: bool
    confirmed: Future[None] = field(default_factory=Future)


Handler = Callable[[Mapping[str, object], str, bytes], str | None]
"""Takes headers, content type and body; returns why it cannot be taken, else None once it is durably kept."""


class Line:
    """The connection of one member. `connected` is called in the line's thread after each (re)connect."""

    def __init__(
        self, url: str, queue: topology.Queue, handle: Handler, connected: Callable[[], None], name: str
    ) -> None:
        self._parameters = _parameters(url)
        self._parameters.heartbeat = topology.HEARTBEAT_SECONDS
        self._parameters.blocked_connection_timeout = 60
        self._parameters.client_properties = {"connection_name": name}
        self._queue = queue
        self._handle = handle
        self._connected = connected
        self._stop = threading.Event()
        self._entries: deque[_Entry] = deque()
        self._lock = threading.Lock()
        self._connection: pika.BlockingConnection | None = None
        self._channel: BlockingChannel | None = None

    def run(self) -> None:
        """Keeps the line until `stop`."""
        while not self._stop.is_set():
            pause = _PAUSE_SECONDS
            try:
                for attempt in Retrying(
                    wait=wait_random_exponential(multiplier=0.2, max=5),
                    retry=retry_if_exception_type(_LOST),
                    stop=stop_when_event_set(self._stop),
                    sleep=sleep_using_event(self._stop),
                    before_sleep=lambda state: _log.warning(
                        "the broker did not answer", error=_said(state.outcome.exception() if state.outcome else None)
                    ),
                    reraise=True,
                ):
                    with attempt:
                        self._open()
                self._serve()
            except _LOST as error:
                # A full disk under the inbox hands deliveries back: not so fast that they count as poison.
                pause = _DISK_PAUSE_SECONDS if isinstance(error, UnreachableError) else _PAUSE_SECONDS
                if not self._stop.is_set():
                    _log.warning("the line to the broker was lost", error=_said(error))
            finally:
                self._drop()
            self._stop.wait(pause)

    def send(self, outgoing: Outgoing, *, lasting: bool = True) -> Future[None]:
        """Hands a message over; the future ends when the broker has confirmed and routed it.

        `lasting` messages wait through lost connections; others fail with UnreachableError when the line drops.
        Callbacks of the future run in the line's thread and must be short.
        """
        entry = _Entry(outgoing, lasting)
        with self._lock:
            connection = self._connection
            if connection is None and not lasting:
                entry.confirmed.set_exception(UnreachableError("the broker is not connected"))
                return entry.confirmed
            self._entries.append(entry)
        self._wake(connection)
        return entry.confirmed

    def stop(self) -> None:
        """Ends `run`; what is not sent by then is sent when the consumer starts again."""
        self._stop.set()
        self._wake(self._connection)

    def _wake(self, connection: pika.BlockingConnection | None) -> None:
        if connection is not None:
            # While it is being lost nothing can be told it: what lasts is sent after the next connect.
            with suppress(AMQPError):
                connection.add_callback_threadsafe(self._flush)

    def _open(self) -> None:
        connection = pika.BlockingConnection(self._parameters)
        try:
            channel = self._listening(connection)
        except _LOST:
            if connection.is_open:
                connection.close()
            raise
        with self._lock:
            self._connection, self._channel = connection, channel

    def _listening(self, connection: pika.BlockingConnection) -> BlockingChannel:
        channel = connection.channel()
        channel.confirm_delivery()
        for exchange, kind in topology.EXCHANGES:
            channel.exchange_declare(exchange, kind, durable=True)
        for queue in (topology.dead_queue(), topology.coordinator_queue(), self._queue):
            channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
            for exchange, key in queue.bindings:
                channel.queue_bind(queue.name, exchange, key)
        # A queue that is deleted, or loses its leader, ends the consumer but neither channel nor connection.
        channel.add_on_cancel_callback(lambda _: connection.close())
        channel.basic_qos(prefetch_count=_PREFETCH)
        channel.basic_consume(self._queue.name, self._deliver)
        return channel

    def _serve(self) -> None:
        connection = self._connection
        assert connection is not None
        _log.info(
            "listening; while another consumer of this member is active, this one stands by", queue=self._queue.name
        )
        self._connected()
        self._flush()
        while connection.is_open and not self._stop.is_set():
            connection.process_data_events(time_limit=60)
        if connection.is_open:
            self._flush()

    def _drop(self) -> None:
        with self._lock:
            connection, self._connection, self._channel = self._connection, None, None
            lost = [entry for entry in self._entries if not entry.lasting]
            self._entries = deque(entry for entry in self._entries if entry.lasting)
        for entry in lost:
            entry.confirmed.set_exception(UnreachableError("the line to the broker was lost"))
        if connection is not None and connection.is_open:
            try:
                connection.close()
            except _LOST as error:
                _log.debug("the line did not close", error=_said(error))

    def _deliver(
        self,
        channel: BlockingChannel,
        method: pika.spec.Basic.Deliver,
        properties: pika.BasicProperties,
        body: bytes,
    ) -> None:
        headers = dict(properties.headers or {})
        refusal = self._handle(headers, properties.content_type or "", body)
        if refusal is not None:
            self._publish(
                Outgoing(
                    topology.DEAD,
                    "",
                    dead_headers(headers, refusal, self._queue.name),
                    properties.content_type or "",
                    body,
                    properties.message_id or "",
                )
            )
        point(Point.DELIVERY_BEFORE_ACK)
        channel.basic_ack(method.delivery_tag)
        point(Point.DELIVERY_AFTER_ACK)

    def _flush(self) -> None:
        while self._entries and self._channel is not None:
            entry = self._entries[0]
            try:
                if entry.lasting:
                    point(Point.REPORT_BEFORE_SEND)
                self._publish(entry.outgoing)
            except (UnroutableError, NackError) as error:
                _log.warning("a message was not taken by the broker", error=_said(error))
                if self._connection is not None:
                    self._connection.call_later(1, self._flush)
                return
            if entry.lasting:
                point(Point.REPORT_AFTER_SEND)
            with self._lock:
                self._entries.popleft()
            entry.confirmed.set_result(None)

    def _publish(self, outgoing: Outgoing) -> None:
        assert self._channel is not None
        self._channel.basic_publish(
            outgoing.exchange,
            outgoing.routing_key,
            outgoing.body,
            pika.BasicProperties(
                content_type=outgoing.content_type or None,
                delivery_mode=2,
                message_id=outgoing.message_id or None,
                headers=dict(outgoing.headers),
            ),
            mandatory=True,
        )


def _parameters(url: str) -> pika.URLParameters:
    mend = "Write it like amqp://user:password@host:5672/vhost."
    if not url.startswith(("amqp://", "amqps://")):
        raise ConfigError("this is no AMQP URL", where="broker.url", mend=mend)
    try:
        return pika.URLParameters(url)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"this is no AMQP URL: {error}", where="broker.url", mend=mend) from error


def dead_headers(headers: Mapping[str, object], reason: str, origin: str) -> dict[str, object]:
    """The headers of a message that goes to the dead letters: its own, why, and the queue where it was."""
    return {**headers, topology.DEAD_REASON: reason, topology.DEAD_ORIGIN: origin}


def _said(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}" if error is not None else "unknown"
