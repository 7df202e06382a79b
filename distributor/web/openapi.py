"""The description of the API (OpenAPI 3.1): `python -m distributor.web.openapi > schemas/openapi.json`.

What all routes have alike is added here: how one may fail, by what it needs and what it takes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts

from distributor.settings import Settings
from distributor.web.problems import MEDIA_TYPE, Problem
from distributor.web.security import anyone
from distributor.web.security.needs import need_of
from distributor.web.writing import REPLAYED

PATH = "/v1/openapi.json"
_EXAMPLES = Path(__file__).parent / "examples.json"
_DESCRIPTION = """\
Everything that `distributor` does for environments: the same words, checks and documents as those of its verbs.

Show a key: `Authorization: Bearer pdk_…`. `distributor key create` makes keys; each has a role, and may be for some
environments only: others do not exist for it. Errors are `application/problem+json` and say what, where and how to
mend it. Lists come in pages: follow the `next` of the `Link` header. A write takes an `Idempotency-Key`: with it the
same may be asked for again and is done once. Times are ISO 8601 in UTC. New fields may be added to a document.
"""
_TAGS = {
    "environments": "How environments stand, and what is done to them.",
    "rollouts": "Taking environments from release to release, together or not at all.",
    "refresh requests": "What test teams ask for, one after the other.",
    "freezes": "When nothing changes over.",
    "triggers": "What starts rollouts by itself.",
    "releases": "What was published, and one product through all of it.",
    "verifications": "What systems store, against what their releases say.",
    "quarantine": "Rows that are held back.",
    "dead letters": "Messages that could not be processed.",
    "audit": "Who did what, when and why.",
    "events": "What happens, as it happens.",
    "keys": "Who may do what.",
}
_PROBLEMS = {
    400: "The body cannot be read.",
    401: "There is no such key, or it has expired or was revoked.",
    403: "The key is known, and may not do this.",
    404: "What the path names does not exist, or not for this key.",
    409: "A gate said no, or a request of the same `Idempotency-Key` is being worked on.",
    412: "It has changed since the ETag of `If-Match` was seen.",
    413: "The body is larger than a megabyte.",
    422: "A field cannot be taken; `errors` names it. Or the `Idempotency-Key` was used for another request.",
    503: "Something that is needed did not answer; `Retry-After` says when to try again.",
}
_DONE = {"200": "It is done.", "201": "It is made.", "202": "It was asked for, and goes on."}
router = APIRouter()


@router.get(PATH, include_in_schema=False, dependencies=[anyone])
def openapi_document(request: Request) -> Response:
    """The description of the API."""
    state = request.app.state
    if not hasattr(state, "described"):
        state.described = render(describe(request.app))
    return Response(state.described, media_type="application/json")


def describe(app: FastAPI) -> dict[str, Any]:
    """The description of an application's API."""
    document = get_openapi(
        title="distributor",
        version=app.version,
        summary="Product data from its master to every system of an environment, together or not at all.",
        description=_DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**problem.pop("$defs"), "Problem": problem}
    document["components"]["responses"] = {str(status): _problem(status) for status in _PROBLEMS}
    needs = {context.operation_id: need_of(context) for context in iter_route_contexts(app.routes) if _told(context)}
    for operation in _operations(document):
        _complete(operation, known=needs[operation["operationId"]] is not None)
    return document


def render(document: dict[str, Any]) -> str:
    """As it is kept in files."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def document() -> dict[str, Any]:
    """The description of this program's API, whatever the config."""
    from distributor.web.app import create_app

    member = {"adapter": "sqlite", "url": "sqlite:///x"}
    settings = Settings.model_validate(
        {
            "master": {"url": "postgresql://x/x", "datasets": {"products": {"table": "products"}}},
            "ledger": {"url": "postgresql://x/x"},
            "broker": {"url": "amqp://x/"},
            "store": {"path": "store"},
            "environments": {"prod": {"systems": {"pos": member}}},
        }
    )
    return describe(create_app(settings))


def _told(context: Any) -> bool:
    return bool(getattr(context, "include_in_schema", False) and getattr(context, "operation_id", None))


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["x-path"], operation["x-method"] = path, method
            yield operation


def _complete(operation: dict[str, Any], *, known: bool) -> None:
    path, method = operation.pop("x-path"), operation.pop("x-method")
    given = {parameter["name"].lower() for parameter in operation.get("parameters", ())}
    writes = method != "get"
    fails = {503}
    fails |= {401, 403} if known else set()
    fails |= {404} if "{" in path or given & {"environment", "left"} else set()
    fails |= {422} if operation.get("parameters") or "requestBody" in operation else set()
    fails |= {400, 413} if "requestBody" in operation else set()
    fails |= {409, 412} if writes else set()
    # A release may be gone by now, or there may be none yet.
    fails |= {409} if operation["operationId"] in ("plan", "compare", "product", "changes") else set()
    if not (writes and ("{" in path or "freezes" in path)):
        operation["parameters"] = [one for one in operation.get("parameters", ()) if one["name"] != "if-match"]
        fails -= {412}
    answers = operation["responses"]
    answers.pop("422", None)
    answers |= {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(fails)}
    if "if-none-match" in given:
        answers["304"] = {"description": "It is as it was known."}
        answers["200"].setdefault("headers", {})["ETag"] = _header("Its version.")
    for status, told_as in _DONE.items():
        if status in answers and answers[status]["description"] == "Successful Response":
            answers[status]["description"] = told_as if writes else "As it is now."
        if writes and status in answers:
            told = answers[status].setdefault("headers", {})
            told[REPLAYED] = _header("`true` where the answer is the one that was given before.")
            if status != "200":
                told["Location"] = _header("Where it is.")
    example = _examples().get(operation["operationId"])
    if example is not None:
        content = next(answers[status] for status in _DONE if status in answers)["content"]
        content["application/json"]["example"] = example


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    answer: dict[str, Any] = {"description": _PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": _header("`Bearer`.")}
    if status == 503:
        answer["headers"] = {"Retry-After": _header("Seconds.")}
    return answer


def _header(text: str) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"}}


@cache
def _examples() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_EXAMPLES.read_text(encoding="utf-8")) if _EXAMPLES.is_file() else {}
    return found


if __name__ == "__main__":
    sys.stdout.write(render(document()))
