"""Writes schemas/: `python -m distributor.messaging.publish_schemas [DIRECTORY]`. A test keeps the files current.

One JSON Schema per message type, of the manifest and of distributor.toml, and an AsyncAPI document that says where
messages travel. The examples beside them are written by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from distributor.model.manifest import Manifest
from distributor.settings import Settings
from distributor.wire import topology
from distributor.wire.messages import (
    COMMANDS,
    NOTICES,
    REPORTS,
    TYPES,
    AuditCommand,
    ReleaseAnnounced,
    TriggerCall,
)

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def documents() -> dict[str, dict[str, Any]]:
    """Path below schemas/ → document."""
    found = {f"messages/{name}.json": _schema(model, "serialization") for name, model in TYPES.items()}
    found["manifest.json"] = _schema(Manifest, "serialization")
    found["distributor.toml.json"] = _settings_schema()
    found["asyncapi.json"] = asyncapi()
    return found


def render(document: dict[str, Any]) -> str:
    """A document as its file holds it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def asyncapi() -> dict[str, Any]:
    """Exchanges, queues and messages as an AsyncAPI 3 document."""
    commands = [*(m.TYPE for m in COMMANDS), AuditCommand.TYPE]
    reports = [m.TYPE for m in (*REPORTS, *NOTICES)]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Distributor",
            "version": "1",
            "description": "CloudEvents 1.0 in binary mode over AMQP 0-9-1. Rows travel through the store, never here.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "commands": {
                "address": topology.command_key("{environment}", "{system}"),
                "description": "From the coordinator to one member's queue; one consumer at a time.",
                "parameters": {
                    "environment": {"description": "an environment of the config"},
                    "system": {"description": "a system of that environment"},
                },
                "messages": _references(commands),
                "bindings": _exchange(topology.COMMANDS),
            },
            "reports": {
                "address": "report",
                "description": "From members to the coordinators' one queue.",
                "messages": _references(reports),
                "bindings": _exchange(topology.REPORTS),
            },
            "releases": {
                "address": None,
                "description": "A release exists; whoever wants to know binds a queue.",
                "messages": _references([ReleaseAnnounced.TYPE]),
                "bindings": _exchange(topology.RELEASES),
            },
            "triggers": {
                "address": topology.TRIGGER_KEY,
                "description": 'Anybody may publish here; triggers with on = "message" are called by it.',
                "messages": _references([TriggerCall.TYPE]),
                "bindings": _exchange(topology.TRIGGERS),
            },
        },
        "operations": {
            "command": _operation("send", "commands", "The coordinator tells a member what to do."),
            "hear": _operation("receive", "reports", "The coordinator hears what members did."),
            "announce": _operation("send", "releases", "The publisher made a release."),
            "call": _operation("receive", "triggers", "A program outside starts a rollout."),
        },
        "components": {"messages": {name: _message(name) for name in TYPES}},
    }


def publish(directory: Path) -> None:
    """Writes every document below a directory."""
    for name, document in documents().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(document), encoding="utf-8")


def _schema(model: type[BaseModel], mode: JsonSchemaMode) -> dict[str, Any]:
    return {"$schema": _DIALECT, **model.model_json_schema(mode=mode)}


def _settings_schema() -> dict[str, Any]:
    schema = _schema(Settings, "validation")
    # Where the file lies is no key of the file.
    del schema["properties"]["directory"]
    return {**schema, "title": "distributor.toml"}


def _references(names: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _exchange(name: str) -> dict[str, Any]:
    kind = dict(topology.EXCHANGES)[name]
    return {"amqp": {"is": "routingKey", "exchange": {"name": name, "type": kind, "durable": True}}}


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _message(name: str) -> dict[str, Any]:
    headers = {
        "ce-specversion": {"const": "1.0"},
        "ce-type": {"const": name},
        "ce-id": {"type": "string", "minLength": 1},
        "ce-source": {"type": "string", "minLength": 1},
        "ce-time": {"type": "string", "format": "date-time"},
        "ce-subject": {"type": "string"},
        "ce-traceparent": {"type": "string", "description": "W3C trace context"},
        "ce-sentat": {"type": "string", "format": "date-time", "description": "the sender's clock when it sent"},
    }
    return {
        "name": name,
        "summary": (TYPES[name].__doc__ or "").strip().splitlines()[0],
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": headers,
            "required": ["ce-specversion", "ce-type", "ce-id", "ce-source", "ce-time"],
        },
        "payload": {"$ref": f"messages/{name}.json"},
    }


if __name__ == "__main__":
    publish(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "schemas")
