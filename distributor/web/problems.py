"""Every error as `application/problem+json` (RFC 9457): what, where, how to mend it, whether trying again can help."""

from __future__ import annotations

import http
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distributor.access.roles import ForbiddenError
from distributor.errors import (
    DistributorError,
    NotConvergedError,
    NotInitialisedError,
    NotThereError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from distributor.ledger import storable
from distributor.telemetry.logs import logger
from distributor.web.errors import (
    AnsweredOtherwiseError,
    ChangedMeanwhileError,
    InputError,
    StillRunningError,
    UnauthenticatedError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
_LONGEST_NAME = 200
_log = logger("web")

_STATUS: tuple[tuple[type[DistributorError], int], ...] = (
    (UnauthenticatedError, 401),
    (ForbiddenError, 403),
    (NotThereError, 404),
    (ChangedMeanwhileError, 412),
    (AnsweredOtherwiseError, 422),
    (InputError, 422),
    (StillRunningError, 409),
    (UsageError, 422),
    (RefusedError, 409),
    (NotConvergedError, 409),
    (UnreachableError, 503),
    (NotInitialisedError, 503),
)


class FieldProblem(BaseModel):
    """One field of a request that cannot be taken."""

    field: str = Field(description="The field: `body.reason`, `query.limit`, `path.rollout`.")
    what: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """Why a request was not done. Nothing of it was."""

    type: str = Field(description="What kind of problem it is, as a URN.")
    title: str = Field(description="The same in words.")
    status: int = Field(description="The status of the answer.")
    detail: str = Field(description="What is the matter and what to do about it, in sentences.")
    what: str = Field(description="What is the matter.")
    where: str = Field(description="Where: an environment, a field, a server; empty when that says nothing.")
    mend: str = Field(description="What to do about it; empty when there is nothing to do.")
    retryable: bool = Field(description="Whether the same request may do later.")
    errors: list[FieldProblem] = Field(default=[], description="The fields that it is about.")


def problem_of(error: DistributorError) -> Problem:
    """A failure of this service's own kind."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 503 if error.retryable else 500)
    fields = [FieldProblem(field=error.where, what=error.what)] if isinstance(error, InputError) else []
    return _problem(status, error.what, error.where, error.mend, retryable=error.retryable, errors=fields)


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that tells of it."""
    more = dict(headers or {})
    if problem.status == 503:
        more.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    if problem.status == 401:
        more.setdefault("WWW-Authenticate", 'Bearer realm="distributor"')
    return Response(problem.model_dump_json(), problem.status, more, MEDIA_TYPE)


Render = Callable[[Request, Problem, Mapping[str, str]], Response | None]
"""How pages tell of a problem; None: as the API does."""


def told(request: Request, problem: Problem, headers: Mapping[str, str]) -> Response:
    """The answer to this request: as `app.state.render_problem` (a `Render`) has it, else as the API does."""
    render: Render | None = getattr(request.app.state, "render_problem", None)
    return (render(request, problem, headers) if render else None) or answer(problem, headers)


def install(app: FastAPI) -> None:
    """Has every failure that was foreseen answered so; what was not is for `LastResort`."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, DistributorError)
        problem = problem_of(error)
        if problem.status >= 500:
            _log.warning("request failed", path=request.url.path, error=str(error))
        return told(request, problem, {})

    async def busy(request: Request, _: Exception) -> Response:
        what = "every connection to the ledger is in use"
        return told(request, _problem(503, what, "ledger", "Try again in a moment.", retryable=True), {})

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return told(request, _of_fields([_field(found) for found in error.errors()]), {})

    async def plain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return told(request, of_status(request, error.status_code), dict(error.headers or {}))

    app.add_exception_handler(DistributorError, ours)
    app.add_exception_handler(PoolTimeoutError, busy)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)


class LastResort:
    """Answers what nobody has foreseen. It stands inside of what adds headers, unlike the framework's own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            _log.exception("request failed unexpectedly", path=scope["path"], method=scope["method"], exc_info=error)
            what, mend = "this failed for a reason that nobody has foreseen", "The log of this process has the details."
            problem = _problem(500, what, "", mend, retryable=False)
            await told(Request(scope), problem, {})(scope, receive, send)


def _of_fields(fields: list[FieldProblem]) -> Problem:
    if len(fields) == 1:
        return _problem(422, fields[0].what, fields[0].field, "", retryable=False, errors=fields)
    what = "; ".join(f"{found.field}: {found.what}" for found in fields)
    return _problem(422, what, "", "", retryable=False, errors=fields)


def _field(found: Mapping[str, Any]) -> FieldProblem:
    """The input itself is not repeated: it may be a secret, and it may be long."""
    place = [str(part) for part in found["loc"]]
    if found["type"] == "json_invalid":
        return FieldProblem(field="body", what=f"this is not JSON, from character {place[-1]} on")
    # A field that is not known has the name that a stranger gave it.
    name = storable.text(".".join(place))[:_LONGEST_NAME]
    return FieldProblem(field=name, what=str(found["msg"]).removeprefix("Value error, "))


_PLAIN = {
    404: ("there is nothing at this address", "`/v1/openapi.json` has all of them."),
    405: ("this address knows no such method", "`/v1/openapi.json` has those that it knows."),
    413: ("the body is too large", "No request needs more than a megabyte."),
    400: ("the body cannot be read", "Send one JSON object."),
}


def of_status(request: Request, status: int) -> Problem:
    """What the framework itself refuses."""
    what, mend = _PLAIN.get(status, (_phrase(status).lower(), ""))
    return _problem(status, what, request.url.path if status in (404, 405) else "", mend, retryable=False)


def _problem(
    status: int, what: str, where: str, mend: str, *, retryable: bool, errors: list[FieldProblem] | None = None
) -> Problem:
    return Problem(
        type=f"urn:distributor:problem:{_phrase(status).lower().replace(' ', '-')}",
        title=_phrase(status),
        status=status,
        detail=str(DistributorError(what, where=where, mend=mend)),
        what=what,
        where=where,
        mend=mend,
        retryable=retryable,
        errors=errors or [],
    )


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"
