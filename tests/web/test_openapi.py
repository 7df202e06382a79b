"""The description of the API: current, whole, and true of what the application answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from distributor.access.roles import Role
from distributor.web import openapi
from distributor.web.problems import Problem
from tests.services.postgresql import PostgreSQLServer
from tests.web.estate import Lived, lived

LONGEST_URL = 60_000
FILE = Path(__file__).parents[2] / "schemas" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document()


@pytest.fixture(scope="module")
def estate(postgresql_server: PostgreSQLServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    with lived(postgresql_server, tmp_path_factory.mktemp("web") / "store") as found:
        yield found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in document["paths"].values():
        for operation in path.values():
            yield operation["operationId"], operation


def test_the_file_is_current(document: dict[str, Any]) -> None:
    told = "make it anew: `python -m distributor.web.openapi > schemas/openapi.json`"
    assert FILE.read_text(encoding="utf-8") == openapi.render(document), told


def test_the_service_tells_it_to_anyone(estate: Lived) -> None:
    assert estate.client(None).get("/v1/openapi.json").json()["info"]["title"] == "distributor"


def test_every_operation_is_told_whole(document: dict[str, Any]) -> None:
    names = [name for name, _ in operations(document)]
    assert len(names) == len(set(names))
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"].strip(), name
        assert operation["security"] == [{"key": []}, {"session": []}], name
        assert {"401", "403", "503"} <= operation["responses"].keys(), name
        assert "HTTPValidationError" not in json.dumps(operation), name
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (name, parameter["name"])


def test_every_field_is_told(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        if name == "Counts":
            continue  # inserts, updates, deletes: that is all there is to say
        for field, value in schema.get("properties", {}).items():
            assert "description" in value or "$ref" in value or "const" in value, (name, field)


def test_operations_are_called_as_the_verbs(document: dict[str, Any]) -> None:
    """What can be done by a verb and by the API has one name; what only the API has is listed here."""
    from distributor.cli.main import VERBS

    verbs = {name.replace(" ", "-") for name in VERBS}
    own = {
        "call", "comparison", "compare", "environments", "events", "freeze-one", "holds", "key", "me",
        "quarantine-retry-environment", "release", "request", "status-environment", "systems", "trigger-call",
        "verification", "verifications",
    }  # fmt: skip
    assert {name for name, _ in operations(document)} - verbs <= own


def test_every_write_has_an_example_and_it_is_valid(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, operation in operations(document):
        if "requestBody" in operation:
            reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            schema = schemas[reference.rpartition("/")[2]]
            assert schema["examples"], name
            for example in schema["examples"]:
                jsonschema.validate(example, {**schema, "components": document["components"]})


def test_examples_of_answers_are_valid(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/json", {})
            if status.startswith("2") and content:
                assert "example" in content, f"{name} has no example: `python -m tests.web.examples`"
                jsonschema.validate(content["example"], {**content["schema"], "components": document["components"]})


def test_problems_are_as_they_are_described(document: dict[str, Any]) -> None:
    assert document["components"]["schemas"]["Problem"]["required"] == [
        name for name, field in Problem.model_fields.items() if field.is_required()
    ]


CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def fuzz(estate: Lived, examples: int) -> None:
    """Whatever the description allows, and what it does not, is answered as it says. Each request is undone."""
    schema = schemathesis.openapi.from_dict(openapi.describe(estate.app))
    client = estate.client(estate.key(Role.ADMIN))
    names = {**estate.ids, "environment": "uat", "left": "uat", "right": "prod", "dataset": "products"}

    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/v1/events":
            continue
        cases = st.one_of(
            operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
        )

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases, known=st.sets(st.sampled_from(sorted(names))))
        def once(case: Case, known: set[str]) -> None:
            # Names that exist lead further into the application than made-up ones.
            case.path_parameters = {
                name: names[name] if name in known and name in names else value
                for name, value in (case.path_parameters or {}).items()
            }
            with estate.undone():
                told = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
                assume(len(told.url or "") < LONGEST_URL)
                headers = {name: value for name, value in told.headers.items() if name.lower() != "authorization"}
                answer = client.request(told.method or "", told.url or "", headers=headers, content=told.body)
                # What was spoilt in a part that the test has put right is no longer a reason to refuse.
                put_right = known & (case.path_parameters or {}).keys() or "Authorization" in (case.headers or {})
                case.validate_response(answer, checks=CHECKS if put_right else [*CHECKS, negative_data_rejection])

        once()


def test_whatever_is_sent_is_answered_as_described(estate: Lived) -> None:
    fuzz(estate, examples=8)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_whatever_is_sent_is_answered_as_described_long(estate: Lived) -> None:
    fuzz(estate, examples=400)
