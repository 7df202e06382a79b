"""How environments stand, what a deploy would change, and what they are made of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from distributor.access.roles import Act
from distributor.ledger import environments as ledger
from distributor.ledger.engine import transaction
from distributor.views import comparison as compared
from distributor.views import estate
from distributor.views import holds as held
from distributor.views import plan as plans
from distributor.views.comparison import Comparison
from distributor.views.environments import EnvironmentStatus
from distributor.views.estate import Environments, Systems
from distributor.views.holds import Holds
from distributor.views.plan import Planned
from distributor.views.status import Status, look
from distributor.web import etags
from distributor.web.api.fields import MOST_RELEASE, Environment
from distributor.web.backstage import AtHand
from distributor.web.security import Caller, needs

router = APIRouter(tags=["environments"])
IfNoneMatch = Annotated[
    str | None, Header(max_length=1000, description="The ETag of what is known: the same is not sent again (304).")
]
Sample = Annotated[int, Query(ge=0, le=100, description="At most so many changed rows of each table.")]


@router.get("/status", operation_id="status", summary="See how every environment stands")
def status(backstage: AtHand, who: Caller = needs(Act.READ)) -> Status:
    """The matrix of environments and systems: release, state, lag, and what is waited for."""
    with transaction(backstage.engine) as conn:
        found = look(conn, backstage.settings, who.environments)
    return found if who.reads_clear else found.without_rows


@router.get("/environments", operation_id="environments", summary="List the environments")
def environments(backstage: AtHand, who: Caller = needs(Act.READ)) -> Environments:
    """What the config says of them: systems, whether they follow new releases, approvals, windows, triggers."""
    return estate.environments(backstage.settings, who.environments)


@router.get("/systems", operation_id="systems", summary="List the systems")
def systems(backstage: AtHand, who: Caller = needs(Act.READ)) -> Systems:
    """Every system with its tables, and the environments in which it is a member."""
    return estate.systems(backstage.settings, who.environments)


@router.get(
    "/environments/{environment}",
    operation_id="status-environment",
    summary="See how one environment stands",
    response_model=EnvironmentStatus,
)
def environment_status(
    environment: Environment, backstage: AtHand, if_none_match: IfNoneMatch = None, who: Caller = needs(Act.READ)
) -> Response:
    """Its members, the rollout that goes on, what is queued and waited for. Its ETag may bind a write to it."""
    with transaction(backstage.engine) as conn:
        # The version first: a write that comes between makes the tag too old, never too new.
        version = ledger.version(conn, environment)
        body = look(conn, backstage.settings, [environment]).environments[0].model_dump_json().encode()
    return tagged(version, body, if_none_match)


@router.get("/environments/{environment}/plan", operation_id="plan", summary="See what a deploy would change")
def plan(
    environment: Environment,
    backstage: AtHand,
    release: Annotated[
        int | None, Query(ge=0, le=MOST_RELEASE, description="The release; the newest when it is left out.")
    ] = None,
    limit: Sample = 10,
    who: Caller = needs(Act.READ),
) -> Planned:
    """Counts of each table, worked out by the very steps of a deploy, and sample rows. Nothing is kept of it."""
    return plans.plan(backstage.engine, backstage.settings, backstage.store, environment, release=release, limit=limit)


@router.get("/environments/{environment}/holds", operation_id="holds", summary="See what keeps an environment")
def holds(environment: Environment, backstage: AtHand, who: Caller = needs(Act.READ)) -> Holds:
    """Who has reserved it, and whether a window or a freeze closes it now."""
    with transaction(backstage.engine) as conn:
        return held.holds(conn, backstage.settings, environment)


@router.get("/comparison", operation_id="compare", summary="Compare two environments")
def comparison(
    left: Annotated[str, Query(max_length=200, description="An environment.")],
    right: Annotated[str, Query(max_length=200, description="Another one.")],
    backstage: AtHand,
    limit: Sample = 5,
    who: Caller = needs(Act.READ),
) -> Comparison:
    """The releases that they show, how many rows differ, sample rows, and their systems side by side."""
    for name in (left, right):
        who.known(name)
    with transaction(backstage.engine) as conn:
        return compared.comparison(conn, backstage.settings, backstage.store, left, right, limit=limit)


def tagged(version: int, body: bytes, if_none_match: str | None) -> Response:
    """An answer with its ETag; 304 when the caller has it."""
    tag = etags.tag(version, body)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if etags.is_known(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, "application/json")
