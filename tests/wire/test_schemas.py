"""Published schemas are current, and agree with the code on every example."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from distributor.errors import ConfigError
from distributor.messaging.publish_schemas import documents, render
from distributor.model.manifest import Manifest
from distributor.settings import load_settings
from distributor.wire.messages import TYPES

SCHEMAS = Path(__file__).parents[2] / "schemas"
VALID = sorted((SCHEMAS / "examples" / "valid").iterdir())
INVALID = sorted((SCHEMAS / "examples" / "invalid").iterdir())
OF_THE_API = "openapi.json"
"""Made and kept current by the web."""
ENVIRON = {"MASTER_PASSWORD": "secret"}


def test_published_files_are_current() -> None:
    published = {
        str(path.relative_to(SCHEMAS)): path.read_text(encoding="utf-8")
        for path in SCHEMAS.rglob("*.json")
        if "examples" not in path.parts and path.name != OF_THE_API
    }
    assert published == {name: render(document) for name, document in documents().items()}


def test_every_message_has_examples_of_both_kinds() -> None:
    for name in [*TYPES, "manifest", "distributor"]:
        assert [p for p in VALID if p.name.startswith(f"{name}.")], name
        assert [p for p in INVALID if p.name.startswith(f"{name}.")], name


@pytest.mark.parametrize("name", sorted(documents()))
def test_schemas_are_schemas(name: str) -> None:
    if name != "asyncapi.json":
        Draft202012Validator.check_schema(documents()[name])


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.name)
def test_valid_examples_pass_both(path: Path) -> None:
    assert list(Draft202012Validator(_schema(path)).iter_errors(_document(path))) == []
    _parse(path)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_invalid_examples_fail_both(path: Path) -> None:
    assert list(Draft202012Validator(_schema(path)).iter_errors(_document(path))) != []
    with pytest.raises((ValidationError, ConfigError)):
        _parse(path)


def test_asyncapi_names_every_message_and_its_schema() -> None:
    document = documents()["asyncapi.json"]
    named = [name for channel in document["channels"].values() for name in channel["messages"]]
    assert sorted(named) == sorted(TYPES)
    for message in document["components"]["messages"].values():
        assert (SCHEMAS / message["payload"]["$ref"]).is_file()


def _type(path: Path) -> str | None:
    return next((name for name in TYPES if path.name.startswith(f"{name}.")), None)


def _schema(path: Path) -> dict[str, Any]:
    if name := _type(path):
        return documents()[f"messages/{name}.json"]
    return documents()["manifest.json" if path.suffix == ".json" else "distributor.toml.json"]


def _document(path: Path) -> Any:
    return tomllib.loads(path.read_text()) if path.suffix == ".toml" else json.loads(path.read_text())


def _parse(path: Path) -> None:
    if path.suffix == ".toml":
        load_settings(path, ENVIRON)
    elif name := _type(path):
        TYPES[name].model_validate_json(path.read_text(), strict=True)
    else:
        Manifest.model_validate_json(path.read_text())
