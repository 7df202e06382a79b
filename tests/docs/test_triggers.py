"""docs/triggers.md: its config can be used, its messages are calls, and its sentences are those of the code."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pika

from distributor.capture.journal import Changed
from distributor.capture.watch import Publish, Why, sentence
from distributor.settings import Settings
from distributor.settings.desk import Trigger
from distributor.triggers.cron import Came
from distributor.triggers.rules import rules_of
from distributor.triggers.wording import arrived
from distributor.wire import topology
from distributor.wire.envelope import from_amqp
from distributor.wire.messages import TriggerCall

PAGE = (Path(__file__).parents[2] / "docs" / "triggers.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_config_of_the_page_can_be_used() -> None:
    master, environments = (tomllib.loads(block) for block in blocks("toml"))
    systems = {"crm": {"adapter": "sqlite", "url": "sqlite:///x"}}
    known: dict[str, Any] = {
        name: {**given, "systems": systems} for name, given in environments["environments"].items()
    }
    settings = Settings.model_validate(
        {
            "master": {**master["master"], "url": "postgresql://h/m", "datasets": {"products": {"table": "products"}}},
            "ledger": {"url": "postgresql://h/l"},
            "broker": {"url": "amqp://h/"},
            "store": {"path": "store"},
            "environments": known,
        }
    )
    assert settings.master.max_rows == 5000
    rules = {name: [rule.name for rule in rules_of(one)] for name, one in settings.environments.items()}
    assert rules == {"sit": ["follow"], "uat": ["calm"], "training": ["weekly", "erp-done"]}


def test_the_message_of_the_page_is_a_call(amqp_url: str) -> None:
    [program] = blocks("python")
    assert "amqp://user:password@host/" in program
    queue = topology.trigger_queue()
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        channel.exchange_declare(topology.TRIGGERS, "direct", durable=True)
        channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
        for exchange, key in queue.bindings:
            channel.queue_bind(queue.name, exchange, key)
        exec(compile(program.replace("amqp://user:password@host/", amqp_url), "docs/triggers.md", "exec"), {})
        method, properties, body = channel.basic_get(queue.name, auto_ack=True)
    assert method is not None
    received = from_amqp(properties.headers, properties.content_type, body)
    assert isinstance(received.message, TriggerCall)
    assert (received.source, received.message.trigger) == ("/erp/nightly", "erp-done")


def test_the_sentences_of_the_page_are_those_of_the_audit() -> None:
    since = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
    quiet = sentence(Publish(Why.QUIET, 1.0), Changed(3), since, max_delay=30, max_rows=5000)
    much = sentence(Publish(Why.MUCH, 1.0), Changed(5000), since + timedelta(seconds=209), max_delay=30, max_rows=5000)
    weekly = Trigger(name="weekly", on="schedule", cron="0 6 * * mon", timezone="Europe/Vienna")
    six = datetime(2026, 11, 23, 5, tzinfo=UTC)
    for told in (quiet, much, arrived(weekly, Came(six), six)):
        assert told in PAGE
