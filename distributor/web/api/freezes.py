"""Freezes: times in which nothing changes over, in one environment or in all."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import ConfigDict
from sqlalchemy import Connection, Engine

from distributor.access.roles import Act
from distributor.ledger.engine import transaction
from distributor.requests import freezes as requests
from distributor.views import freezes as views
from distributor.views.freezes import FreezePart, Freezes
from distributor.web import paging
from distributor.web.api.fields import Body, Id, Limit, Moment, Name, OfEnvironment, Reason, WrittenReason
from distributor.web.api.finding import FREEZE
from distributor.web.backstage import AtHand
from distributor.web.errors import named_in_body
from distributor.web.paging import After
from distributor.web.security import Caller, needs
from distributor.web.writing import Done, Writing

router = APIRouter(prefix="/freezes", tags=["freezes"])


class WantedFreeze(Body):
    """A freeze."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"environment": "prod", "until": "2027-01-02T06:00:00Z", "reason": "year-end closing"}]
        }
    )
    environment: Name | None = None
    """The environment; left out: every one."""
    since: Moment | None = None
    """From when; left out: at once."""
    until: Moment
    """Until when."""
    reason: Reason


@router.get("", operation_id="freezes", summary="List the freezes", responses={200: paging.LINKED})
def freezes(
    request: Request,
    response: Response,
    backstage: AtHand,
    environment: OfEnvironment = None,
    every: Annotated[bool, Query(alias="all", description="Also those that are over.")] = False,
    limit: Limit = 50,
    after: After = None,
    who: Caller = needs(Act.READ),
) -> Freezes:
    """Those that stand, and the windows of the config with the time at which each opens next."""
    with transaction(backstage.engine) as conn:
        found = views.freezes(
            conn,
            backstage.settings,
            who.one(environment),
            every=every,
            limit=limit + 1,
            before=paging.moment(after),
            among=who.environments,
        )
    return paging.cut(request, response, found, "freezes", limit, ("placed_at", "id"))


@router.get("/{freeze}", operation_id="freeze-one", summary="See one freeze")
def freeze_one(freeze: Id, backstage: AtHand, who: Caller = needs(Act.READ, FREEZE)) -> FreezePart:
    """From when until when, and whether it still stands."""
    with transaction(backstage.engine) as conn:
        return views.freeze(conn, freeze)


@router.post(
    "",
    operation_id="freeze",
    summary="Let nothing change over for a while",
    status_code=201,
    response_model=FreezePart,
)
def freeze(
    wanted: WantedFreeze, backstage: AtHand, write: Writing, who: Caller = needs(Act.FREEZE, in_body=True)
) -> Response:
    """Staging goes on, and what was staged changes over when it ends. A rollback is not kept back."""
    with named_in_body("environment"):
        who.check(Act.FREEZE, wanted.environment)

    def act(engine: Engine, conn: Connection) -> Done:
        placed = requests.freeze(
            engine,
            backstage.settings,
            environment=wanted.environment,
            since=wanted.since,
            until=wanted.until,
            by=who.name,
            reason=wanted.reason,
        )
        return Done(views.freeze(conn, placed), f"/v1/freezes/{placed}", 201)

    return write.done(who, act, environment=wanted.environment)


@router.delete("/{freeze}", operation_id="unfreeze", summary="End a freeze", response_model=FreezePart)
def unfreeze(
    freeze: Id,
    reason: WrittenReason,
    backstage: AtHand,
    write: Writing,
    who: Caller = needs(Act.FREEZE, FREEZE),
) -> Response:
    """Before its time, or before it begins: what was staged meanwhile changes over."""
    with transaction(backstage.engine) as conn:
        found = views.find(conn, freeze)

    def act(engine: Engine, conn: Connection) -> Done:
        requests.end_freeze(engine, backstage.settings, found.id, by=who.name, reason=reason)
        return Done(views.freeze(conn, found.id))

    return write.done(who, act, environment=found.environment)
