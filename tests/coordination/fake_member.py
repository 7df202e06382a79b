"""A member that is none of ours: plain pika and json, with the protocol's words written out by hand."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel


def stamp(ahead_by: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=ahead_by)).isoformat().replace("+00:00", "Z")


def headers(type_: str, id_: str | None = None) -> dict[str, str]:
    return {
        "ce-specversion": "1.0",
        "ce-id": id_ or uuid.uuid4().hex,
        "ce-source": "/fake",
        "ce-type": type_,
        "ce-time": stamp(),
    }


def send(channel: BlockingChannel, type_: str, data: object, id_: str | None = None) -> None:
    """A report, as any program could send it."""
    properties = pika.BasicProperties(
        headers=headers(type_, id_), content_type="application/json", message_id=id_, delivery_mode=2
    )
    channel.basic_publish("pd.reports", "report", json.dumps(data).encode(), properties)


@dataclass
class FakeMember:
    """Answers commands as a healthy member would; `replies` replaces what it does for one kind of command.

    Its clock is `ahead_by` seconds ahead. `audits` answers a question about what is stored with any number of reports;
    without it nobody answers.
    """

    amqp_url: str
    environment: str
    system: str
    certificate: str
    mapping: str
    replies: dict[str, Callable[[FakeMember, dict[str, Any]], tuple[str, dict[str, Any]] | None]] = field(
        default_factory=dict
    )
    commands: list[tuple[str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    shows: int = 0
    shadow: int = 0
    floor: int = 0
    flipped_epoch: int | None = None
    ahead_by: float = 0.0
    audits: Callable[[dict[str, Any]], list[dict[str, Any]]] | None = None

    def __enter__(self) -> FakeMember:
        self._connection = pika.BlockingConnection(pika.URLParameters(self.amqp_url))
        self._channel = self._connection.channel()
        self._hello()
        self._channel.basic_consume(f"pd.member.{self.environment}.{self.system}", self._hear)
        self._thread = threading.Thread(target=self._channel.start_consuming)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.add_callback_threadsafe(self._channel.stop_consuming)
        self._thread.join()
        self._connection.close()

    def kinds(self) -> list[str]:
        """The types of the commands so far, in order, repetitions left out."""
        found: list[str] = []
        for kind, _, _ in self.commands:
            if kind not in found:
                found.append(kind)
        return found

    def command(self, type_: str) -> dict[str, Any]:
        """The data of the first command of a type."""
        return next(data for kind, data, _ in self.commands if kind == type_)

    def _hello(self) -> None:
        nobody = {"epoch": 0, "rollout_id": ""}
        send(
            self._channel,
            "pd.member.hello.v1",
            {**self._common(nobody), "flipped_epoch": self.flipped_epoch, "mapping": self.mapping},
        )

    def _hear(self, channel: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        kind, data = properties.headers["ce-type"], json.loads(body)
        if kind == "pd.member.audit.v1":
            for told in self.audits(data) if self.audits else ():
                send(channel, "pd.member.audited.v1", told)
            channel.basic_ack(method.delivery_tag)
            return
        self.commands.append((kind, data, dict(properties.headers)))
        self.floor = max(self.floor, data.get("epoch", 0))
        reply = self.replies.get(kind, FakeMember.healthy)(self, {**data, "type": kind})
        if reply:
            report, extra = reply
            sent = properties.headers.get("ce-sentat")
            times = {"command_sent_at": sent, "command_received_at": stamp(self.ahead_by)}
            send(channel, report, {**self._common(data), **times, **extra})
        channel.basic_ack(method.delivery_tag)

    def healthy(self, command: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """What a member that is well does, and says."""
        match command["type"]:
            case "pd.member.stage.v1" | "pd.member.repair.v1":
                self.shadow = command["release"]
                return "pd.member.staged.v1", {
                    "release": command["release"],
                    "mapping": self.mapping,
                    "certificate": self.certificate,
                    "tables": {"products": [1, "0" * 16, "0" * 16]},
                    "rows_applied": 1,
                    "phases": {"load": 0.001},
                }
            case "pd.member.flip.v1":
                if self.flipped_epoch != command["epoch"]:
                    self.shows, self.shadow = self.shadow, self.shows
                    self.flipped_epoch = command["epoch"]
                return "pd.member.flipped.v1", {"release": command["release"], "flipped_at": stamp(self.ahead_by)}
            case "pd.member.revert.v1":
                if self.flipped_epoch == command["of"]:
                    self.shows, self.shadow, self.flipped_epoch = self.shadow, self.shows, None
                return "pd.member.reverted.v1", {"of": command["of"]}
            case "pd.member.settle.v1":
                self.shadow = command["release"]
                return "pd.member.settled.v1", {"release": command["release"]}
            case _:
                return "pd.member.hello.v1", {"flipped_epoch": self.flipped_epoch, "mapping": self.mapping}

    def _common(self, command: dict[str, Any]) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "system": self.system,
            "epoch": command["epoch"],
            "rollout_id": command["rollout_id"],
            "floor": self.floor,
            "shows": self.shows,
            "shadow": self.shadow,
            "reported_at": stamp(self.ahead_by),
        }
