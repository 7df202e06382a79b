"""Messages as CloudEvents 1.0 in binary mode: attributes in AMQP headers, data in the body. No driver here.

Two extension attributes are used: `traceparent` (W3C) and `sentat`, the sender's clock at the very moment of sending;
`time` is when the message was decided on, which may be long before a broker took it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloudevents.core.base import BaseCloudEvent, EventFactory
from cloudevents.core.bindings.rabbitmq import RabbitMQMessage, from_binary, to_binary
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.base import Format
from cloudevents.core.v1.event import CloudEvent
from pydantic import ValidationError

from distributor.errors import MessageError
from distributor.wire.messages import TYPES, Message

CONTENT_TYPE = "application/json"
# What CloudEvents 1.0 (section 3.1, String) forbids in every attribute: controls and lone surrogates.
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_REQUIRED = ("id", "source", "type", "specversion", "time")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a driver publishes."""

    headers: dict[str, str]
    content_type: str
    body: bytes
    message_id: str


@dataclass(frozen=True, slots=True)
class Received:
    """A message that was read. `sent_at` is None when the sender did not stamp it."""

    message: Message
    id: str
    source: str
    time: datetime
    subject: str | None
    traceparent: str | None
    sent_at: datetime | None


class _Verbatim(Format):
    """The body as it stands: the models parse it once, and say precisely what is wrong."""

    def write_data(self, data: dict[str, Any] | str | bytes | None, datacontenttype: str | None) -> bytes:
        return data if isinstance(data, bytes) else b""

    def read_data(self, body: bytes, datacontenttype: str | None) -> dict[str, Any] | str | bytes | None:
        return body

    def read(self, event_factory: EventFactory | None, data: str | bytes) -> BaseCloudEvent:
        raise MessageError("structured mode is not spoken here")

    def write(self, event: BaseCloudEvent) -> bytes:
        raise MessageError("structured mode is not spoken here")

    def get_content_type(self) -> str:
        return CONTENT_TYPE


_VERBATIM = _Verbatim()


def to_amqp(
    message: Message,
    *,
    id: str,
    source: str,
    time: datetime,
    subject: str | None = None,
    traceparent: str | None = None,
    sent_at: datetime | None = None,
) -> Envelope:
    """A message as headers and body. `source` is a URI reference such as `/distributor/coordinator`."""
    return seal(
        message.TYPE,
        message.model_dump_json().encode(),
        id=id,
        source=source,
        time=time,
        subject=subject,
        traceparent=traceparent,
        sent_at=sent_at,
    )


def seal(
    type: str,
    body: bytes,
    *,
    id: str,
    source: str,
    time: datetime,
    subject: str | None = None,
    traceparent: str | None = None,
    sent_at: datetime | None = None,
) -> Envelope:
    """`to_amqp` for data that already is JSON, as it lies in an outbox."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": type,
        "time": time,
        "datacontenttype": CONTENT_TYPE,
    }
    if subject:
        attributes["subject"] = subject
    if traceparent:
        attributes["traceparent"] = traceparent
    if sent_at:
        attributes["sentat"] = sent_at
    sealed = to_binary(CloudEvent(attributes, body), _VERBATIM)
    return Envelope(sealed.headers, CONTENT_TYPE, sealed.body, id)


def from_amqp(headers: Mapping[str, object] | None, content_type: str | None, body: bytes) -> Received:
    """The message in a delivery. Raises MessageError: no event, of an unknown type, or with invalid data."""
    event = _event(headers or {}, content_type, body)
    kind = event.get_type()
    model = TYPES.get(kind)
    if model is None:
        raise MessageError(f"no message of type {kind!r} is known here")
    try:
        message = model.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise MessageError(f"the data is no {kind}: {_reasons(error)}") from error
    except (TypeError, OverflowError) as error:
        raise MessageError(f"the data is no {kind}: {error}") from error
    time = event.get_time()
    assert time is not None
    return Received(
        message=message,
        id=event.get_id(),
        source=event.get_source(),
        time=time,
        subject=event.get_subject(),
        traceparent=event.get_extension("traceparent"),
        sent_at=_sent_at(event.get_extension("sentat")),
    )


def _event(headers: Mapping[str, object], content_type: str | None, body: bytes) -> BaseCloudEvent:
    texts = {name.lower(): value for name, value in headers.items() if name.lower().startswith("ce-")}
    for name in _REQUIRED:
        if f"ce-{name}" not in texts:
            raise MessageError(f"this is no CloudEvent in binary mode: the header ce-{name} is missing")
    for name, value in texts.items():
        if not isinstance(value, str):
            raise MessageError(f"this is no CloudEvent: the header {name} is {value!r:.60}, not a text")
        if _UNSPEAKABLE.search(value):
            raise MessageError(f"this is no CloudEvent: the header {name} has a control character: {value!r:.60}")
    if (content_type or "").split(";")[0].strip().lower() != CONTENT_TYPE:
        raise MessageError(f"the content type is {content_type!r}, not {CONTENT_TYPE}")
    strings = {name: value for name, value in texts.items() if isinstance(value, str)}
    try:
        return from_binary(RabbitMQMessage(strings, content_type, body), _VERBATIM, CloudEvent)
    except CloudEventValidationError as error:
        reasons = "; ".join(str(reason) for found in error.errors.values() for reason in found)
        raise MessageError(f"this is no CloudEvent 1.0: {reasons}") from error
    except ValueError as error:
        raise MessageError(f"this is no CloudEvent: the header ce-time is {strings['ce-time']!r:.60}") from error


def _sent_at(text: str | None) -> datetime | None:
    # An extension that cannot be read is as good as none: it only measures clocks.
    try:
        sent_at = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return sent_at if sent_at is None or sent_at.tzinfo else None


def _reasons(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}"
        for problem in error.errors(include_url=False)
    )
