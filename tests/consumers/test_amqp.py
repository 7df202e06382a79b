"""The line to the broker: taken is acknowledged, sent is confirmed, and neither is lost with the connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import wait

import pika
import pytest

from consumers.amqp import Line, Outgoing
from distributor.errors import ConfigError
from distributor.wire import topology
from tests.support import wait_for

QUEUE = topology.member_queue("prod", "crm")


class Ends:
    """A line, what it took, and the broker seen from another connection."""

    def __init__(self, url: str) -> None:
        self.taken: list[bytes] = []
        self.connects = 0
        self.refusal: str | None = None
        self.line = Line(url, QUEUE, self._take, self._connected, name="test")
        self.thread = threading.Thread(target=self.line.run)
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def start(self) -> None:
        self.thread.start()
        wait_for(lambda: self.connects, what="the first connect")

    def command(self, body: bytes) -> None:
        self.channel.basic_publish(topology.COMMANDS, topology.command_key("prod", "crm"), body, mandatory=True)

    def first(self, queue: str) -> tuple[pika.BasicProperties, bytes]:
        def got() -> tuple[pika.BasicProperties, bytes] | None:
            method, properties, body = self.channel.basic_get(queue, auto_ack=True)
            return (properties, body) if method else None

        return wait_for(got, what=f"a message in {queue}")

    def close(self) -> None:
        self.line.stop()
        self.thread.join(10)
        self.connection.close()
        assert not self.thread.is_alive()

    def _take(self, headers: Mapping[str, object], content_type: str, body: bytes) -> str | None:
        self.taken.append(body)
        return self.refusal

    def _connected(self) -> None:
        self.connects += 1


@pytest.fixture
def ends(amqp_url: str) -> Iterator[Ends]:
    made = Ends(amqp_url)
    yield made
    made.close()


def report(body: bytes) -> Outgoing:
    return Outgoing(topology.REPORTS, "report", {"ce-id": "1"}, "application/json", body, "1")


def test_what_is_taken_is_acknowledged_and_what_is_refused_is_dead_lettered(ends: Ends) -> None:
    ends.start()
    ends.command(b"one")
    wait_for(lambda: ends.taken == [b"one"])
    ends.refusal = "not for me"
    ends.command(b"two")
    properties, body = ends.first(topology.DEAD_QUEUE)
    assert body == b"two"
    assert {"x-reason": "not for me", "x-origin": QUEUE.name}.items() <= (properties.headers or {}).items()
    ends.line.stop()
    ends.thread.join(10)
    assert ends.channel.queue_declare(QUEUE.name, passive=True).method.message_count == 0


def test_what_is_sent_is_confirmed(ends: Ends) -> None:
    ends.start()
    ends.line.send(report(b"hello")).result(10)
    properties, body = ends.first(topology.COORDINATOR_QUEUE)
    assert (body, properties.message_id, properties.delivery_mode) == (b"hello", "1", 2)


def test_a_report_that_nobody_would_get_waits_until_somebody_does(ends: Ends) -> None:
    ends.start()
    ends.channel.queue_delete(topology.COORDINATOR_QUEUE)
    sent = ends.line.send(report(b"patient"))
    done, _ = wait([sent], timeout=0.3)
    assert not done
    queue = topology.coordinator_queue()
    ends.channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
    for exchange, key in queue.bindings:
        ends.channel.queue_bind(queue.name, exchange, key)
    sent.result(10)
    assert ends.first(queue.name)[1] == b"patient"


def test_the_line_comes_back_and_lasting_messages_with_it(ends: Ends) -> None:
    ends.start()
    # A queue deleted under its consumer ends the line; an exchange of another kind keeps it from coming back.
    ends.channel.exchange_delete(topology.DEAD)
    ends.channel.exchange_declare(topology.DEAD, "direct", durable=True)
    ends.channel.queue_delete(QUEUE.name)
    wait_for(lambda: ends.line.send(report(b"passing"), lasting=False).exception(10), what="the loss")
    lasting = ends.line.send(report(b"lasting"))
    assert not lasting.done()
    ends.channel.exchange_delete(topology.DEAD)
    lasting.result(20)
    assert ends.connects == 2
    ends.command(b"after")
    wait_for(lambda: ends.taken == [b"after"])


def test_no_url_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"broker\.url"):
        Line("http://nowhere", QUEUE, lambda *_: None, lambda: None, name="test")
