"""Verifications: what members store, against what their releases say."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import ConfigDict, Field
from sqlalchemy import Connection, Engine

from distributor.access.roles import Act
from distributor.ledger.engine import transaction
from distributor.requests.verifications import Asked, begin_verification
from distributor.views import verifications as views
from distributor.views.verifications import VerificationLine, Verifications
from distributor.web import paging
from distributor.web.api.fields import Body, Environment, Id, Limit, Name, Reason
from distributor.web.api.finding import VERIFICATION
from distributor.web.backstage import AtHand
from distributor.web.errors import named_in_body
from distributor.web.paging import After
from distributor.web.security import Caller, needs
from distributor.web.writing import Done, Writing

router = APIRouter(tags=["verifications"])


class WantedVerification(Body):
    """An audit of everything that is stored."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"systems": ["pos"], "reason": "a till shows a price that nobody set"}]}
    )
    systems: tuple[Name, ...] = Field(default=(), max_length=100)
    """Only these; left out: every member that is not detached."""
    reason: Reason


@router.get(
    "/verifications", operation_id="verifications", summary="List the verifications", responses={200: paging.LINKED}
)
def verifications(
    request: Request,
    response: Response,
    backstage: AtHand,
    environment: Annotated[str, Query(max_length=200, description="The environment.")],
    limit: Limit = 20,
    after: After = None,
    who: Caller = needs(Act.READ),
) -> Verifications:
    """Of one environment, newest first: what was found, and what became of it."""
    with transaction(backstage.engine) as conn:
        found = views.verifications(conn, who.known(environment), limit=limit + 1, before=paging.moment(after))
    return paging.cut(request, response, found, "verifications", limit, ("requested_at", "id"))


@router.get("/verifications/{verification}", operation_id="verification", summary="See one verification")
def verification(verification: Id, backstage: AtHand, who: Caller = needs(Act.READ, VERIFICATION)) -> VerificationLine:
    """What was found. While `ended_at` is null it goes on, or was given up by whoever asked."""
    with transaction(backstage.engine) as conn:
        return views.verification(conn, verification)


@router.post(
    "/environments/{environment}/verifications",
    operation_id="verify",
    summary="Verify what systems store",
    status_code=202,
    response_model=VerificationLine,
)
def verify(
    environment: Environment,
    wanted: WantedVerification,
    backstage: AtHand,
    write: Writing,
    who: Caller = needs(Act.VERIFY),
) -> Response:
    """Every row is read where it lies. It goes on beside this answer, for minutes; follow it at `Location`."""
    begun: list[Asked] = []

    def act(engine: Engine, conn: Connection) -> Done:
        with named_in_body("systems"):
            asked = begin_verification(
                engine, backstage.settings, environment, systems=wanted.systems, by=who.name, reason=wanted.reason
            )
        begun.append(asked)
        return Done(VerificationLine.of(asked.verification, None), f"/v1/verifications/{asked.verification.id}", 202)

    backstage.verifier.admit()
    try:
        answer = write.done(who, act, environment=environment)
    except BaseException:
        backstage.verifier.give_back()
        raise
    if begun:
        backstage.verifier.go_on(backstage.settings, backstage.store, begun[0])
    else:
        backstage.verifier.give_back()
    return answer
