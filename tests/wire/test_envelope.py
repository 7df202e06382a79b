"""Messages on the wire, checked against the CloudEvents binding's own words and by breaking each of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from distributor.errors import MessageError
from distributor.wire.envelope import from_amqp, to_amqp
from distributor.wire.messages import TYPES, AbandonCommand

AT = datetime(2026, 3, 1, 12, 0, 0, 125, tzinfo=UTC)
SENT = datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC)
EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples" / "valid"
ABANDON = AbandonCommand(environment="prod", system="crm", epoch=7, rollout_id="r")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def sealed(**changes: object) -> dict[str, object]:
    envelope = to_amqp(ABANDON, id="m1", source="/test", time=AT, subject="prod/crm", traceparent=TRACE, sent_at=SENT)
    return {
        name: value
        for name, value in {**envelope.headers, **{f"ce-{k}": v for k, v in changes.items()}}.items()
        if value is not None
    }


def test_headers_are_those_of_binary_mode() -> None:
    envelope = to_amqp(ABANDON, id="m1", source="/test", time=AT, subject="prod/crm", traceparent=TRACE, sent_at=SENT)
    assert envelope.headers == {
        "ce-specversion": "1.0",
        "ce-id": "m1",
        "ce-source": "/test",
        "ce-type": "pd.member.abandon.v1",
        "ce-time": "2026-03-01T12:00:00.000125Z",
        "ce-subject": "prod/crm",
        "ce-traceparent": TRACE,
        "ce-sentat": "2026-03-01T12:00:01Z",
    }
    assert (envelope.content_type, envelope.message_id) == ("application/json", "m1")
    assert envelope.body == b'{"environment":"prod","system":"crm","epoch":7,"rollout_id":"r"}'


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_type_comes_back_as_it_went(name: str) -> None:
    message = TYPES[name].model_validate_json((EXAMPLES / f"{name}.json").read_text(), strict=True)
    envelope = to_amqp(message, id="m1", source="/test", time=AT, sent_at=SENT)
    received = from_amqp(envelope.headers, envelope.content_type, envelope.body)
    assert received.message == message
    assert type(received.message) is TYPES[name]
    assert (received.id, received.source, received.time, received.sent_at) == ("m1", "/test", AT, SENT)
    assert (received.subject, received.traceparent) == (None, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": None}, "ce-id is missing"),
        ({"type": None}, "ce-type is missing"),
        ({"time": None}, "ce-time is missing"),
        ({"specversion": None}, "ce-specversion is missing"),
        ({"id": ""}, "'id' must not be None or empty"),
        ({"id": 7}, "ce-id is 7, not a text"),
        ({"source": b"bytes"}, "not a text"),
        ({"id": "a\0b"}, r"ce-id has a control character: 'a\\x00b'"),
        ({"type": "pd.member.stage.v1\x9f"}, "ce-type has a control character"),
        ({"traceparent": "\ud800"}, "ce-traceparent has a control character"),
        ({"specversion": "0.3"}, "'specversion' must be '1.0'"),
        ({"time": "yesterday"}, "ce-time is 'yesterday'"),
        ({"time": "2026-03-01T12:00:00"}, "must be timezone aware"),
        ({"type": "pd.member.stage.v9"}, "no message of type 'pd.member.stage.v9'"),
        ({"type": "pd.member.stage.v1"}, "release: Field required"),
    ],
)
def test_headers_that_make_no_event(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        from_amqp(sealed(**changes), "application/json", ABANDON.model_dump_json().encode())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[]", "should be an object"),
        (b'{"environment":"prod"}', "epoch: Field required"),
        (b'{"environment":"prod","system":"crm","epoch":"7","rollout_id":"r"}', "epoch: .*valid integer"),
        (b'{"environment":"prod","system":"crm","epoch":7,"rollout_id":"r","more":1}', "more: Extra inputs"),
    ],
)
def test_bodies_that_are_no_data(body: bytes, reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        from_amqp(sealed(), "application/json", body)


@pytest.mark.parametrize("tables", ['{"products":[1,2,3]}', '{"products":[1]}', '{"products":[1,"xyz","00"]}'])
def test_certificates_that_are_none(tables: str) -> None:
    text = (EXAMPLES / "pd.member.staged.v1.json").read_text()
    start = text.index('"tables": ') + len('"tables": ')
    body = text[:start] + tables + text[text.index("}", start) + 1 :]
    with pytest.raises(MessageError, match=r"the data is no pd\.member\.staged\.v1"):
        from_amqp(sealed(type="pd.member.staged.v1"), "application/json", body.encode())


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/cloudevents+json"])
def test_other_contents(content_type: str | None) -> None:
    with pytest.raises(MessageError, match="content type"):
        from_amqp(sealed(), content_type, ABANDON.model_dump_json().encode())


def test_no_headers_at_all() -> None:
    with pytest.raises(MessageError, match="no CloudEvent"):
        from_amqp(None, None, b"hello")


@pytest.mark.parametrize("stamp", ["soon", "2026-03-01T12:00:00"])
def test_an_unreadable_stamp_is_none(stamp: str) -> None:
    received = from_amqp(sealed(sentat=stamp), "application/json", ABANDON.model_dump_json().encode())
    assert received.sent_at is None


def test_a_time_without_zone_is_refused() -> None:
    text = (EXAMPLES / "pd.member.flip.v1.json").read_text().replace("05.030Z", "05.030")
    with pytest.raises(MessageError, match=r"at: .*timezone"):
        from_amqp(sealed(type="pd.member.flip.v1"), "application/json", text.encode())
