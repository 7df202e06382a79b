"""Refresh requests of test teams: asked for, in line, taken back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import ConfigDict, Field
from sqlalchemy import Connection, Engine

from distributor.access.roles import Act
from distributor.ledger.engine import transaction
from distributor.requests import refreshing
from distributor.views import requests as views
from distributor.views.requests import RequestLine, Requests
from distributor.web import paging
from distributor.web.api.fields import (
    Body,
    Environment,
    Id,
    Limit,
    Moment,
    Name,
    OfEnvironment,
    Reason,
    ReleaseNumber,
    WrittenReason,
)
from distributor.web.api.finding import REQUEST
from distributor.web.backstage import AtHand
from distributor.web.errors import named_in_body
from distributor.web.paging import After
from distributor.web.security import Caller, needs
from distributor.web.writing import Done, Writing

router = APIRouter(tags=["refresh requests"])


class WantedRefresh(Body):
    """A test team's request."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"release": 41, "reset": True, "reason": "a clean start for sprint 12"}]}
    )
    release: ReleaseNumber | None = None
    """The release; left out, and no `as_of`: the newest when its turn comes."""
    as_of: Moment | None = None
    """Instead of a release: the newest one that was made at or before this time."""
    systems: tuple[Name, ...] = Field(default=(), max_length=100)
    """Only these: they are brought level with what the environment shows. Left out: all."""
    reset: bool = False
    """Whether what was written into the stores behind the tables is taken back as well."""
    reason: Reason


@router.get(
    "/refresh-requests",
    operation_id="requests",
    summary="List the refresh requests",
    responses={200: paging.LINKED},
)
def refresh_requests(
    request: Request,
    response: Response,
    backstage: AtHand,
    environment: OfEnvironment = None,
    open_: Annotated[bool, Query(alias="open", description="Only those that are not over.")] = False,
    limit: Limit = 50,
    after: After = None,
    who: Caller = needs(Act.READ),
) -> Requests:
    """Who asked for what, whose turn it is, and when it will be there; newest first."""
    with transaction(backstage.engine) as conn:
        found = views.requests(
            conn,
            backstage.settings,
            who.one(environment),
            only_open=open_,
            limit=limit + 1,
            before=paging.moment(after),
            among=who.environments,
        )
    return paging.cut(request, response, found, "requests", limit, ("requested_at", "id"))


@router.get("/refresh-requests/{request}", operation_id="request", summary="See one refresh request")
def refresh_request(request: Id, backstage: AtHand, who: Caller = needs(Act.READ, REQUEST)) -> RequestLine:
    """Its place in the line, what it waits for, and when it will be online as far as that is known."""
    with transaction(backstage.engine) as conn:
        return views.request(conn, backstage.settings, request)


@router.post(
    "/environments/{environment}/refresh-requests",
    operation_id="refresh",
    summary="Ask for a refresh",
    status_code=201,
    response_model=RequestLine,
)
def refresh(
    environment: Environment,
    wanted: WantedRefresh,
    backstage: AtHand,
    write: Writing,
    who: Caller = needs(Act.REQUEST_REFRESH),
) -> Response:
    """Queued behind the rollout that goes on, and behind requests made before. Follow it at `Location`."""

    def act(engine: Engine, conn: Connection) -> Done:
        with named_in_body("release"):
            found = refreshing.request(
                engine,
                backstage.settings,
                backstage.store,
                environment,
                release=wanted.release,
                as_of=wanted.as_of,
                systems=wanted.systems,
                reset=wanted.reset,
                by=who.name,
                reason=wanted.reason,
            )
        return Done(views.request(conn, backstage.settings, found), f"/v1/refresh-requests/{found}", 201)

    return write.done(who, act, environment=environment)


@router.delete(
    "/refresh-requests/{request}",
    operation_id="withdraw",
    summary="Take a refresh request back",
    response_model=RequestLine,
)
def withdraw(
    request: Id,
    reason: WrittenReason,
    backstage: AtHand,
    write: Writing,
    who: Caller = needs(Act.REQUEST_REFRESH, REQUEST),
) -> Response:
    """Your own, or as an operator anybody's. A rollout that began because of it is called off."""
    with transaction(backstage.engine) as conn:
        found = views.find(conn, request)
    if found.by != who.name:
        who.check(Act.OVERRULE, found.environment)

    def act(engine: Engine, conn: Connection) -> Done:
        refreshing.withdraw(engine, backstage.settings, found.id, by=who.name, reason=reason)
        return Done(views.request(conn, backstage.settings, found.id))

    return write.done(who, act, environment=found.environment)
